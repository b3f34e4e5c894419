"""Artifacts in a real S3 server: what is kept comes back, what was tampered with is refused, keys stay secret."""

from __future__ import annotations

import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from contract.object_storage import KEYS, ObjectStorage

from capstan.artifacts.content import content_digest
from capstan.artifacts.store import ArtifactStore
from capstan.errors import NotFoundError, UnavailableError, UntrustedArtifactError

pytestmark = pytest.mark.real
TAG = "toy:0123"
KEPT = "bentos/toy/0123.tar"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    storage = ObjectStorage(tmp_path_factory.mktemp("storage"))
    storage.start()
    yield storage
    storage.stop()


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"team/{request.node.name.replace('[', '-').replace(']', '').replace(' ', '-')}"


@pytest.fixture
def store(storage: ObjectStorage, prefix: str) -> ArtifactStore:
    return ArtifactStore(storage.uri(prefix))


@pytest.fixture
def bento(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    (folder / "src" / "model").mkdir(parents=True)
    (folder / "bento.yaml").write_text("service: x\nversion: one\n")
    (folder / "src" / "model" / "pipeline.joblib").write_bytes(bytes(range(256)) * 45_000)
    return folder


def test_a_bento_of_several_parts_comes_back(store: ArtifactStore, bento: Path, tmp_path: Path) -> None:
    store.push_bento(TAG, bento)
    place = store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert content_digest(place) == content_digest(bento)


def test_two_pushes_are_one(store: ArtifactStore, bento: Path) -> None:
    store.push_bento(TAG, bento)
    before = store.read(KEPT)
    assert before is not None
    assert b"version: one" in before
    (bento / "bento.yaml").write_text("service: x\nversion: two\n")
    store.push_bento(TAG, bento)
    assert store.read(KEPT) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(lambda content: b"", id="emptied"),
        pytest.param(lambda content: content[:9000] + b"evil" + content[9004:], id="overwritten"),
    ],
)
def test_a_damaged_object_is_refused_and_nothing_is_left(
    store: ArtifactStore, bento: Path, tmp_path: Path, prefix: str, damage
) -> None:
    store.push_bento(TAG, bento)
    content = store.read(KEPT)
    assert content is not None
    store.write(KEPT, damage(content))
    with pytest.raises(UntrustedArtifactError, match=rf"s3://capstan/{prefix}/bentos/toy/0123.tar"):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert list((tmp_path / "home").rglob("*")) == []


def _with_one_bit_changed(content: bytes) -> bytes:
    return content[:9000] + bytes([content[9000] ^ 1]) + content[9001:]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_with_one_bit_changed, id="one-bit"),
        pytest.param(lambda content: b"evil" * 999, id="replaced"),
    ],
)
def test_what_somebody_else_put_in_its_place_is_refused_and_pushing_mends_it(
    storage: ObjectStorage, store: ArtifactStore, prefix: str, bento: Path, tmp_path: Path, damage
) -> None:
    store.push_bento(TAG, bento)
    content = store.read(KEPT)
    assert content is not None
    storage.put(f"{prefix}/{KEPT}", damage(content))
    with pytest.raises(UntrustedArtifactError):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert list((tmp_path / "home").rglob("*")) == []
    store.push_bento(TAG, bento)
    assert store.pull_bento(TAG, content_digest(bento), tmp_path / "home").is_dir()


@contextmanager
def serving(content: bytes, checksum: str | None = None) -> Iterator[tuple[ArtifactStore, list[str]]]:
    """A store on a stand-in that answers every key with this content, and the ranges that it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", f"bytes=0-{len(content) - 1}")
            first, last = (int(place) for place in wanted.removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
            if checksum is not None:
                self.send_header("x-amz-checksum-crc64nvme", checksum)
                self.send_header("x-amz-checksum-type", "FULL_OBJECT")
            self.end_headers()
            if self.command == "GET":
                asked.append(wanted)
                self.wfile.write(part)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield (
            ArtifactStore(f"s3://bucket?endpoint_override=127.0.0.1:{server.server_port}&scheme=http"),
            asked,
        )
        server.shutdown()


def test_bytes_that_do_not_match_the_checksum_of_the_server_are_refused() -> None:
    """As versitygw answers for a file that was changed on its disk."""
    with (
        serving(b"changed", checksum="AAAAAAAAAAA=") as (store, _),
        pytest.raises(UntrustedArtifactError, match="changed below the object storage"),
    ):
        store.read("runs/one")


def test_a_bento_is_pulled_in_few_requests(bento: Path, tmp_path: Path) -> None:
    local = ArtifactStore((tmp_path / "local").as_uri())
    local.push_bento(TAG, bento)
    content = local.read(KEPT)
    assert content is not None
    with serving(content) as (store, asked):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert len(content) > 11_000_000
    assert len(asked) == 2


def test_a_tar_that_reaches_outside_is_refused(store: ArtifactStore, bento: Path, tmp_path: Path) -> None:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo("../../escaped")
        entry.size = 4
        archive.addfile(entry, BytesIO(b"evil"))
    store.write(KEPT, content.getvalue())
    with pytest.raises(UntrustedArtifactError, match="escaped"):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert not list(tmp_path.rglob("escaped"))


def test_what_was_never_pushed_is_not_found(store: ArtifactStore, bento: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert store.read("runs/one/status.json") is None


def test_files_come_back_and_are_replaced_whole(store: ArtifactStore) -> None:
    store.write("runs/one/status.json", b"first")
    store.write("runs/one/status.json", b"")
    assert store.read("runs/one/status.json") == b""


@pytest.mark.parametrize("wrong", sorted(KEYS))
def test_wrong_keys_are_no_missing_file_and_are_not_repeated(
    storage: ObjectStorage, prefix: str, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    ArtifactStore(storage.uri(prefix)).write("runs/one", b"x")
    monkeypatch.setenv(wrong, "hunter2-hunter2")
    store = ArtifactStore(storage.uri(prefix))
    for ask in (lambda: store.read("runs/one"), lambda: store.read("none"), lambda: store.write("two", b"x")):
        with pytest.raises(UnavailableError) as refused:
            ask()
        assert not {"hunter2-hunter2", *KEYS.values()} & set(str(refused.value).split("'"))
        assert "hunter2" not in str(refused.value)


def test_a_server_that_is_away_is_unavailable_soon_and_then_found_again(
    storage: ObjectStorage, store: ArtifactStore, bento: Path, tmp_path: Path
) -> None:
    store.push_bento(TAG, bento)
    storage.stop()
    started = time.monotonic()
    try:
        with pytest.raises(UnavailableError):
            store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
        with pytest.raises(UnavailableError):
            store.push_bento(TAG, bento)
        with pytest.raises(UnavailableError):
            store.read("runs/one")
        assert time.monotonic() - started < 60
        assert list((tmp_path / "home").rglob("*")) == []
    finally:
        storage.start()
    assert store.pull_bento(TAG, content_digest(bento), tmp_path / "home").is_dir()

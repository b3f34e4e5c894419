"""Artifacts in a real S3 server: what is kept comes back, what was tampered with is refused, keys stay secret."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from contract.object_storage import KEYS, ObjectStorage

from capstan.artifacts.content import content_digest
from capstan.artifacts.store import ArtifactStore
from capstan.errors import NotFoundError, UnavailableError, UntrustedArtifactError

pytestmark = pytest.mark.real
TAG = "toy:0123"


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
def kept(storage: ObjectStorage, prefix: str) -> Path:
    return storage.root / prefix / "bentos" / "toy" / "0123.tar"


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


def test_two_pushes_are_one(store: ArtifactStore, bento: Path, kept: Path) -> None:
    store.push_bento(TAG, bento)
    before = kept.stat().st_mtime_ns
    (bento / "bento.yaml").write_text("service: x\nversion: two\n")
    store.push_bento(TAG, bento)
    assert kept.stat().st_mtime_ns == before


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
    content = store.read("bentos/toy/0123.tar")
    assert content is not None
    store.write("bentos/toy/0123.tar", damage(content))
    with pytest.raises(UntrustedArtifactError, match=rf"s3://capstan/{prefix}/bentos/toy/0123.tar"):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert list((tmp_path / "home").rglob("*")) == []


def test_bytes_that_were_changed_below_the_server_are_refused_and_pushing_mends_them(
    store: ArtifactStore, bento: Path, tmp_path: Path, kept: Path
) -> None:
    store.push_bento(TAG, bento)
    content = bytearray(kept.read_bytes())
    content[9000] ^= 1
    kept.write_bytes(content)
    with pytest.raises(UntrustedArtifactError):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    kept.write_bytes(b"evil" * 999)
    with pytest.raises(UntrustedArtifactError):
        store.pull_bento(TAG, content_digest(bento), tmp_path / "home")
    assert list((tmp_path / "home").rglob("*")) == []
    store.push_bento(TAG, bento)
    assert store.pull_bento(TAG, content_digest(bento), tmp_path / "home").is_dir()


def test_a_tar_that_reaches_outside_is_refused(store: ArtifactStore, bento: Path, tmp_path: Path) -> None:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo("../../escaped")
        entry.size = 4
        archive.addfile(entry, BytesIO(b"evil"))
    store.write("bentos/toy/0123.tar", content.getvalue())
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

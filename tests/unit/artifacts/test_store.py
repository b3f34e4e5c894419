"""Artifacts in a folder: what is kept, what is refused, and that nothing half-written is ever left."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from capstan.artifacts import fetch
from capstan.artifacts.content import content_digest
from capstan.artifacts.store import ArtifactStore
from capstan.domain.versions import Digest
from capstan.errors import InvalidSpecError, NotFoundError, UnavailableError, UntrustedArtifactError

TAG = "toy:0123"


@pytest.fixture
def bento(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    (folder / "src" / "model").mkdir(parents=True)
    (folder / "bento.yaml").write_text("service: x\nversion: one\ncreation_time: '2013'\n")
    (folder / "src" / "model" / "pipeline.joblib").write_bytes(bytes(range(256)) * 1000)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "bentos" / "toy" / "0123.tar"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"file://{tmp_path}/artifacts")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_bento_comes_back_as_it_was_pushed(store: ArtifactStore, bento: Path, home: Path) -> None:
    store.push_bento(TAG, bento)
    digest = content_digest(bento)
    place = store.pull_bento(TAG, digest, home)
    assert place == home / "bentos" / "toy" / "0123"
    assert content_digest(place) == digest
    assert list(home.iterdir()) == [home / "bentos"], "no scratch is left"


def test_pushing_again_keeps_what_is_kept(store: ArtifactStore, bento: Path, kept: Path) -> None:
    store.push_bento(TAG, bento)
    before = kept.stat().st_ino
    (bento / "bento.yaml").write_text("service: x\nversion: two\ncreation_time: '2014'\n")
    store.push_bento(TAG, bento)
    assert kept.stat().st_ino == before, "the same content, built another day"
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_pushing_mends_what_was_cut_short(store: ArtifactStore, bento: Path, kept: Path, home: Path) -> None:
    store.push_bento(TAG, bento)
    kept.write_bytes(kept.read_bytes()[:5000])
    store.push_bento(TAG, bento)
    assert store.pull_bento(TAG, content_digest(bento), home).is_dir()


def test_pulling_again_reads_nothing(store: ArtifactStore, bento: Path, kept: Path, home: Path) -> None:
    store.push_bento(TAG, bento)
    store.pull_bento(TAG, content_digest(bento), home)
    kept.unlink()
    assert store.pull_bento(TAG, content_digest(bento), home).is_dir()


def test_a_changed_bento_in_the_home_is_replaced(store: ArtifactStore, bento: Path, home: Path) -> None:
    store.push_bento(TAG, bento)
    place = store.pull_bento(TAG, content_digest(bento), home)
    (place / "src" / "model" / "pipeline.joblib").write_bytes(b"else")
    store.pull_bento(TAG, content_digest(bento), home)
    assert content_digest(place) == content_digest(bento)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-11_000], id="cut in a file"),
        pytest.param(lambda content: content[:1024], id="cut after the first file"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"<html>" * 500, id="another file"),
        pytest.param(lambda content: content.replace(bytes(range(9)), bytes(9), 1), id="a byte changed"),
        pytest.param(lambda content: content.replace(b"bento.yaml", b"bento.yaxl", 1), id="a name changed"),
    ],
)
def test_damaged_bytes_are_refused_and_nothing_is_left(
    store: ArtifactStore, bento: Path, kept: Path, home: Path, damage
) -> None:
    store.push_bento(TAG, bento)
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.raises(UntrustedArtifactError) as refused:
        store.pull_bento(TAG, content_digest(bento), home)
    assert str(home) not in str(refused.value), "it names where the bytes are kept"
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(("../../escaped", tarfile.REGTYPE, ""), id="a path upwards"),
        pytest.param(("src/../../escaped", tarfile.REGTYPE, ""), id="a path upwards later"),
        pytest.param(("/tmp/escaped", tarfile.REGTYPE, ""), id="an absolute path"),
        pytest.param(("link", tarfile.SYMTYPE, "/etc/passwd"), id="a symbolic link"),
        pytest.param(("link", tarfile.LNKTYPE, "../secret"), id="a hard link"),
        pytest.param(("device", tarfile.CHRTYPE, ""), id="a device"),
        pytest.param(("bento.yaml", tarfile.REGTYPE, ""), id="a name twice"),
        pytest.param(("bento.yaml/x", tarfile.REGTYPE, ""), id="a file as a folder"),
    ],
)
def test_a_tar_that_reaches_outside_is_refused(
    store: ArtifactStore, bento: Path, kept: Path, home: Path, member
) -> None:
    store.push_bento(TAG, bento)
    name, kind, target = member
    with tarfile.open(kept, "a") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        entry.size = 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(UntrustedArtifactError):
        store.pull_bento(TAG, content_digest(bento), home)
    assert list(home.rglob("*")) == []
    assert not list(home.parent.glob("escaped"))
    assert not Path("/tmp/escaped").exists()


def test_what_was_never_pushed_is_not_found(store: ArtifactStore, home: Path) -> None:
    with pytest.raises(NotFoundError):
        store.pull_bento(TAG, Digest("sha256:0"), home)
    assert store.read("runs/one/status.json") is None


@pytest.mark.parametrize("tag", ["toy", "../toy:1", "toy:../1", ":1", "toy:", ".toy:1"])
def test_what_is_no_tag_is_not_found(store: ArtifactStore, home: Path, tag: str) -> None:
    with pytest.raises(NotFoundError):
        store.pull_bento(tag, Digest("sha256:0"), home)


def test_files_are_replaced_whole(store: ArtifactStore, tmp_path: Path) -> None:
    store.write("runs/one/status.json", b"first")
    store.write("runs/one/status.json", b"second")
    assert store.read("runs/one/status.json") == b"second"
    assert [path.name for path in (tmp_path / "artifacts/runs/one").iterdir()] == ["status.json"]


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "runs//x", "runs/./x", ""])
def test_paths_stay_below_the_artifacts(store: ArtifactStore, path: str) -> None:
    with pytest.raises(NotFoundError):
        store.write(path, b"")


def test_a_folder_whose_name_means_something_in_a_url_is_found_by_its_quoted_address(tmp_path: Path) -> None:
    folder = tmp_path / "a%20b?c#d"
    store = ArtifactStore(folder.as_uri())
    store.write("runs/x/result.json", b"{}")
    assert (folder / "runs" / "x" / "result.json").read_bytes() == b"{}"
    assert store.read("runs/x/result.json") == b"{}"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "gs://bucket/x",
        "file://host/x",
        "file:///x?y",
        "file:///x#y",
        "s3:///x",
        "s3://key:hunter2@bucket/x",
        "s3://bucket/x?endpoint=hunter2",
        "s3://bucket/x?secret_key=hunter2&scheme=http",
    ],
)
def test_other_addresses_are_refused_without_repeating_secrets(uri: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        ArtifactStore(uri)
    assert "hunter2" not in str(refused.value)


# -- the init container


@pytest.fixture
def run_fetch(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CAPSTAN_ARTIFACTS", f"file://{tmp_path}/artifacts")
    last_words = tmp_path / "termination-log"
    last_words.touch()
    monkeypatch.setattr(fetch, "_LAST_WORDS", last_words)
    slept: list[float] = []

    def run(digest: str, tag: str = TAG) -> tuple[int, str]:
        code = fetch.main(["--tag", tag, "--digest", digest, "--home", str(home)], sleep=slept.append)
        return code, last_words.read_text()

    return run


def test_a_fetched_bento_lies_where_the_service_looks(
    store: ArtifactStore, bento: Path, run_fetch, home: Path
) -> None:
    store.push_bento(TAG, bento)
    assert run_fetch(content_digest(bento)) == (0, "")
    assert (home / "bentos" / "toy" / "0123" / "bento.yaml").is_file()


def test_a_refusal_is_told_by_exit_code_and_last_words(store: ArtifactStore, bento: Path, run_fetch) -> None:
    store.push_bento(TAG, bento)
    code, words = run_fetch("sha256:" + "0" * 64)
    assert code == fetch.REFUSED
    assert words.startswith("UntrustedArtifactError: file://")
    code, words = run_fetch(content_digest(bento), "toy:other")
    assert code == fetch.NOT_FOUND
    assert words.startswith("NotFoundError: ")


def test_a_storage_that_is_away_is_asked_again(
    store: ArtifactStore, bento: Path, run_fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.push_bento(TAG, bento)
    pull, asked = ArtifactStore.pull_bento, []

    def away_twice(self, *arguments):
        asked.append(1)
        if len(asked) < 3:
            raise UnavailableError("artifacts", "connection refused")
        return pull(self, *arguments)

    monkeypatch.setattr(ArtifactStore, "pull_bento", away_twice)
    assert run_fetch(content_digest(bento))[0] == 0
    assert len(asked) == 3


def test_the_unpacked_tar_has_no_owners_and_times(store: ArtifactStore, bento: Path, kept: Path) -> None:
    store.push_bento(TAG, bento)
    first = kept.read_bytes()
    shutil.rmtree(kept.parent)
    (bento / "src/model/pipeline.joblib").touch()
    store.push_bento(TAG, bento)
    assert kept.read_bytes() == first

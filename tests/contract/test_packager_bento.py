"""The Packager's contract, on a real Bento store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from capstan.adapters.bentoml.packager import BentoPackager, UnbuiltPackager
from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.versions import Digest, SystemName
from capstan.errors import InvalidDataError, NotFoundError, UntrustedArtifactError

SYSTEM = SystemName("flight-delays")


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "detectors").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"system": SYSTEM}))
    (folder / "pipeline.joblib").write_bytes(b"a pickle" * 1000)
    (folder / "detectors" / "x.npy").write_bytes(b"numbers")
    return folder


@pytest.fixture
def packager(tmp_path: Path) -> BentoPackager:
    return BentoPackager(tmp_path / "bentos")


def test_the_same_content_has_one_tag_and_one_digest_wherever_and_whenever_it_is_packed(
    packager: BentoPackager, model_dir: Path, tmp_path: Path
) -> None:
    first = packager.package(SYSTEM, model_dir)
    copy = shutil.copytree(model_dir, tmp_path / "elsewhere")
    assert packager.package(SYSTEM, copy) == first
    assert BentoPackager(tmp_path / "other-store").package(SYSTEM, copy) == first
    tag, digest = first
    assert tag.startswith("flight-delays:")
    assert digest.startswith("sha256:")
    assert len(digest) == len("sha256:") + 64
    assert len(list((tmp_path / "bentos" / "bentos" / SYSTEM).iterdir())) == 1


def test_other_content_has_another_tag_and_digest(packager: BentoPackager, model_dir: Path) -> None:
    first = packager.package(SYSTEM, model_dir)
    (model_dir / "pipeline.joblib").write_bytes(b"b pickle" * 1000)
    second = packager.package(SYSTEM, model_dir)
    assert first[0] != second[0]
    assert first[1] != second[1]
    packager.verify(*first)
    packager.verify(*second)


def test_a_verified_bento_carries_the_model_folder(packager: BentoPackager, model_dir: Path) -> None:
    bento = packager.verify(*packager.package(SYSTEM, model_dir))
    packed = {
        path.relative_to(bento / "src/model") for path in (bento / "src/model").rglob("*") if path.is_file()
    }
    assert packed == {path.relative_to(model_dir) for path in model_dir.rglob("*") if path.is_file()}
    assert (bento / "src/model/pipeline.joblib").read_bytes() == (model_dir / "pipeline.joblib").read_bytes()


def truncate(bento: Path) -> None:
    os.truncate(bento / "src/model/pipeline.joblib", 10)


def overwrite(bento: Path) -> None:
    (bento / "src/model/manifest.json").write_text("{}")


def add(bento: Path) -> None:
    (bento / "src/sitecustomize.py").write_text("print('mine')")


def add_bytecode(bento: Path) -> None:
    (bento / "src/model/factories/__pycache__").mkdir(parents=True)
    (bento / "src/model/factories/__pycache__/mine.cpython-311.pyc").write_bytes(b"mine")


def remove(bento: Path) -> None:
    (bento / "src/model/detectors/x.npy").unlink()


def rename(bento: Path) -> None:
    (bento / "src/model/detectors/x.npy").rename(bento / "src/model/detectors/y.npy")


def link(bento: Path) -> None:
    content = (bento / "src/model/pipeline.joblib").read_bytes()
    (bento / "src/model/pipeline.joblib").unlink()
    (bento / "elsewhere").write_bytes(content)
    (bento / "src/model/pipeline.joblib").symlink_to(bento / "elsewhere")


def redirect(bento: Path) -> None:
    text = (bento / "bento.yaml").read_text()
    (bento / "bento.yaml").write_text(text.replace("capstan.serving.service:ModelService", "mine:Service"))


def plant_bomb(bento: Path) -> None:
    import pickle

    (bento / "src/model/pipeline.joblib").write_bytes(pickle.dumps(Bomb(bento.parent / "exploded")))


@pytest.mark.parametrize(
    "tamper",
    [truncate, overwrite, add, add_bytecode, remove, rename, link, redirect, plant_bomb],
    ids=lambda t: t.__name__,
)
def test_a_bento_that_was_changed_is_refused_and_nothing_of_it_runs(
    packager: BentoPackager, model_dir: Path, tamper: Callable[[Path], None]
) -> None:
    tag, digest = packager.package(SYSTEM, model_dir)
    bento = packager.verify(tag, digest)
    tamper(bento)
    with pytest.raises(UntrustedArtifactError):
        packager.verify(tag, digest)
    assert not (bento.parent / "exploded").exists()


def test_tag_and_time_of_building_are_no_content(packager: BentoPackager, model_dir: Path) -> None:
    tag, digest = packager.package(SYSTEM, model_dir)
    description = packager.verify(tag, digest) / "bento.yaml"
    lines = description.read_text().splitlines()
    assert sum(line.startswith(("version:", "creation_time:")) for line in lines) == 2
    changed = [
        line if not line.startswith("creation_time:") else "creation_time: '2001-01-01'" for line in lines
    ]
    description.write_text("\n".join(changed) + "\n")
    packager.verify(tag, digest)


def test_packing_again_restores_a_bento_that_was_changed(packager: BentoPackager, model_dir: Path) -> None:
    tag, digest = packager.package(SYSTEM, model_dir)
    truncate(packager.verify(tag, digest))
    assert packager.package(SYSTEM, model_dir) == (tag, digest)
    packager.verify(tag, digest)


def test_another_digest_than_the_registered_one_is_refused(packager: BentoPackager, model_dir: Path) -> None:
    tag, _ = packager.package(SYSTEM, model_dir)
    with pytest.raises(UntrustedArtifactError, match="was registered"):
        packager.verify(tag, Digest("sha256:" + "0" * 64))


@pytest.mark.parametrize(
    "tag", ["flight-delays:nothere", "flight-delays", ":x", "../etc:passwd", "a:../../etc", "a:.."]
)
def test_a_tag_that_names_no_bento_is_not_found(packager: BentoPackager, tag: str) -> None:
    with pytest.raises(NotFoundError):
        packager.verify(tag, Digest("sha256:" + "0" * 64))


def test_a_folder_that_is_no_model_is_refused_by_name(packager: BentoPackager, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"manifest\.json"):
        packager.package(SYSTEM, tmp_path)


def test_nothing_is_left_of_building(packager: BentoPackager, model_dir: Path, tmp_path: Path) -> None:
    packager.package(SYSTEM, model_dir)
    assert [path.name for path in (tmp_path / "bentos").iterdir() if path.name.startswith(".building")] == []


def test_an_unbuilt_package_holds_the_same_model_where_a_bento_does_and_is_refused_once_changed(
    tmp_path: Path, model_dir: Path
) -> None:
    packager = UnbuiltPackager(tmp_path / "unbuilt")
    tag, digest = packager.package(SYSTEM, model_dir)
    assert packager.package(SYSTEM, model_dir) == (tag, digest)
    folder = packager.verify(tag, digest) / MODEL_FOLDER
    built = BentoPackager(tmp_path / "bentos")
    bento = built.verify(*built.package(SYSTEM, model_dir)) / MODEL_FOLDER
    files = {path.relative_to(bento): path.read_bytes() for path in bento.rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UntrustedArtifactError):
        packager.verify(tag, digest)

"""The files of a system travel as one tar and arrive whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from capstan.cluster.names import DATA_MOUNT, SystemNames
from capstan.cluster.pushing import UNPACK, Pushed, files_of, push_pod, tar_size, tarred
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import SystemName
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse

FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: flights}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources:
      - {name: flights, csv: {path: "data/flights-*.csv"}}
      - {name: weather, parquet: {path: data/weather}}
      - name: planes
        database: {table: planes, urlFrom: {secretKeyRef: {name: planes-db, key: url}}}
    query: select * from flights
    keys: {id: id, time: at}
    label: {column: late, availableAt: known_at}
  features: [{name: distance, numeric: {}}]
  training:
    candidates: [{name: own, custom: {factory: "mymodels:make"}}, {name: more, custom: {factory: "lib.deep:make"}}]
"""
PLACES = {
    "data/flights-1.csv": "1",
    "data/flights-2.csv": "2" * 3000,
    "data/weather/2013/part-0.parquet": "w",
    "mymodels.py": "import helper\ndef make(): ...",
    "helper.py": "",
    "lib/deep/__init__.py": "def make(): ...",
    "lib/deep/net.py": "",
}
BESIDE = ("data/other.csv", "notes.txt", "lib/deep/__pycache__/net.pyc")


@pytest.fixture
def system(tmp_path: Path) -> MLSystem:
    for name, text in {**PLACES, **dict.fromkeys(BESIDE, "x")}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return parse(FILE, base_dir=tmp_path)


def test_files_of_sources_and_factories_are_found_and_no_others(system: MLSystem) -> None:
    assert [str(file.place) for file in files_of(system)] == sorted(PLACES)


def test_what_is_not_there_is_told_by_its_field(system: MLSystem) -> None:
    (system.base_dir / "mymodels.py").unlink()
    with pytest.raises(InvalidSpecError, match=r"training\.candidates\[0\]\.custom\.factory.*is not in"):
        files_of(system)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/data.csv"])
def test_files_outside_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    system = parse(FILE.replace("data/weather", path), base_dir=tmp_path)
    with pytest.raises(InvalidSpecError, match=r"data\.sources\[1\]\.parquet\.path.*lies outside"):
        files_of(system)


def unpack(root: Path, content: bytes, size: int | None = None) -> subprocess.CompletedProcess[bytes]:
    script = UNPACK.replace(repr(DATA_MOUNT), repr(str(root)))
    command = [sys.executable, "-c", script, str(len(content) if size is None else size)]
    return subprocess.run(command, input=content, capture_output=True)


def sent(files: list[Pushed]) -> bytes:
    return b"".join(tarred(files, lambda *_: None))


def test_the_volume_holds_the_files_and_keeps_others(system: MLSystem, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "data").mkdir(parents=True)
    (volume / "data/flights-1.csv").write_text("old")
    (volume / "data/mine.csv").write_text("mine")
    (volume / ".push-7").mkdir()
    files = files_of(system)
    done = unpack(volume, sent(files))
    assert (done.returncode, done.stdout.strip()) == (0, str(len(files)).encode()), done.stderr
    assert {name: (volume / name).read_text() for name in PLACES} == PLACES
    assert (volume / "data/mine.csv").read_text() == "mine"
    assert list(volume.glob(".push-*")) == []


def test_a_push_that_is_cut_off_changes_nothing(system: MLSystem, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "data").mkdir(parents=True)
    (volume / "data/flights-1.csv").write_text("old")
    content = sent(files_of(system))
    done = unpack(volume, content[:2500], len(content))
    assert done.returncode != 0
    assert [p.name for p in volume.rglob("*") if p.is_file()] == ["flights-1.csv"]
    assert (volume / "data/flights-1.csv").read_text() == "old"


def test_a_push_that_fails_takes_all_its_input_and_says_why(system: MLSystem, tmp_path: Path) -> None:
    """A command that ends before its input does is never heard to have ended."""
    script = UNPACK.replace(repr(DATA_MOUNT), repr(str(tmp_path / "not there")))
    content = bytes(4_000_000)
    command = [sys.executable, "-c", script, str(len(content))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(content)
        running.stdin.flush()
        assert b"FileNotFoundError" in running.stderr.read()
    assert running.returncode == 1


def test_the_size_of_the_tar_is_known_before(system: MLSystem) -> None:
    for files in (files_of(system), []):
        assert len(sent(files)) == tar_size(files)
        assert tar_size(files) % 10_240 == 0


def test_progress_reaches_the_whole(system: MLSystem) -> None:
    seen: list[tuple[int, int]] = []
    list(tarred(files_of(system), lambda *step: seen.append(step)))
    total = sum(map(len, PLACES.values()))
    assert (seen[0], seen[-1]) == ((0, total), (total, total))


def test_the_pod_mounts_the_claim_that_the_file_names(tmp_path: Path) -> None:
    names = SystemNames("ml", SystemName("flights"))
    for text, claim in (
        (FILE, "flights-data"),
        (FILE.replace("    query:", "    volume: {claim: mine}\n    query:"), "mine"),
    ):
        document = push_pod(parse(text, base_dir=tmp_path), names, ClusterSettings())
        claims = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in document["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        assert claims == [claim]
        assert document["spec"]["serviceAccountName"] == "default"
        assert document["spec"]["automountServiceAccountToken"] is False


def test_names_too_long_for_an_old_tar_arrive(tmp_path: Path) -> None:
    volume, source = tmp_path / "volume", tmp_path / "file"
    volume.mkdir()
    source.write_text("x")
    place = PurePosixPath("a" * 120, "ä" * 100)
    assert unpack(volume, sent([Pushed(source, place)])).returncode == 0
    assert (volume / place).read_text() == "x"

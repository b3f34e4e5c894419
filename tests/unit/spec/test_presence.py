"""What the file points to is there, or is told; what is told to be there is what a push takes along."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from capstan.cluster.pushing import files_of
from capstan.data.sources.files import files_of as files_read
from capstan.data.sources.reading import Reading
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse
from capstan.spec.presence import missing_files

FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: flights}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources: [{name: flights, csv: {path: "PATH"}}]
    query: select * from flights
    keys: {id: id, time: at}
    label: {column: late, availableAt: known_at}
  features: [{name: distance, numeric: {}}]
"""
HERE = (
    "data/flights-1.csv",
    "data/flights-2.csv",
    "data/weather.csv",
    "data/2013/02/flights.csv",
    "data/odd[1]*.csv",
    "data/odd1.csv",
)


def system(folder: Path, path: str) -> MLSystem:
    for name in HERE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return parse(FILE.replace("PATH", path), base_dir=folder)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data/weather.csv", ["data/weather.csv"]),
        ("data/flights-*.csv", ["data/flights-1.csv", "data/flights-2.csv"]),
        ("data/flights-?.csv", ["data/flights-1.csv", "data/flights-2.csv"]),
        ("data/flights-[13].csv", ["data/flights-1.csv"]),
        ("data/**/flights.csv", ["data/2013/02/flights.csv"]),
        ("data/*/*/*.csv", ["data/2013/02/flights.csv"]),
        ("data/2013", ["data/2013/02/flights.csv"]),
    ],
)
def test_files_by_pattern_are_there_and_are_pushed(tmp_path: Path, path: str, found: list[str]) -> None:
    known = system(tmp_path, path)
    assert missing_files(known) == []
    assert [str(file.place) for file in files_of(known)] == found


def test_a_name_that_exists_is_no_pattern(tmp_path: Path) -> None:
    known = system(tmp_path, "data/odd[1]*.csv")
    assert missing_files(known) == []
    assert [str(file.place) for file in files_of(known)] == ["data/odd[1]*.csv"]
    (tmp_path / "data/odd[1]*.csv").unlink()
    assert missing_files(known) == []
    assert [str(file.place) for file in files_of(known)] == ["data/odd1.csv"]


@pytest.mark.parametrize(
    "path", ["data/flights-[89].csv", "data/*.parquet", "other/**/*.csv", "data/none.csv"]
)
def test_a_path_that_matches_nothing_is_told_by_its_field_and_not_pushed(tmp_path: Path, path: str) -> None:
    known = system(tmp_path, path)
    (finding,) = missing_files(known)
    assert finding.location == ("spec", "data", "sources", 0, "csv", "path")
    assert repr(path) in finding.message
    assert finding.message.endswith("check the path")
    with pytest.raises(InvalidSpecError, match=r"data\.sources\[0\]\.csv\.path: .* is not in"):
        files_of(known)


def test_hidden_files_are_neither_there_nor_pushed_by_a_pattern(tmp_path: Path) -> None:
    """An editor's or a sync program's left-overs are no data."""
    known = system(tmp_path, "data/*.tsv")
    (tmp_path / "data/.flights.tsv").write_text("half a file")
    assert len(missing_files(known)) == 1
    with pytest.raises(InvalidSpecError):
        files_of(known)


def test_a_pattern_that_matches_only_folders_is_told_since_nobody_would_read_their_files(
    tmp_path: Path,
) -> None:
    known = system(tmp_path, "data/20*")
    assert len(missing_files(known)) == 1
    with pytest.raises(InvalidSpecError):
        files_of(known)


def test_a_training_reads_the_files_that_are_there(tmp_path: Path) -> None:
    known = system(tmp_path, "data/**/flights*.csv")
    reading = Reading(duckdb.connect(), known.spec.data.sources[0], None, tmp_path, tmp_path, "UTC")
    read = files_read(reading, "data/**/flights*.csv", (".csv",))
    assert [Path(file).relative_to(tmp_path).as_posix() for file in read] == [
        str(file.place) for file in files_of(known)
    ]


def test_an_address_is_not_looked_up_here(tmp_path: Path) -> None:
    document = FILE.replace("csv:", "parquet:").replace("PATH", "s3://bucket/flights/*.parquet")
    try:
        known = parse(document, base_dir=tmp_path)
    except InvalidSpecError:
        return
    assert missing_files(known) == []
    assert files_of(known) == []

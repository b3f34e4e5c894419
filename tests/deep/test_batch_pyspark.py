"""Batches on a real Spark of this machine: the files of one process, and each goes on where the other stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from unit.cli.served_place import FILE, Place

DAYS = ("2013-02-01", "2013-02-02", "2013-02-03")
DATED = FILE.replace("keys: {id: flight_id}", "keys: {id: flight_id, time: departure}").replace(
    "  features:", '  batch: {schedule: "0 3 * * *", output: p, engine: ENGINE}\n  features:'
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("spark"))
    rows = [
        f"{day}/{hour},{day}T{hour:02d}:00:00Z,{-5 if hour == 7 else 500 + hour},UA"
        for day in DAYS
        for hour in range(9)
    ]
    made.table("\n".join(["flight_id,departure,distance,carrier", *rows]) + "\n", "flights.csv")
    return made


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


def predicted(place: Place, engine: str, folder: str) -> dict[str, Any]:
    (place.folder / "system.yaml").write_text(DATED.replace("ENGINE", engine))
    result = place.predict("--output", str(place.folder / folder), "--json")
    assert result.exit_code == 3, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def files_of(folder: Path) -> dict[str, Any]:
    return {path.name: pq.ParquetFile(path).read().to_pylist() for path in sorted(folder.glob("*.parquet"))}


def test_spark_writes_the_files_the_refused_rows_and_the_manifest_of_one_process(place: Place) -> None:
    local, spark = predicted(place, "Local", "local"), predicted(place, "Spark", "spark")
    assert (spark["read"], spark["written"], spark["refused"], spark["made"]) == (27, 24, 3, 3)
    assert {**local, "output": ""} == {**spark, "output": ""}
    assert files_of(place.folder / "local") == files_of(place.folder / "spark")
    assert len(files_of(place.folder / "spark")) == 3
    for name in ("manifest.json", *(f"refused/{day}-0000.jsonl" for day in DAYS)):
        assert (place.folder / "local" / name).read_text() == (place.folder / "spark" / name).read_text()
    assert not (place.folder / "spark" / ".staging").exists()


def test_either_goes_on_where_the_other_has_stopped(place: Place) -> None:
    predicted(place, "Local", "both")
    (place.folder / "both" / "2013-02-02-0000.parquet").unlink()
    told = predicted(place, "Spark", "both")
    assert (told["made"], told["kept"]) == (1, 2)
    shutil.rmtree(place.folder / "both" / "refused")
    told = predicted(place, "Local", "both")
    assert (told["made"], told["kept"]) == (3, 0)


def test_a_spark_that_is_not_there_is_told_in_words(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "nonsense")
    (place.folder / "system.yaml").write_text(DATED.replace("ENGINE", "Spark"))
    result = place.predict("--output", str(place.folder / "never"))
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "batch.engine: Spark: " in said
    assert "Traceback" not in said

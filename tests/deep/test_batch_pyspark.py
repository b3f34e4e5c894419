"""Batches on a real Spark of this machine: the files of one process, and each goes on where the other stopped."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import SparkContext
from unit.cli.served_place import FILE, Place

from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.batches import PartitionInputs
from capstan.embedded.batch import spark
from capstan.embedded.batch.answering import Keys
from capstan.embedded.batch.predicting import BatchRequest, predict_batch
from capstan.embedded.batch.spark import SparkTask, predict
from capstan.embedded.batch.wiring import wire_batch
from capstan.spec import load

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


def request(place: Place, folder: str) -> BatchRequest:
    (place.folder / "system.yaml").write_text(DATED.replace("ENGINE", "Spark"))
    system, version = load(place.folder / "system.yaml"), place.versions[0].name
    return wire_batch(system, place.state, version, start=None, end=None, output=place.folder / folder)


def test_partitions_are_predicted_side_by_side(place: Place) -> None:
    at_work: list[int] = []

    def look() -> bool:
        is_ours = threading.current_thread() is threading.main_thread()
        context = SparkContext._active_spark_context if is_ours else None
        tracker = context.statusTracker() if context is not None else None
        for job in tracker.getActiveJobsIds() if tracker is not None else ():
            stages = [tracker.getStageInfo(stage) for stage in tracker.getJobInfo(job).stageIds]
            at_work.append(sum(stage.numActiveTasks for stage in stages if stage is not None))
        return False

    result = predict_batch(request(place, "beside"), stop=look)
    assert (result.is_complete, result.made) == (True, 3)
    assert max(at_work) >= 2


def test_a_stopped_batch_keeps_what_is_finished_and_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark, "_TASKS_PER_CORE", 1)
    monkeypatch.setenv("SPARK_MASTER", "local[1]")
    folder = place.folder / "stopped"
    first = predict_batch(
        request(place, "stopped"),
        stop=lambda: any(folder.glob("2013-*.parquet")) if folder.exists() else False,
    )
    assert not first.is_complete
    assert 1 <= first.made < 3
    assert not json.loads((folder / "manifest.json").read_text())["complete"]
    again = predict_batch(request(place, "stopped"))
    assert (again.is_complete, again.kept + again.made) == (True, 3)
    assert again.kept >= first.made
    ids = [row["flight_id"] for rows in files_of(folder).values() for row in rows]
    assert len(ids) == len(set(ids)) == 24
    assert not (folder / ".staging").exists()


def test_no_more_is_staged_than_the_jobs_at_work_need(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_TASKS_PER_CORE", 1)
    monkeypatch.setattr(spark, "_JOBS", 1)
    monkeypatch.setenv("SPARK_MASTER", "local[1]")
    folder, staged = place.folder / "bounded", []
    predict_batch(
        request(place, "bounded"),
        stop=lambda: staged.append(len([*folder.glob(".staging/*.parquet")])) or False,
    )
    assert max(staged) == 2, "of three: one is predicted, one waits"


def test_a_task_whose_end_spark_has_not_heard_of_is_not_made_twice(place: Place, tmp_path: Path) -> None:
    inputs = PartitionInputs("v1", "digest", "packages", "rows")
    keys = Keys("flight_id", "departure", None)
    task = SparkTask(tmp_path, "v1", keys, {"0000": inputs}, {}, None, 1)
    model = place.bento(1) / MODEL_FOLDER
    shutil.copytree(model, tmp_path / spark.STAGING / "model")
    moment = pa.array([datetime(2013, 2, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    row = pa.table({"flight_id": ["1"], "departure": moment, "distance": [500.0], "carrier": ["UA"]})
    pq.write_table(row, tmp_path / spark.STAGING / "0000.parquet")
    numbers = pa.record_batch({"id": [0]})
    (first,) = predict(task, ["0000"], iter([numbers]))
    written = (tmp_path / "0000.parquet").stat().st_mtime_ns
    (again,) = predict(task, ["0000"], iter([numbers]))
    assert json.loads(first["told"][0].as_py())["written"] == 1
    assert json.loads(again["told"][0].as_py())["written"] == 1
    assert (tmp_path / "0000.parquet").stat().st_mtime_ns == written


def test_a_spark_that_is_not_there_is_told_in_words(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "nonsense")
    (place.folder / "system.yaml").write_text(DATED.replace("ENGINE", "Spark"))
    result = place.predict("--output", str(place.folder / "never"))
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "batch.engine: Spark: " in said
    assert "Traceback" not in said

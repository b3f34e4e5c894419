"""A label of two words is read, answered and told in the words of its table."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest

from capstan.errors import InvalidSpecError
from capstan.recording.labels import labels_of, read_as
from capstan.serving.manifest import read_manifest
from capstan.spec.loading import parse
from capstan.spec.objective import Objective
from capstan.tasks import TASKS, task_of
from capstan.tasks.labels import label_of
from capstan.training.manifest_document import manifest_document

JUICE = label_of("Boolean", ("CH", "MM"))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("MM", True),
        ("CH", False),
        (True, True),
        ("mm", None),
        ("true", None),
        (1, None),
        (" MM", None),
        ("", None),
    ],
)
def test_only_the_words_of_the_table_and_truth_itself_are_labels(value: object, read: bool | None) -> None:
    assert JUICE.parse(value) is read


def test_numbers_may_be_the_words() -> None:
    cured = label_of("Boolean", ("1", "2"))
    assert [cured.parse(value) for value in (1, 2.0, "2", 0, 3)] == [False, True, True, None, None]


@pytest.mark.parametrize(
    ("values", "labels", "wrong"),
    [
        ("('CH'), ('MM'), (''), (null)", [False, True, None, None], 0),
        ("('CH'), ('mm')", [False, None], 1),
        ("(true), (false), (null)", [True, False, None], 0),
    ],
)
def test_a_training_reads_the_same_words(values: str, labels: list[bool | None], wrong: int) -> None:
    table = f"(values {values}) as t(y)"
    sql = JUICE.sql("y", duckdb.sql(f"select * from {table}").types[0].id)
    rows = duckdb.sql(f"select {sql.value}, coalesce({sql.wrong}, false) from {table}").fetchall()
    assert [row[0] for row in rows] == labels
    assert sum(row[1] for row in rows) == wrong


def test_whole_numbers_of_a_column_with_gaps_are_the_words_too() -> None:
    sql = label_of("Boolean", ("1", "2")).sql("y", "double")
    rows = duckdb.sql(
        f"select {sql.value} from (values (1.0::double), (2.0::double), (null)) as t(y)"
    ).fetchall()
    assert [row[0] for row in rows] == [False, True, None]


def test_what_was_posted_is_read_again_by_the_words_of_its_time() -> None:
    entries = [{"id": "a", "label": "MM"}, {"id": "b", "label": "CH"}]
    assert [one.value for one in labels_of(entries, read_as("Boolean", ("CH", "MM")))] == [True, False]


def juice(**objective: Any) -> dict[str, Any]:
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "juice"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "y", **objective},
            "data": {"sources": [{"name": "rows", "csv": {"path": "rows.csv"}}], "label": {"column": "y"}},
            "features": [{"name": "x", "numeric": {}}],
        },
    }


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        pytest.param({"positive": "MM"}, "write both, or drop both", id="one alone"),
        pytest.param(
            {"positive": "MM", "negative": "MM"}, "one word for true and another", id="one word twice"
        ),
        pytest.param(
            {"task": "MulticlassClassification", "positive": "MM", "negative": "CH"},
            "labels of MulticlassClassification are not true or false; drop positive and negative",
            id="classes",
        ),
    ],
)
def test_words_that_say_nothing_are_refused(objective: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        parse(juice(**objective), base_dir=Path())


def test_words_and_threshold_reach_the_service(tmp_path: Path) -> None:
    """A threshold by what answers are worth was not in the manifest, so answers went by a half."""
    worth = {"truePositive": 10, "falsePositive": -1}
    system = parse(juice(positive="MM", negative="CH", value=worth), base_dir=tmp_path)
    learnt = task_of(system.spec).learnt(SimpleNamespace(classes_=[False, True]))
    manifest = manifest_document(
        system, pa.table({"x": [1.0, 2.0]}), learnt, run="r", as_of=datetime(2026, 1, 1, tzinfo=UTC), candidate="c",
        seed=0, metrics={}, standard_errors={},
    )  # fmt: skip
    (tmp_path / "manifest.json").write_bytes(orjson.dumps(manifest))
    read = read_manifest(tmp_path).learnt
    assert (read.classes, read.threshold) == (("CH", "MM"), system.spec.objective.threshold)
    assert read.threshold < 0.1
    (answer,) = TASKS[system.spec.objective.task].answers([{"probability": 0.3}], read)
    assert answer["label"] == "MM"


def test_an_answer_is_one_of_the_words() -> None:
    objective = Objective.model_validate(
        {"task": "BinaryClassification", "target": "y", "positive": "MM", "negative": "CH"}
    )
    task = TASKS["BinaryClassification"].with_objective(objective)
    learnt = task.learnt(SimpleNamespace(classes_=[False, True]))
    assert task.answers([{"probability": 0.7}, {"probability": 0.2}], learnt) == [
        {"probability": 0.7, "label": "MM"},
        {"probability": 0.2, "label": "CH"},
    ]

"""How labelled cases fall into training, validation and test, and what is said when they fall badly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from capstan.data.parts import part_cases
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 30
AS_OF = FIRST + timedelta(days=DAYS + 1)


def system(validation: str = "7d", test: str = "14d", metric: str = "rocAuc") -> MLSystem:
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "churn"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "churned"},
                "data": {
                    "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "seen_at"}}],
                    "keys": {"id": "id", "time": "seen_at"},
                    "label": {"column": "churned", "availableAt": "known_at", "maximumDelay": "1d"},
                    "split": {"byTime": {"validation": validation, "test": test}},
                },
                "features": [{"name": "plan", "categorical": {}}],
                "training": {"choose": {"metric": metric}},
            },
        },
        base_dir=Path(),
    )


def cases(labels: list[bool | None]) -> pa.Table:
    """Ten cases a day, with these labels again and again for each day of the list."""
    rows = [(day, hour, labels[day]) for day in range(DAYS) for hour in range(10)]
    return pa.table(
        {
            "id": [f"c{day}-{hour}" for day, hour, _ in rows],
            "seen_at": pa.array(
                [FIRST + timedelta(days=day, hours=hour) for day, hour, _ in rows], pa.timestamp("us", "UTC")
            ),
            "churned": pa.array(
                [
                    None if label is None and hour % 2 else label if label is not None else True
                    for _, hour, label in rows
                ]
            ),
            "plan": ["a"] * len(rows),
        }
    )


def mixed(table: pa.Table, until_day: int) -> pa.Table:
    """Both classes in the days before."""
    churned = table["churned"].to_pylist()
    both = [index % 3 == 0 if index < until_day * 10 else label for index, label in enumerate(churned)]
    return table.set_column(table.column_names.index("churned"), "churned", pa.array(both))


def test_a_tail_in_which_one_class_has_matured_says_part_rows_classes_time_and_way_out() -> None:
    """From the 20th day on only churned customers have a label: the others' takes longer than maximumDelay."""
    table = mixed(cases([None] * DAYS), 20)
    with pytest.raises(InvalidDataError) as caught:
        part_cases(table, system("3d", "3d"), as_of=AS_OF)
    said = str(caught.value)
    assert "validation (2026-03-25 00:00 to 2026-03-28 00:00 UTC) has 15 labels, 15 true and 0 false" in said
    assert "and 15 cases without a label" in said
    assert "training.choose.metric rocAuc needs different ones" in said
    assert "data.label.maximumDelay (1d) is too short" in said
    assert "lengthen data.split.byTime.validation (3d), or choose by logLoss" in said


def test_one_class_in_validation_is_told_where_the_metric_can_do_without() -> None:
    found = part_cases(mixed(cases([None] * DAYS), 20), system("3d", "3d", "logLoss"), as_of=AS_OF)
    assert [warning.split(" (")[0] for warning in found.warnings] == [
        "data.split.byTime: validation",
        "data.split.byTime: test",
    ]


def test_training_rows_of_one_class_are_refused_with_their_number() -> None:
    with pytest.raises(
        InvalidDataError, match=r"training .* has 90 labels, 90 true and 0 false.*to learn from"
    ):
        part_cases(cases([True] * DAYS), system(), as_of=AS_OF)


def test_a_split_that_takes_most_of_a_small_table_is_told_with_one_that_does_not() -> None:
    table = mixed(cases([None] * DAYS), DAYS)
    found = part_cases(table, system(), as_of=AS_OF)
    assert found.held_out == pytest.approx(210 / 300)
    (warning,) = found.warnings
    assert "validation 7d and test 14d take 70% of the 300 labelled cases" in warning
    assert "candidates learn from 90 (the chosen one learns from all of them in the end)" in warning
    assert "`split: {byTime: {validation: 3d, test: 6d}}` takes about 30%" in warning
    proposed = part_cases(table, system("3d", "6d"), as_of=AS_OF)
    assert proposed.warnings == ()
    assert proposed.held_out == pytest.approx(0.3)


def banded(bands: list[str]) -> pa.Table:
    """Ten cases a day, of the day's band and of `usual`."""
    table = cases([True] * DAYS)
    labels = [bands[index // 10] if index % 2 else "usual" for index in range(table.num_rows)]
    return table.set_column(table.column_names.index("churned"), "churned", pa.array(labels))


def of_classes(metric: str = "logLoss") -> MLSystem:
    document = system("3d", "6d", metric)
    objective = document.spec.objective.model_copy(update={"task": "MulticlassClassification"})
    return document.model_copy(update={"spec": document.spec.model_copy(update={"objective": objective})})


def test_a_class_that_validation_or_test_lacks_is_told_by_name() -> None:
    found = part_cases(banded(["rare"] * 20 + ["often"] * 10), of_classes(), as_of=AS_OF)
    told = "has no row of 'rare': what is measured there says nothing about it"
    assert [warning for warning in found.warnings if "rare" in warning] == [
        f"data.split.byTime: {part} {told}" for part in ("validation", "test")
    ]


def test_a_class_that_only_the_last_days_have_is_told_with_what_it_costs() -> None:
    found = part_cases(banded(["often"] * 25 + ["new"] * 5), of_classes(), as_of=AS_OF)
    (told,) = [warning for warning in found.warnings if "'new'" in warning]
    assert told.startswith("data.split.byTime: test has 25 labels of 'new', which no training row has")
    assert "each counts as a miss with the largest loss" in told


def test_a_column_of_ids_as_label_is_refused_before_anything_is_fitted() -> None:
    table = cases([True] * DAYS)
    ids = table.set_column(table.column_names.index("churned"), "churned", table["id"])
    with pytest.raises(
        InvalidDataError, match=r"data.label.column: 'churned' has 300 classes, and at most 200"
    ):
        part_cases(ids, of_classes(), as_of=AS_OF)

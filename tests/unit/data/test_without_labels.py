"""Tables for a task that learns without labels: no column of labels, some of them missing, one that a feature tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.data import extract, find_leaks, part_cases
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem
from capstan.spec.loading import parse
from capstan.training.cases import Cases

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 240
NOW = FIRST + timedelta(hours=ROWS)


def system(folder: Path, *, label: dict[str, Any] | None = None, task: str = "AnomalyDetection") -> MLSystem:
    rng = np.random.default_rng(1)
    lines = ["id,at,x,odd"]
    for row in range(ROWS):
        odd = row % 12 == 0
        known = ("true" if odd else "false") if row % 2 == 0 else ""
        lines.append(
            f"r{row},{(FIRST + timedelta(hours=row)).isoformat()},{rng.normal() + 20 * odd:.3f},{known}"
        )
    if label is None:
        lines = [line.rpartition(",")[0] for line in lines]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    data: dict[str, Any] = {
        "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
        "keys": {"id": "id", "time": "at"},
        "split": {"byTime": {"validation": "1d", "test": "2d"}},
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "toy"},
        "spec": {
            "objective": {"task": task, "target": "odd"},
            "data": data if label is None else {**data, "label": label},
            "features": [{"name": "x", "numeric": {}}],
        },
    }
    return parse(document, base_dir=folder)


def test_no_source_needs_a_label_and_every_row_up_to_now_is_used(tmp_path: Path) -> None:
    given = system(tmp_path)
    cases = extract(given, as_of=NOW, labels_as_of=NOW)
    assert cases["odd"].null_count == cases.num_rows == ROWS
    assert cases["odd"].type == pa.bool_()
    parted = part_cases(cases, given, as_of=NOW)
    assert [parted.training.rows, parted.validation.rows, parted.test.rows] == [ROWS - 72, 24, 48]
    assert not parted.warnings
    assert np.isnan(Cases.of(parted.table, given).truth).all()
    assert find_leaks(cases, given, as_of=NOW) == ()


def test_a_label_that_is_named_must_be_there(tmp_path: Path) -> None:
    given = system(tmp_path, label={"column": "odd"})
    system(tmp_path)
    with pytest.raises(InvalidDataError, match=r"no column 'odd', which data\.label\.column needs"):
        extract(given, as_of=NOW, labels_as_of=NOW)


def test_rows_without_a_label_are_learnt_from_and_not_judged(tmp_path: Path) -> None:
    given = system(tmp_path, label={"column": "odd", "maximumDelay": "1h"})
    cases = extract(given, as_of=NOW, labels_as_of=NOW)
    parted = part_cases(cases, given, as_of=NOW)
    truth = Cases.of(parted.table, given).truth
    assert len(truth) == ROWS
    assert np.isnan(truth).mean() == pytest.approx(0.5, abs=0.01)
    assert "unknown" in parted.test.labels.words


def test_a_feature_that_tells_anomalies_alone_is_told_and_not_refused(tmp_path: Path) -> None:
    given = system(tmp_path, label={"column": "odd", "maximumDelay": "1h"})
    (leak,) = find_leaks(extract(given, as_of=NOW, labels_as_of=NOW), given, as_of=NOW)
    assert "alone tells every label" in str(leak)
    assert not leak.is_certain
    learnt = system(tmp_path, label={"column": "odd", "maximumDelay": "1h"}, task="BinaryClassification")
    (refused,) = find_leaks(extract(learnt, as_of=NOW, labels_as_of=NOW), learnt, as_of=NOW)
    assert refused.is_certain


def test_where_no_row_to_choose_by_has_a_label_the_way_out_is_what_needs_none(tmp_path: Path) -> None:
    given = system(tmp_path, label={"column": "odd"})
    cases = extract(given, as_of=NOW, labels_as_of=NOW)
    unknown = pa.nulls(cases.num_rows, pa.bool_())
    cases = cases.set_column(cases.schema.get_field_index("odd"), "odd", unknown)
    with pytest.raises(InvalidDataError, match=r"24 unknown: .* or choose by flaggedShareGap$"):
        part_cases(cases, given, as_of=NOW)

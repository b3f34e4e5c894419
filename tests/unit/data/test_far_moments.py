"""Moments that no calendar of ours holds, such as infinity, are refused in words or mean "not yet"; none is a crash."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import extract
from capstan.data.inspection import inspect_data
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
EARLY = ["-infinity", "0000-01-01", "0001-01-01T00:00:00+12:00", "1899-12-31T23:59:59Z"]
LATE = ["infinity", "9999-12-31", "9999-12-31T23:59:59-12:00", "290000-01-01", "2200-01-01T00:00:00Z"]


def system(folder: Path, source: dict[str, Any], **data: Any) -> MLSystem:
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "far"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "label"},
            "data": {
                "sources": [{"name": "rows", **source}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "label", "availableAt": "known"},
                **data,
            },
            "features": [{"name": "value", "categorical": {}}],
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
        },
    }
    return parse(document, base_dir=folder)


def of_csv(folder: Path, *, at: str | None = None, known: str | None = None, **data: Any) -> MLSystem:
    """Six rows, of which the third has that moment."""
    lines = ["id,at,known,label,value"]
    for index in range(6):
        moment = (START + timedelta(hours=index)).isoformat()
        odd = index == 2
        lines.append(
            f"r{index},{at if odd and at else moment},{known if odd and known else moment},{index % 2},a"
        )
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return system(folder, {"csv": {"path": "rows.csv"}}, **data)


def of_parquet(folder: Path, column: str, values: pa.Array) -> MLSystem:
    moments = pa.array([START + timedelta(hours=index) for index in range(6)], pa.timestamp("us", "UTC"))
    columns = {"id": [f"r{index}" for index in range(6)], "at": moments, "known": moments}
    columns |= {"label": [index % 2 for index in range(6)], "value": ["a"] * 6, column: values}
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return system(folder, {"parquet": {"path": "rows.parquet"}})


def refusal(of: MLSystem, as_of: datetime | None = None) -> str:
    with pytest.raises(InvalidDataError) as raised:
        extract(of, as_of=as_of, labels_as_of=as_of)
    return str(raised.value)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("value", [*EARLY, *LATE])
def test_a_case_of_a_far_moment_is_refused_with_its_cell(value: str, zone: str, tmp_path: Path) -> None:
    text = refusal(of_csv(tmp_path, at=value, timeZone=zone))
    assert text.startswith("data.keys.time: 1 value of column 'at' is before 1900 or after 2199 (")
    assert f"rows.csv, line 4: '{value}'); correct it, or leave such rows out in data.query" in text


@pytest.mark.parametrize("value", LATE)
def test_a_case_of_the_far_future_is_no_part_of_a_training(value: str, tmp_path: Path) -> None:
    found = extract(of_csv(tmp_path, at=value), as_of=NOW, labels_as_of=NOW)
    assert found["id"].to_pylist() == ["r0", "r1", "r3", "r4", "r5"]


@pytest.mark.parametrize("as_of", [None, NOW])
@pytest.mark.parametrize("value", LATE)
def test_a_label_that_becomes_known_in_the_far_future_does_not_count_and_is_told(
    value: str, as_of: datetime | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = extract(of_csv(tmp_path, known=value), as_of=as_of, labels_as_of=as_of)
    assert found["label"].to_pylist() == [False, True, None, True, False, True]
    assert found["label_available_at"].to_pylist()[2] is None
    assert "1 labels do not count, because 'known' says that they become known after 2199" in caplog.text


@pytest.mark.parametrize("as_of", [None, NOW])
@pytest.mark.parametrize("value", EARLY)
def test_a_label_that_was_known_before_the_calendar_is_refused(
    value: str, as_of: datetime | None, tmp_path: Path
) -> None:
    text = refusal(of_csv(tmp_path, known=value), as_of)
    assert text.startswith("data.label.availableAt: 1 value of column 'known' is before 1900 (")
    assert f"rows.csv, line 4: '{value}')" in text


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_case_of_a_far_moment_in_parquet_is_named_with_its_row(unit: str, tmp_path: Path) -> None:
    second = {"s": 1, "ms": 1000, "us": 10**6}[unit]
    values = pa.array([second * (10**12 if index == 2 else 10**9) for index in range(6)])
    text = refusal(of_parquet(tmp_path, "at", values.cast(pa.timestamp(unit, "UTC"))))
    assert "rows.parquet, row 3: '33658-09-27 01:46:40+00'" in text


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (pa.date32(), 10**7, "29349-01-26"),
        (pa.timestamp("s", "UTC"), 10**12, "33658-09-27 01:46:40+00"),
        (pa.timestamp("ms"), -(10**14), "1200-02-15 (BC) 14:13:20"),
    ],
)
def test_a_category_of_a_far_moment_is_refused_with_the_way_out(
    kind: pa.DataType, value: int, shown: str, tmp_path: Path
) -> None:
    values = pa.array([value, *range(5)], pa.int64())
    values = values.cast(pa.int32()).cast(kind) if kind == pa.date32() else values.cast(kind)
    text = refusal(of_parquet(tmp_path, "value", values))
    assert text.startswith(f"data.query: column 'value' holds '{shown}'; moments are from the year 1 to 9999")
    assert "cast(value as varchar)" in text


def test_days_long_ago_are_categories(tmp_path: Path) -> None:
    days = pa.array([date(1066, 10, 14), date(1, 1, 1), date(9999, 12, 31)] * 2)
    assert extract(of_parquet(tmp_path, "value", days), as_of=None, labels_as_of=None).num_rows == 6


@pytest.mark.parametrize("column", ["at", "known"])
@pytest.mark.parametrize("value", ["infinity", "-infinity", "9999-12-31T23:59:59-12:00"])
def test_validate_goes_on_after_a_far_moment(column: str, value: str, tmp_path: Path) -> None:
    found = inspect_data(of_csv(tmp_path, **{column: value}), now=NOW)
    told = [*found.problems, *found.warnings]
    assert any(f"column {column!r}" in str(text) or f"{column!r} says" in str(text) for text in told), told

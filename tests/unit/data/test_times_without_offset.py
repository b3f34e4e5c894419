"""A day, or a time without offset, is of `data.timeZone`: in training, in a request and in the monitor alike."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstan.data import check_table, extract, request_schema
from capstan.domain.payload_limits import moment_rule
from capstan.errors import InvalidDataError, InvalidRequestError
from capstan.features.columns import texts, type_of
from capstan.features.values import ColumnType, category, moment_of_text
from capstan.serving.manifest import read_manifest
from capstan.serving.plain_rows import PlainRows
from capstan.serving.schema import RequestSchema
from capstan.spec import MLSystem, parse

ZONE = "America/New_York"
MIDNIGHT = "2024-03-01T05:00:00Z"
"""The beginning of 2024-03-01 in New York."""
QUERIES = {
    "a day": "select *, date '2024-03-01' as value from rows",
    "a time without offset": "select *, timestamp '2024-03-01 00:00:00' as value from rows",
    "nanoseconds without offset": "select *, cast('2024-03-01 00:00:00' as timestamp_ns) as value from rows",
    "a parsed text": "select *, strptime('01.03.2024', '%d.%m.%Y') as value from rows",
    "a moment": "select *, timestamptz '2024-03-01 05:00:00+00' as value from rows",
    "the beginning of a day": "select *, date_trunc('day', timestamptz '2024-03-01 17:00:00+00') as value from rows",
}
WRITTEN = [
    "2024-03-01",
    "2024-03-01T00:00:00",
    "2024-03-01 00:00",
    "2024-03-01T05:00:00Z",
    "2024-03-01T06:00:00+01:00",
]


def system(folder: Path, query: str | None, **data: Any) -> MLSystem:
    """Over rows.csv, unless another source is given."""
    start = datetime(2024, 4, 1, tzinfo=UTC)
    lines = [f"r{hour},{(start + timedelta(hours=hour)).isoformat()},{hour % 2}" for hour in range(4)]
    (folder / "rows.csv").write_text("\n".join(["id,at,label", *lines]) + "\n")
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "zones"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "label", "availableAt": "at"},
                    "timeZone": ZONE,
                    **({} if query is None else {"query": query}),
                    **data,
                },
                "features": [{"name": "value", "categorical": {"unseen": "Refuse"}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            },
        },
        base_dir=folder,
    )


def system_of_written(folder: Path, written: str, **source: Any) -> MLSystem:
    """Whose rows.csv has the text in a column `value` of each row."""
    made = system(folder, None, sources=[{"name": "rows", "csv": {"path": "rows.csv"}, **source}])
    rows = folder / "rows.csv"
    header, *lines = rows.read_text().splitlines()
    rows.write_text("\n".join([f"{header},value", *(f"{line},{written}" for line in lines)]) + "\n")
    return made


def trained(folder: Path, made: MLSystem) -> tuple[RequestSchema, PlainRows, list[str | None]]:
    """What a service makes of the manifest, and the categories of training."""
    table = extract(made, as_of=None, labels_as_of=None)
    assert not check_table(table, made).violations
    manifest = {
        **{"system": "zones", "task": "BinaryClassification", "target": "label"},
        "columns": [asdict(column) for column in request_schema(made, table)],
        **{"keys": {"id": "id", "time": "at"}, "time_zone": made.spec.data.time_zone},
    }
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    read = read_manifest(folder)
    found = texts(table["value"], type_of(table["value"])).tolist()
    return RequestSchema(read), PlainRows(read, {"value": found}), found


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_request_means_the_moment_that_training_saw_however_both_wrote_it(
    query: str, tmp_path: Path
) -> None:
    schema, plain, found = trained(tmp_path, system(tmp_path, query))
    assert found == [MIDNIGHT] * 4
    for written in WRITTEN:
        (row,) = schema.rows_of({"value": written})
        assert row["value"] == MIDNIGHT
        assert plain.of({"value": written}) == [{"value": MIDNIGHT}]
        # The payload holds what the model read; the monitor takes it for the same category.
        assert category(row["value"], ColumnType.TIME) == MIDNIGHT
    with pytest.raises(InvalidRequestError, match=rf"is not allowed; allowed: {MIDNIGHT}"):
        schema.rows_of({"value": "2024-03-01T00:00:00Z"})
    assert schema.rows_of({"value": MIDNIGHT})[0]["value"] == MIDNIGHT


def test_days_of_all_kinds_of_files_are_one_category(tmp_path: Path) -> None:
    days = [date(2024, 3, 1), date(2024, 7, 1)]
    wanted = [MIDNIGHT, "2024-07-01T04:00:00Z"]
    (tmp_path / "days.csv").write_text("day\n2024-03-01\n2024-07-01\n")
    (tmp_path / "mixed.csv").write_text("day\n2024-03-01\n2024-07-01T04:00:00Z\n")
    (tmp_path / "days.jsonl").write_text('{"day": "2024-03-01"}\n{"day": "2024-07-01"}\n')
    pq.write_table(pa.table({"day": pa.array(days, pa.date32())}), tmp_path / "days.parquet")
    pandas_days = pa.array([datetime.combine(day, datetime.min.time()) for day in days], pa.timestamp("ns"))
    pq.write_table(pa.table({"day": pandas_days}), tmp_path / "pandas.parquet")
    kinds = {"csv": "csv", "jsonl": "jsonLines", "parquet": "parquet"}
    for file in ("days.csv", "mixed.csv", "days.jsonl", "days.parquet", "pandas.parquet"):
        stated = {"types": [{"column": "day", "type": "Time"}]} if file == "mixed.csv" else {}
        sources = [
            {"name": "rows", "csv": {"path": "rows.csv"}},
            {"name": "days", kinds[file.rpartition(".")[2]]: {"path": file}, **stated},
        ]
        query = "select id || day as id, rows.at, label, day as value from rows, days where id = 'r0'"
        table = extract(system(tmp_path, query, sources=sources), as_of=None, labels_as_of=None)
        assert sorted(texts(table["value"], type_of(table["value"]))) == wanted, file


def test_an_allowed_day_is_of_the_files_zone(tmp_path: Path) -> None:
    query = QUERIES["a moment"]
    for day, broken in (("2024-03-01", 0), ("2024-03-01T00:00:00Z", 1)):
        made = system(tmp_path, query, checks=[{"column": "value", "allowed": [day]}])
        table = extract(made, as_of=None, labels_as_of=None)
        assert len(check_table(table, made).violations) == broken


def test_a_time_of_the_query_that_clocks_made_unclear_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    query = "select *, timestamp '2024-11-03 01:30:00' as value from rows"
    made = system(tmp_path, query)
    with caplog.at_level(logging.WARNING, "capstan.data"):
        table = extract(made, as_of=None, labels_as_of=None)
    assert set(texts(table["value"], ColumnType.TIME)) == {"2024-11-03T06:30:00Z"}
    (told,) = [record.getMessage() for record in caplog.records]
    assert "data.query: column 'value': 4 times without offset happened twice in America/New_York" in told


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        pytest.param("2024-11-03T01:30:00", "2024-11-03T06:30:00Z", id="twice-the-later"),
        pytest.param("2024-03-10T02:30:00", "2024-03-10T07:30:00Z", id="never-the-later"),
        pytest.param("2024-03-10", "2024-03-10T05:00:00Z", id="a-day-of-23-hours"),
    ],
)
def test_a_text_that_clocks_made_unclear_means_in_a_request_what_it_means_in_a_table(
    written: str, moment: str, tmp_path: Path
) -> None:
    assert category(written, ColumnType.TIME, ZONE) == moment
    query = f"select *, cast('{written}' as timestamp) as value from rows"
    table = extract(system(tmp_path, query), as_of=None, labels_as_of=None)
    assert set(texts(table["value"], ColumnType.TIME)) == {moment}


def test_the_time_of_an_event_is_bounded_in_the_zone_of_the_file() -> None:
    assert moment_rule("1900-01-01T00:00:00", zone="Asia/Tokyo") == (
        "is before 1900; moments are from 1900 to 2199"
    )
    assert moment_rule("1900-01-01T00:00:00", zone="UTC") is None
    assert moment_rule("2199-12-31T23:00:00", zone=ZONE) == "is after 2199; moments are from 1900 to 2199"
    assert moment_rule("0001-01-01T00:00:00", zone="Asia/Tokyo") is not None
    assert "has no offset" in str(moment_rule("2024-03-01T00:00:00"))


@pytest.mark.parametrize(
    "text", ["20240301", "2024-W09-5", "soon", "0001-01-01T00:00:00+05:00", "2024-13-01"]
)
def test_what_tables_do_not_read_as_a_moment_is_none_in_a_request(text: str) -> None:
    assert moment_of_text(text, ZONE) is None


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        pytest.param("2024-03-01 24:00:00", "2024-03-02T05:00:00Z", id="midnight-as-24"),
        pytest.param("2024-03-09T24:00", "2024-03-10T05:00:00Z", id="midnight-of-a-change"),
        pytest.param("2024-12-31 24:00:00.0Z", "2025-01-01T00:00:00Z", id="24-of-utc"),
        pytest.param("2024-03-01 05:00:00 Europe/Berlin", "2024-03-01T04:00:00Z", id="a-named-zone"),
        pytest.param(
            "2024-10-27 02:30:00 europe/berlin", "2024-10-27T01:30:00Z", id="twice-in-the-named-zone"
        ),
        pytest.param("2024-03-31 24:00 Etc/GMT+5", "2024-04-01T05:00:00Z", id="24-in-a-named-zone"),
        pytest.param("2024-03-01 05:00 UTC", "2024-03-01T05:00:00Z", id="utc"),
        pytest.param("2024-03-01 5:07", "2024-03-01T10:07:00Z", id="an-hour-of-one-digit"),
        pytest.param("2024-03-01  05:00:00.1234567", "2024-03-01T10:00:00.123456Z", id="nanoseconds"),
    ],
)
def test_a_moment_is_a_category_of_a_request_however_a_table_may_write_it(
    written: str, moment: str, tmp_path: Path
) -> None:
    schema, plain, found = trained(tmp_path, system_of_written(tmp_path, written))
    assert set(found) == {moment}
    assert schema.rows_of({"value": written}) == [{"value": moment}]
    assert plain.of({"value": written}) == [{"value": moment}]


@pytest.mark.parametrize("written", ["2024/3/1", "2024-3-1", "2024/3/1 0:00", "2024/2/29 24:00"])
def test_a_column_that_is_stated_to_hold_times_means_the_same_in_a_request(
    written: str, tmp_path: Path
) -> None:
    stated = [{"column": "value", "type": "Time"}]
    schema, _, found = trained(tmp_path, system_of_written(tmp_path, written, types=stated))
    assert set(found) == {MIDNIGHT}
    assert schema.rows_of({"value": written}) == [{"value": MIDNIGHT}]


@pytest.mark.parametrize("written", ["2024-03-01 05:00:00 PST", "2024-03-01 05:00:00 UTC+2"])
def test_a_time_with_a_zone_that_a_request_cannot_say_stays_text(written: str, tmp_path: Path) -> None:
    schema, _, found = trained(tmp_path, system_of_written(tmp_path, written))
    assert set(found) == {written}
    assert schema.rows_of({"value": written}) == [{"value": written}]
    with pytest.raises(InvalidDataError, match=f"'{re.escape(written)}'"):
        trained(tmp_path, system_of_written(tmp_path, written, types=[{"column": "value", "type": "Time"}]))

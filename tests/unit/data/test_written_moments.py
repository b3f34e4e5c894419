"""A way to write moments that a source states: read in a table, taken in a request, and named where a cell differs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capstan.data import extract
from capstan.data.asked_rows import asked_rows
from capstan.data.profiling import profile_table
from capstan.errors import InvalidDataError, InvalidRequestError, InvalidSpecError
from capstan.features.values import ColumnType
from capstan.serving.manifest import Manifest
from capstan.serving.schema import RequestSchema
from capstan.spec import MLSystem, parse
from capstan.spec.data import CsvSource, Source, StatedType
from capstan.spec.guessing import Wishes
from capstan.verbs.describing import described

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = datetime(2012, 1, 1, 5, 30, tzinfo=UTC)


def described_table(folder: Path, form: str) -> MLSystem:
    """What is guessed of a table that writes a time of every day so."""
    lines = [f"{FIRST + timedelta(days=day):{form}},{day % 7},{day % 2}" for day in range(200)]
    (folder / "days.csv").write_text("\n".join(["seen,a,y", *lines]) + "\n")
    found = described(profile_table(folder / "days.csv"), "y", folder, Wishes(), now=NOW)
    return parse(found.document, base_dir=folder)


@pytest.mark.parametrize(
    ("form", "moment"),
    [
        pytest.param("%d.%m.%Y %H:%M", "2012-01-01T05:30:00+00:00", id="day_first"),
        pytest.param("%m/%d/%Y", "2012-01-01T00:00:00+00:00", id="month_first"),
        pytest.param("%Y/%m/%d", "2012-01-01T00:00:00+00:00", id="slashes"),
    ],
)
def test_a_request_takes_a_moment_as_the_table_writes_it(tmp_path: Path, form: str, moment: str) -> None:
    system = described_table(tmp_path, form)
    assert system.spec.data.keys.time == "seen"
    assert system.spec.data.query is None
    rows = extract(system, as_of=NOW, labels_as_of=NOW)
    assert rows["seen"][0].as_py() == datetime.fromisoformat(moment)

    manifest = Manifest(
        "toy", "BinaryClassification", "y", (), {"time": "seen"}, written=system.spec.data.written
    )
    schema = RequestSchema(manifest)
    assert schema.rows_of({"seen": f"{FIRST:{form}}"}) == [{"seen": moment}]
    assert schema.rows_of({"seen": "2012-01-01"}) == [{"seen": "2012-01-01"}]
    with pytest.raises(InvalidRequestError, match="no time of the calendar"):
        schema.rows_of({"seen": "Sunday"})


def test_days_and_months_that_could_change_places_are_named_and_not_guessed(tmp_path: Path) -> None:
    lines = [f"{1 + row % 12:02}/{1 + row % 11:02}/2024,{row / 7},{row % 2}" for row in range(120)]
    (tmp_path / "days.csv").write_text("\n".join(["seen,a,y", *lines]) + "\n")
    found = described(profile_table(tmp_path / "days.csv"), "y", tmp_path, Wishes(), now=NOW)
    time = next(one for one in found.guesses if one.value == "not seen")
    assert "%d/%m/%Y or %m/%d/%Y, and no row says which" in time.reason
    assert [one["name"] for one in found.document["spec"]["features"]] == ["a"]


def test_slashes_are_taken_where_no_source_states_how_moments_are_written() -> None:
    schema = RequestSchema(
        Manifest("toy", "BinaryClassification", "y", (), {"time": "seen"}, time_zone="America/New_York")
    )
    assert schema.rows_of({"seen": "2012/1/1"}) == [{"seen": "2012-01-01T05:00:00+00:00"}]
    with pytest.raises(InvalidRequestError):
        schema.rows_of({"seen": "31.01.2012"})


def test_a_cell_that_is_written_otherwise_is_named(tmp_path: Path) -> None:
    system = described_table(tmp_path, "%d.%m.%Y")
    table = tmp_path / "days.csv"
    table.write_text(table.read_text().replace("05.01.2012", "2012-01-05"))
    with pytest.raises(InvalidDataError, match=r"days\.csv, line 6: '2012-01-05'.*written: \"%d") as raised:
        extract(system, as_of=NOW, labels_as_of=NOW)
    assert "is not a moment written as %d.%m.%Y" in str(raised.value)


def test_a_year_of_two_digits_is_not_the_year_24(tmp_path: Path) -> None:
    system = described_table(tmp_path, "%d.%m.%Y")
    table = tmp_path / "days.csv"
    table.write_text(table.read_text().replace("05.01.2012", "05.01.12"))
    with pytest.raises(InvalidDataError, match=r"line 6: '05\.01\.12'"):
        extract(system, as_of=NOW, labels_as_of=NOW)


def test_moments_of_digits_alone_stay_texts_in_a_table_that_is_asked(tmp_path: Path) -> None:
    stated = StatedType(column="seen", type="Time", written="%Y%m%d")
    source = Source(name="days", types=(stated,), csv=CsvSource(path="days.csv"))
    (tmp_path / "new.csv").write_text("seen,a\n20120105,1\nNA,2\n")
    wanted = {"seen": ColumnType.TIME, "a": ColumnType.NUMBER}
    rows = list(asked_rows(tmp_path / "new.csv", wanted, zone="UTC", sources=[source]))
    assert rows == [{"seen": "20120105", "a": 1}, {"seen": None, "a": 2}]
    schema = RequestSchema(
        Manifest("toy", "BinaryClassification", "y", (), {"time": "seen"}, written={"seen": "%Y%m%d"})
    )
    taken = schema.rows_of({"seen": "20120105"})[0]["seen"]
    assert datetime.fromisoformat(str(taken)).date() == datetime(2012, 1, 5, tzinfo=UTC).date()


@pytest.mark.parametrize(
    ("stated", "rule"),
    [
        pytest.param({"type": "Time", "written": "%d.%m"}, r"write %Y, %m and %d", id="no_year"),
        pytest.param({"type": "Time", "written": "%d. %B %Y"}, r"write %Y, %m and %d", id="names"),
        pytest.param({"type": "Time", "written": "%Y-%m-%d %d"}, "each once", id="a_part_twice"),
        pytest.param({"type": "Time", "written": "%Y-%m-%d %M"}, "each once", id="minutes_alone"),
        pytest.param(
            {"type": "Time", "written": "%Y-%d-%m"}, "between year and month", id="as_a_request_would_not"
        ),
        pytest.param({"type": "Text", "written": "%d.%m.%Y"}, "stated to be Text; write Time", id="no_time"),
    ],
)
def test_what_says_no_moment_is_refused(tmp_path: Path, stated: dict[str, Any], rule: str) -> None:
    system = described_table(tmp_path, "%d.%m.%Y")
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["data"]["sources"][0]["types"] = [{"column": "seen", **stated}]
    with pytest.raises(InvalidSpecError, match=rule):
        parse(document, base_dir=tmp_path)

"""The suite of kinds of sources."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from capstan.data.sources import SOURCES, Open, Reader, Reading
from capstan.data.usage import plain_plans
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError
from capstan.spec.data import Source
from capstan.testing.conformance import Suite

START = datetime(2024, 3, 1, tzinfo=UTC)
ROWS = 40
AS_OF = START + timedelta(hours=24, minutes=30)
KNOWN = 25
COLUMNS = ("id", "at", "amount", "paid", "note")
_PLAIN = 'id, epoch_us(cast("at" as timestamptz)), cast(amount as double), cast(paid as boolean), note'
Rows = list[tuple[Any, ...]]
Write = Callable[[Path, pa.Table], Mapping[str, Any]]
"""Writes the table into a folder and says how a file names it: {"name": "rows", "csv": {..., "timeColumn": "at"}}."""


def check_source(
    write: Write, opens: Open | None = None, remove: Callable[[Path], None] | None = None
) -> None:
    """Read a toy table that `write` has written, whole and as of a moment; raises NotConformingError.

    Secrets lie in the folder's `secrets/NAME/KEY`. `opens`: what is checked in place of the listed kind. `remove`
    takes away what was written for a folder, where it lies elsewhere.
    """
    suite = Suite(f"source {getattr(write, '__name__', write)}")
    with TemporaryDirectory(prefix="capstan-source-") as scratch:
        honest = _Place.written(Path(scratch) / "honest", write, toy(), opens)
        corrupted = _Place.written(Path(scratch) / "corrupted", write, toy(nonsense=True), opens)
        _check_reading(suite, honest)
        _check_moment(suite, honest, corrupted)
        _check_refusals(suite, honest, remove)
    suite.require()


def toy(*, nonsense: bool = False) -> pa.Table:
    """Rows an hour apart with missing values; with `nonsense`, those after `AS_OF` are others."""
    rows = []
    for index in range(ROWS):
        late = nonsense and index >= KNOWN
        rows.append(
            {
                "id": f"r{index}",
                "at": (START + timedelta(hours=index)).isoformat(),
                "amount": None if index % 7 == 3 else (-99.5 if late else index / 4),
                "paid": None if index % 11 == 5 else index % 3 == 0,
                "note": None if index % 5 == 2 else ("?!" if late else f"note {index}, 'quoted'"),
            }
        )
    kinds = (pa.string(), pa.string(), pa.float64(), pa.bool_(), pa.string())
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(COLUMNS, kinds, strict=True))))


@dataclass(frozen=True)
class _Place:
    """A source in its folder."""

    folder: Path
    source: Source
    opens: Open | None

    @classmethod
    def written(cls, folder: Path, write: Write, table: pa.Table, opens: Open | None) -> _Place:
        folder.mkdir()
        return cls(folder, Source.model_validate(write(folder, table)), opens)

    @contextmanager
    def opened(self, as_of: datetime | None = None) -> Iterator[tuple[Reading, Reader]]:
        settings = self.source.settings
        with workspace(threads=1, memory=2**28, zone="UTC") as connection, plain_plans(connection):
            reading = Reading(connection, self.source, as_of, self.folder, self.folder / "secrets", "UTC")
            yield reading, (self.opens or SOURCES[type(settings)])(reading, settings)

    def rows(self, as_of: datetime | None = None) -> Rows:
        with self.opened(as_of) as (reading, reader):
            reader.require_distinct(COLUMNS)
            reader.read(COLUMNS)
            found: Rows = reading.connection.sql(f"from {reading.rows}").project(_PLAIN).fetchall()
            return found


def _plain(table: pa.Table) -> Rows:
    return sorted(
        (row["id"], _microseconds(row["at"]), row["amount"], row["paid"], row["note"])
        for row in table.to_pylist()
    )


def _microseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1e6)


def _check_reading(suite: Suite, place: _Place) -> None:
    with suite.rule("it can be opened, and names its columns"), place.opened() as (_, reader):
        names = sorted(reader.columns)
        assert names == sorted(COLUMNS), f"columns are {names}, not {sorted(COLUMNS)}"
    with suite.rule("first_types tells of the columns that were asked for"), place.opened() as (_, reader):
        told = sorted(reader.first_types(["paid", "id"]))
        assert told == ["id", "paid"], f"it tells of {told}"
    with suite.rule("read brings every row with its values"):
        assert sorted(place.rows()) == _plain(toy()), "rows differ from those that were written"
    with suite.rule("reading twice gives the same rows in the same order"):
        assert place.rows() == place.rows(), "the order differs"
    with suite.rule("read brings no column that was not asked for"), place.opened() as (reading, reader):
        reader.read(["id"])
        found = {row[0] for row in reading.connection.execute(f"describe {reading.rows}").fetchall()}
        assert {"id"} <= found <= {"id", "at"}, f"columns are {sorted(found)}"
    with suite.rule("numbered says where each value stands, or nothing at all"), place.opened() as opened:
        _check_numbers(*opened)


def _check_numbers(reading: Reading, reader: Reader) -> None:
    numbered = reader.numbered("id")
    if numbered is None:
        assert reader.place(reading.source.name, 1), "place is empty"
        return
    query = f"select in_file, row_number, value from ({numbered}) order by row_number"  # noqa: S608
    found = reading.connection.execute(query).fetchall()
    wanted = [(index + 1, f"r{index}") for index in range(ROWS)]
    assert [(number, value) for _, number, value in found] == wanted, "numbers or values are others"
    file = str(found[0][0])
    assert Path(file).name in reader.place(file, 1), "place does not name the file"


def _check_moment(suite: Suite, honest: _Place, corrupted: _Place) -> None:
    with suite.rule("as of a moment it brings what was known by then, whatever comes later"):
        found, other = honest.rows(AS_OF), corrupted.rows(AS_OF)
        assert len(found) == KNOWN, f"{len(found)} rows, not the {KNOWN} from before that moment"
        assert sorted(found) == _plain(toy().slice(0, KNOWN)), "rows differ from those that were written"
        assert found == other, "another future gives another past"


def _check_refusals(suite: Suite, place: _Place, remove: Callable[[Path], None] | None) -> None:
    source = place.source
    with suite.rule("a time column that is not there is refused by the source's name"):
        settings = source.settings.model_copy(update={"time_column": "no_such"})
        _require_refusal(replace(place, source=source.model_copy(update={source.kind: settings})))
    with suite.rule("data that is not there is refused by the source's name"), TemporaryDirectory() as empty:
        if (place.folder / "secrets").is_dir():
            shutil.copytree(place.folder / "secrets", Path(empty) / "secrets")
        if remove is not None:
            remove(place.folder)
        _require_refusal(replace(place, folder=Path(empty)))


def _require_refusal(place: _Place) -> None:
    refusal = ""
    try:
        place.rows(AS_OF)
    except InvalidDataError as error:
        refusal = str(error)
    assert refusal, "it is read all the same"
    assert f"data.sources.{place.source.name}" in refusal, f"the message does not name it: {refusal}"

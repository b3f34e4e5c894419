"""What every kind of source offers to the query: its columns at once, its rows when it is known which are used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import duckdb

from capstan.data.text_types import FoundType, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import Source

SAMPLE = 200
"""Rows from which a column's type is guessed before it is read."""


@dataclass(frozen=True)
class FileRead:
    """A file of a source as it was when it was found."""

    bytes: int
    modified: datetime | None
    """None: the storage does not tell."""


@dataclass(frozen=True)
class Reading:
    """One source, and as of when and where it is read."""

    connection: duckdb.DuckDBPyConnection
    source: Source
    as_of: datetime | None
    """Rows from after it are not read; None for all rows."""
    base_dir: Path
    secrets: Path
    zone: str
    """Of times without offset; the connection's time zone is the same."""
    addresses: dict[str, str] = dataclasses.field(default_factory=dict)
    """What DuckDB reads in place of a file in an object storage -> the file's address."""
    files: dict[str, FileRead] = dataclasses.field(default_factory=dict)
    """By path or address; empty for a database."""

    @property
    def field(self) -> str:
        return f"data.sources.{self.source.name}"

    def shown(self, file: str) -> str:
        """The file as a person knows it."""
        return self.addresses.get(file, file)

    @property
    def rows(self) -> str:
        """The table with the rows that are read, as an SQL identifier; no source can have this name."""
        return quote(f"rows of {self.source.name}")

    def with_time(self, columns: Sequence[str]) -> list[str]:
        """The columns and the source's time column."""
        return list(dict.fromkeys([*columns, *filter(None, [self.source.time_column])]))


class Reader(Protocol):
    """A source that has been opened; all methods raise InvalidDataError or duckdb.Error."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Column -> SQL type as far as it is known without the rows; of text that may turn out to be more, VARCHAR."""
        ...

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """Column -> SQL type, as the first rows show it, for some of the columns."""
        ...

    def require_distinct(self, columns: Sequence[str]) -> None:
        """Raises InvalidDataError if SQL cannot tell one of the columns from another of the source."""
        ...

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """Create the table `Reading.rows` with these columns of all rows known by `as_of`.

        Gives the columns that are left as text because a number or a moment could not be written back as it was.
        """
        ...

    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        """SQL of the known rows as `in_file`, `row_number` and `value` (text, null where missing); None: no places.

        With `undated` of all rows, whatever their moment.
        """
        ...

    def place(self, file: str, number: int) -> str:
        """Where the row stands, such as `rows.csv, line 17`."""
        ...


@runtime_checkable
class Quoted(Protocol):
    """A reader of texts that tells what stood in quotes."""

    @property
    def unquoted(self) -> frozenset[str]:
        """Columns that have been read, and in which some value stood without quotes."""
        ...


@runtime_checkable
class Delimited(Protocol):
    """A reader of texts between delimiters."""

    @property
    def delimiters(self) -> frozenset[str]:
        """Those of its files."""
        ...


def refuse_twins(reading: Reading, where: str, names: Iterable[str], used: Iterable[str]) -> None:
    """Raises InvalidDataError for a used column that SQL cannot tell from another."""
    wanted = {name.casefold() for name in used}
    seen: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if folded in seen and folded in wanted:
            both = f"{seen[folded]!r} twice" if seen[folded] == name else f"{seen[folded]!r} and {name!r}"
            raise InvalidDataError(
                f"{reading.field}: {where} names {both}, which SQL cannot tell apart; rename one of them there"
            )
        seen.setdefault(folded, name)


def without_twins(names: Iterable[str]) -> list[str]:
    """The names, of those that differ in case alone the first."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.casefold(), name)
    return list(seen.values())

"""Runs the file's query over its sources, of which only what the query reads is brought in.

The query is first planned over tables without rows, whose types the first rows of each source show. The plan says which
columns it reads; those alone are read, and the tables offer the others as missing, so that the query means the same.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb

from capstan.data.agreement import Agreement
from capstan.data.comparisons import compared_as_numbers
from capstan.data.lineage import Place, Uses, settle
from capstan.data.number_cells import MOSTLY, OddCells, cells_of_codes, changing_cells, odd_numbers
from capstan.data.other_engines import EngineName, run_elsewhere
from capstan.data.sources import Reader, Reading, open_source
from capstan.data.sources.annotated import AnnotatedReader
from capstan.data.sources.cells import first_cells
from capstan.data.sources.reading import Quoted
from capstan.data.sql_errors import in_words, is_no_space
from capstan.data.text_types import AS_WRITTEN, FoundType, quote, value_as
from capstan.data.usage import plain_plans, used_columns
from capstan.errors import DiskFullError, InvalidDataError

_LOG = logging.getLogger(__name__)
_STATED = {"Text": AS_WRITTEN, "Number": "DOUBLE", "Boolean": "BOOLEAN", "Time": "TIMESTAMPTZ"}


class SourceTables:
    """The tables that a query can name; methods raise InvalidDataError that names the source or the query."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, readings: Sequence[Reading]) -> None:
        """Open every source and create its table without rows."""
        self._connection = connection
        self._readings = {reading.source.name: reading for reading in readings}
        self._readers: dict[str, Reader] = {}
        self._loaded: dict[str, list[str]] = {}
        self._types: dict[str, dict[str, str]] = {}
        """Table -> column -> SQL type as far as it is known."""
        for name, reading in self._readings.items():
            with _told(reading.field), plain_plans(connection):
                self._readers[name] = open_source(reading)
                self._types[name] = _with_stated(reading, self._readers[name].columns)
            self._outline(name)

    @property
    def columns(self) -> set[str]:
        """Names of the columns of all sources."""
        return {column for types in self._types.values() for column in types}

    def columns_of(self, query: str) -> list[str] | None:
        """The columns that the query gives; None if only the rows can say, because of their types."""
        try:
            statements = self._connection.extract_statements(query)
        except duckdb.Error as error:
            raise self._wrong_query(error) from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise InvalidDataError("data.query: must be one select statement")
        found = self._bound(query)
        if found is None and not self._loaded:
            self._guess_types(query)
            found = self._bound(query)
        return found

    def require_distinct(self, columns: Sequence[str]) -> None:
        """Raises InvalidDataError if a source has one of the columns in two spellings."""
        for reader in self._readers.values():
            reader.require_distinct(columns)

    def read(self, query: str, written: str | None, uses: Uses) -> None:
        """Bring in the rows that were known, of the columns that the query reads.

        `written` is the file's own query, None for all columns of the only source. What could change as a number stays
        text where `uses` needs it so.
        """
        try:
            used = used_columns(self._connection, _bare(query), self._types)
        except duckdb.Error:
            # The types of the first rows may be wrong; those of all rows will decide.
            used = {name: list(types) for name, types in self._types.items()}
        unsettled: dict[str, list[FoundType]] = {}
        for name, columns in used.items():
            with _told(self._readings[name].field), plain_plans(self._connection):
                self._readers[name].require_distinct(columns)
                unsettled[name] = self._readers[name].read(columns)
        with plain_plans(self._connection):
            undecided = self._settle(written, unsettled, uses)
            self._warn(query, used, undecided)
        for name, columns in used.items():
            with _told(self._readings[name].field), plain_plans(self._connection):
                self._offer(name, columns)

    def run(
        self,
        query: str,
        columns: Sequence[str],
        target: str,
        engine: EngineName = "DuckDB",
        zone: str = "UTC",
    ) -> None:
        """Create the table `target` with these columns of the query; another engine than DuckDB knows the `zone`."""
        items = ", ".join(quote(column) for column in columns)
        try:
            if engine != "DuckDB":
                read = list(self._loaded)
                run_elsewhere(self._connection, engine, zone, read, _bare(query), columns, target)
                return
            self._connection.execute(f"create temp table {target} as select {items} from ({_bare(query)})")
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            if is_no_space(error):
                raise DiskFullError(
                    f"data.query: no room left for temporary files: {in_words(error)}"
                ) from error
            raise self._wrong_query(self._plain(query, error)) from error

    @property
    def read_types(self) -> dict[str, dict[str, str]]:
        """Table -> column that has been read -> its SQL type, as all rows and the uses of the column settled it."""
        return {
            name: {column: self._types[name][column] for column in columns if column in self._types[name]}
            for name, columns in self._loaded.items()
        }

    @property
    def agreements(self) -> list[Agreement]:
        """How far annotators agree, of each source of annotations that has been read."""
        readers = [self._readers[name] for name in self._loaded]
        return [one.told for one in readers if isinstance(one, AnnotatedReader) and one.told is not None]

    def was_unquoted(self, column: str) -> bool:
        """Whether some value stood without quotes in a source that has the column and has been read."""
        readers = [self._readers[name] for name, columns in self._loaded.items() if column in columns]
        return any(isinstance(reader, Quoted) and column in reader.unquoted for reader in readers)

    def odd_cells(self, column: str, *, least: float = MOSTLY) -> list[OddCells]:
        """The cells that make the column text, of each source that has it and has been read.

        A column with a smaller share of numbers than `least` counts as one of texts.
        """
        found = []
        for name, columns in self._loaded.items():
            if column in columns:
                cells = odd_numbers(
                    self._connection, self._readings[name], self._readers[name], column, least=least
                )
                found += [cells] if cells is not None else []
        return found

    def first_cells(self, column: str, odd: Callable[[str], str]) -> list[str]:
        """The first cells for whose text `odd` holds, of each source that has the column and has been read."""
        return [
            cell
            for name, columns in self._loaded.items()
            if column in columns
            for cell in first_cells(self._readings[name], self._readers[name], column, odd)
        ]

    def _outline(self, name: str) -> None:
        struct = ", ".join(f"{quote(column)} {kind}" for column, kind in self._types[name].items())
        self._connection.execute(f"create or replace temp table {quote(name)} ({struct})")

    def _bound(self, query: str) -> list[str] | None:
        try:
            return list(self._connection.sql(f"from ({_bare(query)})").columns)
        except duckdb.CatalogException as error:
            raise self._wrong_query(self._plain(query, error)) from error
        except duckdb.Error as error:
            if "Referenced " in str(error):
                raise self._wrong_query(self._plain(query, error)) from error
            return None

    def _guess_types(self, query: str) -> None:
        """Give the columns that the query mentions the types that the first rows show."""
        mentioned = {word.casefold() for word in re.findall(r"\w+", query)}
        for name, types in self._types.items():
            columns = [column for column in types if set(re.findall(r"\w+", column.casefold())) <= mentioned]
            with _told(self._readings[name].field), plain_plans(self._connection):
                types.update(self._readers[name].first_types(columns) if columns else {})
            self._outline(name)

    def _settle(
        self, written: str | None, unsettled: Mapping[str, Sequence[FoundType]], uses: Uses
    ) -> Mapping[Place, str]:
        """Give all columns that were read their types; gives those of which nothing says what they hold."""
        for name in unsettled:
            found = self._connection.sql(f"from {self._readings[name].rows}")
            types = zip(found.columns, map(str, found.types), strict=True)
            self._types[name] |= {column: kind for column, kind in types if column in self._types[name]}
        settled = settle(written, self._types, unsettled, uses)
        for (table, column), kind in settled.kinds.items():
            if kind != AS_WRITTEN:
                self._connection.execute(
                    f"alter table {self._readings[table].rows} alter {quote(column)} type {kind} "
                    f"using {value_as(column, kind)}"
                )
                self._types[table][column] = kind
        return settled.undecided

    def _warn(self, query: str, used: Mapping[str, Sequence[str]], undecided: Mapping[Place, str]) -> None:
        """Tell of texts that look like numbers and of which neither the file nor the query says what they are."""
        told: dict[Place, tuple[tuple[str, ...], str]] = {}
        for (table, column), use in undecided.items():
            reading, reader = self._readings[table], self._readers[table]
            told[table, column] = changing_cells(reading, reader, column), use
        for (table, column), whole in compared_as_numbers(_bare(query), self._types).items():
            if column not in used.get(table, ()):
                continue
            reading, reader = self._readings[table], self._readers[table]
            if cells := cells_of_codes(self._connection, reading, reader, column, whole=whole):
                use = "compares it with a number, so that all texts of one number, such as 007 and 7, are one"
                told[table, column] = cells, use
        for (table, column), (cells, use) in told.items():
            _LOG.warning(
                "data.query: column %r of %s holds text that would change as a number (%s), and the query %s; say what "
                "it is under data.sources: {name: %s, types: [{column: %s, type: Text}]}, or Number, alike in each "
                "source that has it, or cast it in the query",
                column,
                table,
                "; ".join(cells),
                use,
                table,
                column,
            )

    def _offer(self, name: str, columns: Sequence[str]) -> None:
        rows, types = self._readings[name].rows, self._types[name]
        self._loaded[name] = list(columns)
        self._connection.execute(f"drop table {quote(name)}")
        if len(columns) == len(types):
            self._connection.execute(f"alter table {rows} rename to {quote(name)}")
            self._connection.execute(f"create temp view {rows} as from {quote(name)}")
            return
        items = ", ".join(
            quote(column) if column in columns else f"cast(null as {kind}) as {quote(column)}"
            for column, kind in types.items()
        )
        self._connection.execute(f"create temp view {quote(name)} as select {items} from {rows}")

    def _plain(self, query: str, error: duckdb.Error) -> duckdb.Error:
        """The error of the query as it was written, where it has one of its own."""
        try:
            self._connection.execute(f"explain {_bare(query)}")
        except duckdb.Error as plain:
            return plain
        return error

    def _wrong_query(self, error: duckdb.Error) -> InvalidDataError:
        text = f"data.query: {in_words(error)}\nThe tables are {', '.join(self._types)}."
        mentioned = set(re.findall(r"\w+", str(error)))
        for column in sorted({column for columns in self._loaded.values() for column in columns}):
            if mentioned & set(re.findall(r"\w+", column)):
                text += "".join(f"\nThe {cells}." for cells in self.odd_cells(column))
        return InvalidDataError(text)


def _with_stated(reading: Reading, types: Mapping[str, str]) -> dict[str, str]:
    found = dict(types)
    for one in reading.source.types:
        if one.column not in found:
            raise InvalidDataError(
                f"{reading.field}.types: there is no column {one.column!r}; the columns are {', '.join(found)}"
            )
        found[one.column] = _STATED[one.type]
    return found


def _bare(query: str) -> str:
    # The line break ends a comment at the end of the query.
    return query.strip().rstrip(";") + "\n"


@contextmanager
def _told(field: str) -> Iterator[None]:
    """DuckDB's errors as Capstan's, with the field whose reading failed."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if is_no_space(error):
            raise DiskFullError(f"{field}: no room left for temporary files: {in_words(error)}") from error
        raise InvalidDataError(f"{field}: cannot be read: {in_words(error)}") from error
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise InvalidDataError(f"{field}: cannot be read: {error}") from error

"""CSV files as a source.

Columns are read by their place, so that a header may hold what SQL cannot, and only those that are used.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import duckdb

from capstan.data.moments import TEXT
from capstan.data.sources.csv_complaints import complaint, first_reject, line_of_record
from capstan.data.sources.csv_header import LF, CsvFile, read_header, with_plain_line_ends
from capstan.data.sources.files import copying, own_folder, sql_file
from capstan.data.sources.known_rows import copy_known_rows, numbered_texts, require_time_column
from capstan.data.sources.object_storage import local_files
from capstan.data.sources.plain_text import plain_text
from capstan.data.sources.reading import SAMPLE, Reading, refuse_twins, without_twins
from capstan.data.sources.untyped import replace_typed, types_of_texts, untyped_table
from capstan.data.text_types import FoundType, literal, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import CsvSource

_SUFFIXES = (".csv", ".csv.gz")
_LONGEST_LINE = 64 * 2**20
_LONG_LINES = f", max_line_size = {_LONGEST_LINE}, buffer_size = {_LONGEST_LINE}"
_TOO_LONG = "Maximum line size of"
_NO_STATE = "invalid state"
"""DuckDB's words where some lines of a file end in CR LF and some in LF."""


class CsvReader:
    """Reads a file, a folder or a pattern of CSV files; every column of text gets the type that all its values have."""

    def __init__(self, reading: Reading, settings: CsvSource) -> None:
        self._reading = reading
        self._missing = settings.missing
        self._files = [
            read_header(reading, settings, plain_text(reading, settings, file, number))
            for number, file in enumerate(local_files(reading, settings, _SUFFIXES))
        ]
        self._columns = without_twins(name for file in self._files for name in file.names)
        self._options = ""
        self._copies: dict[str, str] = {}
        """File -> its copy with line ends of one kind."""
        require_time_column(reading, self._columns)

    @property
    def columns(self) -> Mapping[str, str]:
        """All text as yet."""
        return dict.fromkeys(self._columns, "VARCHAR")

    @property
    def delimiters(self) -> frozenset[str]:
        """Each file has one."""
        return frozenset(file.delimiter for file in self._files)

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """Guessed from the first rows."""
        connection, untyped = self._reading.connection, untyped_table(self._reading)
        self._attempt(
            lambda: connection.execute(
                f"create or replace temp table {untyped} as {self._relation(columns)} limit {SAMPLE}"
            )
        )
        return types_of_texts(self._reading, dict.fromkeys(columns))

    def require_distinct(self, columns: Sequence[str]) -> None:
        """By the names in each file."""
        for file in self._files:
            refuse_twins(self._reading, f"the first line of {file.shown}", file.names, columns)

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """Only these columns leave the files; rows are known by the text of the time column."""
        kept = [name for name in self._reading.with_time(columns) if name in self._columns]
        types = dict.fromkeys(kept, TEXT)
        untyped = untyped_table(self._reading)
        self._attempt(lambda: copy_known_rows(self._reading, self, self._relation(kept), types, untyped))
        return replace_typed(
            self._reading, self, dict.fromkeys(name for name in columns if name in self._columns)
        )

    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        """Rows are numbered as records: a record may take several lines."""
        names = self._reading.with_time([column])
        files = {
            file.path: f"select {self._items(file, names)} from {self._table(file)}" for file in self._files
        }
        return numbered_texts(self._reading, column, files, undated=undated)

    def place(self, file: str, number: int) -> str:
        """The line on which the record begins."""
        found = next(each for each in self._files if each.path == file)
        return f"{found.shown}, line {line_of_record(found, number)}"

    def _relation(self, columns: Sequence[str]) -> str:
        return " union all ".join(
            f"select {self._items(file, columns)} from {self._table(file)}" for file in self._files
        )

    def _items(self, file: CsvFile, columns: Sequence[str]) -> str:
        places = {name.casefold(): index for index, name in reversed(list(enumerate(file.header)))}
        missing = ", ".join(literal(text) for text in ("", *self._missing))
        items = [
            f"case when {cell} in ({missing}) then null else {cell} end as {quote(name)}"
            if (cell := f"c{places.get(name.casefold())}") and name.casefold() in places
            else f"cast(null as varchar) as {quote(name)}"
            for name in columns
        ]
        return ", ".join(items) or "true as present"

    def _table(self, file: CsvFile) -> str:
        struct = ", ".join(f"c{index}: 'VARCHAR'" for index in range(len(file.header)))
        copied = file.path in self._copies
        line_end = f", new_line = '{LF if copied else file.line_end}'" if file.line_end else ""
        return (
            f"read_csv({sql_file(self._copies.get(file.path, file.path))}, columns = {{{struct}}}, header = true, "
            f"auto_detect = false, delim = {literal(file.delimiter)}, quote = {literal(file.quote)}, "
            f"escape = {literal(file.quote)}, "
            f"compression = {literal('gzip' if file.packed and not copied else 'none')}{line_end}{self._options})"
        )

    def _attempt(self, work: Callable[[], object]) -> None:
        """Do the work; where DuckDB stops, look for the way around it or for the line that is wrong."""
        try:
            work()
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            if self._found_way_around(str(error)):
                self._attempt(work)
                return
            connection = self._reading.connection
            for file in self._files:
                if found := first_reject(connection, self._table(file), len(file.header)):
                    raise InvalidDataError(f"{self._reading.field}: {complaint(file, found)}") from error
            raise

    def _found_way_around(self, message: str) -> bool:
        if _TOO_LONG in message and not self._options:
            self._options = _LONG_LINES
            return True
        if _NO_STATE in message and not self._copies:
            for index, file in enumerate(self._files):
                copy = own_folder(self._reading) / f"{self._reading.source.name}-{index}.csv"
                with copying(self._reading, file.shown):
                    with_plain_line_ends(file, copy)
                self._copies[file.path] = str(copy)
            return True
        return False

"""Parquet files as a source."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from capstan.data.moments import AWARE, column_types
from capstan.data.sources.files import files_of, sql_list
from capstan.data.sources.known_rows import copy_known_rows, known
from capstan.data.sources.object_storage import storage_of
from capstan.data.sources.reading import Reading, refuse_twins
from capstan.data.sources.untyped import state_types
from capstan.data.text_types import FoundType, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import ParquetSource

_SUFFIXES = (".parquet",)
_PLAIN = {
    **dict.fromkeys(AWARE, "timestamptz"),
    **dict.fromkeys(("timestamp_s", "timestamp_ms", "timestamp_ns"), "timestamp"),
    **dict.fromkeys(("enum", "uuid"), "varchar"),
}
"""Id of a type -> the type that SQL and the rest of the house know best; the others stay as they are."""


class ParquetReader:
    """Reads a file, a folder or a pattern of Parquet files by the types that they state."""

    def __init__(self, reading: Reading, settings: ParquetSource) -> None:
        self._reading = reading
        self._files = self._files_of(settings)
        self._names: dict[str, list[str]] = {}
        for file in self._files:
            try:
                with self._told(), self._opened(file) as opened:
                    self._names[file] = opened.schema_arrow.names
            except (pa.ArrowException, OSError) as error:
                raise self._broken(file, error) from error
        with self._told():
            self._types = column_types(reading.connection, self._relation("*"))

    @property
    def columns(self) -> Mapping[str, str]:
        """As the files state them."""
        found = self._reading.connection.sql(self._relation(self._items(list(self._types))))
        return {name: str(kind) for name, kind in zip(found.columns, found.types, strict=True)}

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """As the files state them."""
        known = self.columns
        return {name: known[name] for name in columns}

    def require_distinct(self, columns: Sequence[str]) -> None:
        """By the names in each file."""
        for file, names in self._names.items():
            refuse_twins(self._reading, self._reading.shown(file), names, columns)

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """Only these columns are taken from the files."""
        kept = [name for name in self._reading.with_time(columns) if name in self._types]
        relation = self._relation(self._items(kept) if kept else "true as present")
        try:
            with self._told():
                types = column_types(self._reading.connection, relation)
                copy_known_rows(self._reading, self, relation, types, self._reading.rows)
        except duckdb.IOException as error:
            for file in self._files:
                self._require_whole(file)
            raise error
        return state_types(self._reading, self, columns)

    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        """Rows are numbered in the order in which they stand in a file."""
        names = self._reading.with_time([column])
        relation = (
            f"select {self._items(names)}, filename as in_file, file_row_number + 1 as row_number from "
            f"read_parquet({sql_list(self._files)}, union_by_name = true, filename = true, file_row_number = true)"
        )
        time_column = self._reading.source.time_column
        chosen = (
            known(self._reading, relation, self._types[time_column])
            if time_column and not undated
            else relation
        )
        return f"select in_file, row_number, cast({quote(column)} as varchar) as value from ({chosen})"

    def place(self, file: str, number: int) -> str:
        """Rows of Parquet have no lines."""
        return f"{self._reading.shown(file)}, row {number}"

    def _items(self, columns: Sequence[str]) -> str:
        return ", ".join(
            f"cast({quote(name)} as {_PLAIN[self._types[name]]}) as {quote(name)}"
            if self._types[name] in _PLAIN
            else quote(name)
            for name in columns
        )

    def _relation(self, items: str) -> str:
        return f"select {items} from read_parquet({sql_list(self._files)}, union_by_name = true)"

    def _require_whole(self, file: str) -> None:
        try:
            with self._told(), self._opened(file) as opened:
                for batch in opened.iter_batches():
                    del batch
        except (pa.ArrowException, OSError) as error:
            raise self._broken(file, error) from error

    def _files_of(self, settings: ParquetSource) -> list[str]:
        self._storage = storage_of(self._reading, settings)
        if self._storage is None:
            return files_of(self._reading, settings.path, _SUFFIXES)
        self._storage.offer()
        return self._storage.files(_SUFFIXES)

    def _told(self) -> AbstractContextManager[None]:
        return nullcontext() if self._storage is None else self._storage.told()

    def _opened(self, file: str) -> pq.ParquetFile:
        if self._storage is None:
            return pq.ParquetFile(file)
        return self._storage.opened_parquet(file)

    def _broken(self, file: str, error: Exception) -> InvalidDataError:
        return InvalidDataError(
            f"{self._reading.field}: {self._reading.shown(file)} is not a whole Parquet file "
            f"({str(error).splitlines()[0]}); perhaps it was cut off while it was written: write it again"
        )

"""Files with one JSON object a line as a source."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping, Sequence

import duckdb

from capstan.data.moments import TEXT, instant, moment
from capstan.data.sources.files import is_gzip, opened, sql_file
from capstan.data.sources.json_forms import json_of, unquoted, warn_of_mixed, write_alike
from capstan.data.sources.known_rows import (
    copy_known_rows,
    numbered_texts,
    require_moments,
    require_time_column,
)
from capstan.data.sources.object_storage import local_files
from capstan.data.sources.reading import SAMPLE, Reading, refuse_twins, without_twins
from capstan.data.sources.untyped import replace_typed, types_of_texts, untyped_table
from capstan.data.text_types import MOMENTS, NUMBERS, FoundType, literal, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import JsonLinesSource

_WRITTEN: dict[str, tuple[str, ...]] = {
    "VARCHAR": MOMENTS,
    "BOOLEAN": ("BOOLEAN",),
    **dict.fromkeys(("BIGINT", "UBIGINT", "DOUBLE"), NUMBERS),
}
"""JSON type -> types that its values may have: what was quoted is text, even if it looks like a number."""
_SHOWN = 80


class JsonLinesReader:
    """Reads a file, a folder or a pattern of JSON lines; what was quoted in JSON stays text."""

    def __init__(self, reading: Reading, settings: JsonLinesSource) -> None:
        self._reading = reading
        files = local_files(reading, settings, (".jsonl", ".jsonl.gz"))
        self._packed = {file: is_gzip(reading, file) for file in files}
        self._unquoted: set[str] = set()
        self._spelt = self._known_keys()
        self._keys = without_twins(key for keys in self._spelt.values() for key in keys)
        time_column = reading.source.time_column
        if not self._keys and time_column is None:
            raise InvalidDataError(
                f"{reading.field}: {reading.shown(files[0])} holds no JSON object; write one a line"
            )
        if time_column is not None and time_column not in self._keys:
            if self._keys or reading.as_of is None:
                require_time_column(reading, self._keys)
            assert reading.as_of is not None
            dated = f"select value as {quote(time_column)} from ({self.numbered(time_column, undated=True)})"
            require_moments(reading, self, dated, instant(quote(time_column), TEXT, reading.zone))
            raise InvalidDataError(
                f"{reading.field}: no row has a {time_column!r} up to {reading.as_of.isoformat()}"
            )

    @property
    def columns(self) -> Mapping[str, str]:
        """All text as yet."""
        return dict.fromkeys(self._keys, "VARCHAR")

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """Guessed from the first rows."""
        untyped = untyped_table(self._reading)
        self._reading.connection.execute(
            f"create or replace temp table {untyped} as {self._relation(columns)} limit {SAMPLE}"
        )
        return types_of_texts(self._reading, self._allowed(untyped, columns))

    def require_distinct(self, columns: Sequence[str]) -> None:
        """By the names in each file."""
        for file, keys in self._spelt.items():
            refuse_twins(self._reading, self._reading.shown(file), keys, columns)

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """Only the values of these keys are kept."""
        reading = self._reading
        kept = [key for key in reading.with_time(columns) if key in self._keys]
        untyped = untyped_table(reading)
        types = dict.fromkeys([*kept, *map(_kind_column, kept)], TEXT)
        copy_known_rows(reading, self, self._relation(kept), types, untyped)
        wanted = [key for key in columns if key in self._keys]
        stated = {one.column: one.type for one in reading.source.types}
        allowed = self._allowed(untyped, wanted)
        for key, kinds in self._kinds(untyped, wanted).items():
            if kinds & {"OBJECT", "ARRAY"}:
                raise InvalidDataError(
                    f"{reading.field}: column {key!r} is nested; write objects with plain values only"
                )
            if unquoted(kinds):
                self._unquoted.add(key)
                if allowed[key] == () or stated.get(key) == "Text":
                    write_alike(reading, untyped, key, _kind_column(key))
                if key not in stated:
                    warn_of_mixed(reading, self, key, kinds, self._objects(key))
        return replace_typed(reading, self, allowed)

    @property
    def unquoted(self) -> frozenset[str]:
        """Columns in which numbers or booleans were read."""
        return frozenset(self._unquoted)

    def _objects(self, key: str) -> dict[str, str]:
        """File -> SQL of the column as JSON, and of the time column as text."""
        names = self._reading.with_time([key])
        items = f"{_texts(names)}, {quote(key)} as {quote(json_of(key))}"
        return {file: f"select {items} from {self._table(file, names)}" for file in self._packed}

    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        """Rows are numbered as objects."""
        names = self._reading.with_time([column])
        files = {file: f"select {_texts(names)} from {self._table(file, names)}" for file in self._packed}
        return numbered_texts(self._reading, column, files, undated=undated)

    def place(self, file: str, number: int) -> str:
        """The object's line."""
        with opened(file, self._packed[file]) as stream:
            filled = (line for line, text in enumerate(stream, start=1) if text.strip())
            return f"{self._reading.shown(file)}, line {next(itertools.islice(filled, number - 1, None), 0)}"

    def _known_keys(self) -> dict[str, list[str]]:
        """File -> keys of its known objects."""
        found: dict[str, list[str]] = {}
        time_column, as_of = self._reading.source.time_column, self._reading.as_of
        where = ""
        if time_column is not None and as_of is not None:
            at = instant(f"(json ->> {literal(_pointer(time_column))})", TEXT, self._reading.zone)
            where = f" where {at} <= {moment(as_of)} or json_type(json) <> 'OBJECT'"
        for file, packed in self._packed.items():
            objects = (
                f"read_json_objects({sql_file(file)}, format = 'newline_delimited', {_compression(packed)})"
            )
            try:
                rows = self._reading.connection.execute(
                    f"select distinct json_type(json) = 'OBJECT', json_keys(json) from {objects}{where}"
                ).fetchall()
            except duckdb.InvalidInputException as error:
                raise self._malformed(file) from error
            if not all(is_object for is_object, _ in rows):
                raise self._malformed(file)
            found[file] = sorted({key for _, keys in rows for key in keys})
        return found

    def _malformed(self, file: str) -> InvalidDataError:
        where = f"{self._reading.field}: {self._reading.shown(file)}"
        try:
            with opened(file, self._packed[file]) as stream:
                for number, raw in enumerate(stream, start=1):
                    text = raw.decode("utf-8-sig", "backslashreplace").strip()
                    problem = _problem(raw, text)
                    if problem is not None:
                        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
                        return InvalidDataError(
                            f"{where}, line {number}: {problem} ({shown}); write one JSON object a line"
                        )
        except (OSError, EOFError, zlib.error) as error:
            return InvalidDataError(
                f"{where} cannot be unpacked ({error}); perhaps it was cut off: write it again"
            )
        return InvalidDataError(f"{where} cannot be read as JSON; write one JSON object a line")

    def _relation(self, keys: Sequence[str]) -> str:
        kinds = [f"json_type({quote(key)}) as {quote(_kind_column(key))}" for key in keys]
        items = ", ".join([_texts(keys), *kinds]) if keys else "true as present"
        return " union all ".join(f"select {items} from {self._table(file, keys)}" for file in self._packed)

    def _table(self, file: str, keys: Sequence[str]) -> str:
        struct = ", ".join(f"{literal(key)}: 'JSON'" for key in keys) or "'no key': 'JSON'"
        return (
            f"read_json({sql_file(file)}, format = 'newline_delimited', columns = {{{struct}}}, "
            f"{_compression(self._packed[file])})"
        )

    def _kinds(self, untyped: str, keys: Sequence[str]) -> dict[str, set[str]]:
        """Key -> JSON types of its values."""
        found: dict[str, set[str]] = {}
        for key in keys:
            rows = self._reading.connection.execute(
                f"select distinct {quote(_kind_column(key))} from {untyped}"
            )
            found[key] = {kind for (kind,) in rows.fetchall() if kind not in (None, "NULL")}
        return found

    def _allowed(self, untyped: str, keys: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
        allowed: dict[str, tuple[str, ...] | None] = {}
        for key, kinds in self._kinds(untyped, keys).items():
            possible = {_WRITTEN.get(kind, ()) for kind in kinds}
            allowed[key] = possible.pop() if len(possible) == 1 else () if possible else None
        return allowed


def _texts(keys: Sequence[str]) -> str:
    return ", ".join(f"{quote(key)} ->> '$' as {quote(key)}" for key in keys)


def _kind_column(key: str) -> str:
    return f"kind of {key}"


def _compression(packed: bool) -> str:
    return f"compression = {literal('gzip' if packed else 'none')}"


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _problem(raw: bytes, text: str) -> str | None:
    try:
        raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "is not UTF-8 text"
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {getattr(error, 'msg', error)}"
    return None if isinstance(value, dict) else "is no JSON object"

"""Files with one JSON object a line as a source."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb

from capstan.data.sources.files import files_of, sql_list
from capstan.data.sources.known_rows import instant, moment
from capstan.data.sources.untyped import replace_typed, untyped_table
from capstan.data.text_types import literal, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import JsonLinesSource, Source

_INSTANT_TYPES = ("DATE", "TIMESTAMPTZ")


def load_json_lines(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    settings: JsonLinesSource,
    *,
    as_of: datetime | None,
    base_dir: Path,
) -> None:
    """Create the table `source.name` of all rows known by `as_of`."""
    files = files_of(source, settings.path, base_dir, "jsonl")
    lines = f"select json from read_json_objects({sql_list(files)}, format = 'newline_delimited')"
    time_column = source.time_column
    if time_column is not None and as_of is not None:
        at = instant(f"(json ->> {literal(_pointer(time_column))})", "VARCHAR")
        kept = f"{lines} where {at} <= {moment(as_of)}"
    else:
        kept = lines
    connection.execute(f"create or replace temp table _json as {kept}")
    found = connection.execute(
        "select key, list(distinct kind) from (select key, json_type(json, '$.' || '\"' || key || '\"') as kind "
        "from (select json, unnest(json_keys(json)) as key from _json)) group by key order by key"
    ).fetchall()
    if not found and time_column is None:
        raise InvalidDataError(
            f"data.sources.{source.name}: {files[0]} holds no JSON object; write one a line"
        )
    kinds = {key: {kind for kind in kinds if kind != "NULL"} for key, kinds in found}
    if time_column is not None and time_column not in kinds:
        raise InvalidDataError(_no_rows(source, time_column, list(kinds), as_of))
    allowed: dict[str, tuple[str, ...] | None] = {}
    for key, seen in kinds.items():
        if seen & {"OBJECT", "ARRAY"}:
            raise InvalidDataError(
                f"data.sources.{source.name}: column {key!r} is nested; write objects with plain values only"
            )
        # What was quoted in JSON is text, even if it looks like a number.
        allowed[key] = _INSTANT_TYPES if "VARCHAR" in seen else None
    untyped = untyped_table(source)
    items = ", ".join(f"json ->> {literal(_pointer(key))} as {quote(key)}" for key in kinds)
    connection.execute(f"create or replace temp table {untyped} as select {items} from _json")
    replace_typed(connection, source, untyped, allowed)
    connection.execute("drop table _json")


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _no_rows(source: Source, time_column: str, columns: list[str], as_of: datetime | None) -> str:
    if columns or as_of is None:
        return (
            f"data.sources.{source.name}.timeColumn: there is no column {time_column!r}; "
            f"the columns are {', '.join(columns) or 'none'}"
        )
    return f"data.sources.{source.name}: no row has a {time_column!r} up to {as_of.isoformat()}"

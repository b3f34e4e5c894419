"""Brings each source of the file into DuckDB, without any row from after `asOf`.

A source is copied before the query runs, so that not even the query's plan can depend on rows that were not yet there.
"""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import csv
import glob
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from capstan.data.database import read_database
from capstan.data.text_types import MISSING, literal, quote, typed
from capstan.errors import InvalidDataError
from capstan.spec.data import Source

_LOG = logging.getLogger(__name__)
_DELIMITERS = ",;\t|"
_INSTANT_TYPES = ("DATE", "TIMESTAMPTZ")


def load_source(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    as_of: datetime | None,
    base_dir: Path,
    secrets: Path,
) -> None:
    """Create the table `source.name` of all rows known by `as_of`; raises InvalidDataError.

    The connection's time zone must be UTC.
    """
    try:
        if source.parquet is not None:
            _load_parquet(connection, source, _files(source, source.parquet.path, base_dir, "parquet"), as_of)
        elif source.csv is not None:
            _load_csv(connection, source, _files(source, source.csv.path, base_dir, "csv"), as_of)
        elif source.json_lines is not None:
            _load_json(connection, source, _files(source, source.json_lines.path, base_dir, "jsonl"), as_of)
        elif source.database is not None:
            table = read_database(source.name, source.database, base_dir=base_dir, secrets=secrets)
            connection.register("_database", table)
            _filter(connection, source, "select * from _database", list(table.column_names), as_of)
            connection.unregister("_database")
    except (duckdb.Error, OSError) as error:
        raise InvalidDataError(f"data.sources.{source.name}: cannot be read: {error}") from error


def _files(source: Source, path: str, base_dir: Path, suffix: str) -> list[str]:
    """The files that `path` means, in a fixed order."""
    wanted = base_dir / path
    if wanted.is_dir():
        found = sorted(str(file) for file in wanted.rglob(f"*.{suffix}"))
        if not found:
            raise InvalidDataError(
                f"data.sources.{source.name}: the folder {wanted} holds no *.{suffix} file"
            )
        return found
    found = [str(wanted)] if wanted.is_file() else sorted(glob.glob(str(wanted), recursive=True))
    if not found:
        raise InvalidDataError(
            f"data.sources.{source.name}: {wanted} does not exist; write the file there or correct "
            f"data.sources.{source.name}.path (relative paths are relative to the system's file)"
        )
    return found


def _list(files: Sequence[str]) -> str:
    return "[" + ", ".join(literal(file) for file in files) + "]"


def _load_parquet(
    connection: duckdb.DuckDBPyConnection, source: Source, files: list[str], as_of: datetime | None
) -> None:
    relation = f"select * from read_parquet({_list(files)}, union_by_name = true)"
    columns = [row[0] for row in connection.execute(f"describe {relation}").fetchall()]
    _filter(connection, source, relation, columns, as_of)


def _load_csv(
    connection: duckdb.DuckDBPyConnection, source: Source, files: list[str], as_of: datetime | None
) -> None:
    headers = {file: _header(source, file) for file in files}
    parts = []
    columns = list(dict.fromkeys(column for header, _ in headers.values() for column in header))
    for file, (header, delimiter) in headers.items():
        struct = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in header)
        items = ", ".join(
            f"nullif_any({quote(column)}) as {quote(column)}"
            if column in header
            else f"null as {quote(column)}"
            for column in columns
        )
        parts.append(
            f"select {items} from read_csv({literal(file)}, columns = {{{struct}}}, header = true, "
            f"auto_detect = false, delim = {literal(delimiter)}, quote = '\"', escape = '\"')"
        )
    missing = ", ".join(literal(text) for text in MISSING)
    connection.execute(
        f"create or replace temp macro nullif_any(v) as case when trim(v) in ({missing}) then null else v end"
    )
    untyped = _untyped(source)
    _filter(connection, source, " union all ".join(parts), columns, as_of, target=untyped)
    _replace_typed(connection, source, untyped, dict.fromkeys(columns))


def _header(source: Source, file: str) -> tuple[list[str], str]:
    """Column names and delimiter, both from the first line alone."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            first = opened.readline()
    except UnicodeDecodeError as error:
        raise InvalidDataError(
            f"data.sources.{source.name}: {file} is not UTF-8 text ({error.reason}); save it as UTF-8"
        ) from error
    if not first.strip():
        raise InvalidDataError(
            f"data.sources.{source.name}: {file} is empty; its first line must name the columns"
        )
    delimiter = max(_DELIMITERS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        problem = f"names {twice[0]!r} twice" if twice else "has a column without a name"
        raise InvalidDataError(
            f"data.sources.{source.name}: the first line of {file} {problem}; name each column once"
        )
    return header, delimiter


def _load_json(
    connection: duckdb.DuckDBPyConnection, source: Source, files: list[str], as_of: datetime | None
) -> None:
    lines = f"select json from read_json_objects({_list(files)}, format = 'newline_delimited')"
    time_column = source.time_column
    if time_column is not None and as_of is not None:
        instant = _instant(f"(json ->> {literal(_pointer(time_column))})", "VARCHAR")
        kept = f"{lines} where {instant} <= {_moment(as_of)}"
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
    untyped = _untyped(source)
    items = ", ".join(f"json ->> {literal(_pointer(key))} as {quote(key)}" for key in kinds)
    connection.execute(f"create or replace temp table {untyped} as select {items} from _json")
    _replace_typed(connection, source, untyped, allowed)
    connection.execute("drop table _json")


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _untyped(source: Source) -> str:
    return quote(f"_untyped_{source.name}")


def _replace_typed(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    untyped: str,
    columns: dict[str, tuple[str, ...] | None],
) -> None:
    items = typed(connection, untyped, columns)
    connection.execute(
        f"create or replace temp table {quote(source.name)} as select {', '.join(items)} from {untyped}"
    )
    connection.execute(f"drop table {untyped}")


def _filter(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    relation: str,
    columns: list[str],
    as_of: datetime | None,
    target: str | None = None,
) -> None:
    """Copy the relation's rows known by `as_of` to the source's table, or to `target`."""
    target = target or quote(source.name)
    time_column = source.time_column
    if time_column is None:
        connection.execute(f"create or replace temp table {target} as {relation}")
        return
    if time_column not in columns:
        raise InvalidDataError(
            f"data.sources.{source.name}.timeColumn: there is no column {time_column!r}; "
            f"the columns are {', '.join(columns)}"
        )
    kind = connection.execute(f"select typeof({quote(time_column)}) from ({relation}) limit 1").fetchone()
    instant = _instant(quote(time_column), kind[0] if kind else "VARCHAR")
    undated, dated = connection.execute(
        f"select count(*) filter ({instant} is null), count({instant}) from ({relation})"
    ).fetchone() or (0, 0)
    if undated and not dated:
        raise InvalidDataError(
            f"data.sources.{source.name}.timeColumn: no value of {time_column!r} is a moment; "
            "write RFC 3339 such as 2013-02-01T05:00:00Z, or name another column"
        )
    if as_of is None:
        connection.execute(f"create or replace temp table {target} as {relation}")
        return
    if undated:
        # Nobody can say whether such a row was known by then.
        _LOG.warning("%s: %d rows without a readable %s are not read", source.name, undated, time_column)
    connection.execute(
        f"create or replace temp table {target} as select * from ({relation}) where {instant} <= {_moment(as_of)}"
    )


def _instant(column: str, kind: str) -> str:
    """The column as an instant; without an offset it is UTC; null where it can't be read."""
    if kind in ("TIMESTAMP WITH TIME ZONE", "VARCHAR"):
        return f"try_cast({column} as timestamptz)"
    return f"(try_cast({column} as timestamp) at time zone 'UTC')"


def _moment(as_of: datetime) -> str:
    return f"timestamptz {literal(as_of.isoformat())}"


def _no_rows(source: Source, time_column: str, columns: list[str], as_of: datetime | None) -> str:
    if columns or as_of is None:
        return (
            f"data.sources.{source.name}.timeColumn: there is no column {time_column!r}; "
            f"the columns are {', '.join(columns) or 'none'}"
        )
    return f"data.sources.{source.name}: no row has a {time_column!r} up to {as_of.isoformat()}"

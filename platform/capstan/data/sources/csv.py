"""CSV files as a source."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import duckdb

from capstan.data.sources.files import files_of
from capstan.data.sources.known_rows import copy_known_rows
from capstan.data.sources.untyped import replace_typed, untyped_table
from capstan.data.text_types import MISSING, literal, quote
from capstan.errors import InvalidDataError
from capstan.spec.data import CsvSource, Source

_DELIMITERS = ",;\t|"


def load_csv(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    settings: CsvSource,
    *,
    as_of: datetime | None,
    base_dir: Path,
) -> None:
    """Create the table `source.name` of all rows known by `as_of`."""
    files = files_of(source, settings.path, base_dir, "csv")
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
    untyped = untyped_table(source)
    copy_known_rows(connection, source, " union all ".join(parts), columns, as_of, target=untyped)
    replace_typed(connection, source, untyped, dict.fromkeys(columns))


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

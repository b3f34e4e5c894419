"""Where a CSV file is wrong and what to do about it, in words of a person who looks at the file."""

# DuckDB takes no parameters for names; the texts here are made by the reader alone.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from capstan.data.sources.csv_header import CsvFile
from capstan.data.sources.files import opened

_SHOWN = 80
_BLOCK = 2**20


@dataclass(frozen=True)
class Reject:
    """The first line that DuckDB did not take."""

    kind: str
    """DuckDB's name of the mistake."""
    byte: int
    """Where the line begins in the unpacked file, from 1."""
    column: int | None
    """From 1; None where the whole line is meant."""
    text: str


def first_reject(connection: duckdb.DuckDBPyConnection, table: str, width: int) -> Reject | None:
    """The first wrong line of a file; `table` is its call of `read_csv`, `width` the number of its columns."""
    assert table.endswith(")")
    probe = f"{table[:-1]}, store_rejects = true, rejects_limit = 10)"
    # Every column is asked for, because what is not read is not looked at.
    counts = ", ".join(f"count(c{index})" for index in range(width))
    try:
        connection.execute(f"select {counts} from {probe}").fetchall()
        found = connection.execute(
            "select error_type, line_byte_position, column_idx, csv_line from reject_errors "
            "order by line_byte_position limit 1"
        ).fetchone()
    except duckdb.Error:
        return None
    finally:
        connection.execute("drop table if exists reject_errors")
        connection.execute("drop table if exists reject_scans")
    return None if found is None else Reject(found[0], found[1] or 1, found[2], found[3] or "")


def complaint(file: CsvFile, reject: Reject) -> str:
    """`rows.csv, line 3: has 4 values where the header names 3 columns (4,5,6,7); ...`."""
    lines = file.skipped + _lines_before(file, reject.byte)
    text = reject.text.rstrip("\r\n")
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    where = f"{file.shown}, line {lines + 1}"
    index = reject.column - 1 if reject.column else None
    column = file.header[index] if index is not None and index < len(file.header) else None
    quote = "single quote" if file.quote == "'" else "double quote"
    where_column = f"{where}, column {column!r}" if column is not None else where
    match reject.kind:
        case "TOO MANY COLUMNS" if len(file.header) == 1:
            return (
                f"{where}: has more values than the only column that line {file.skipped + 1} names, "
                f"{file.header[0]!r} ({shown}); where the names stand in a later line, say how many come before it, "
                f"such as csv: {{skipLines: {lines}}}"
            )
        case "TOO MANY COLUMNS":
            return (
                f"{where}: has more values than the {len(file.header)} columns that the header names ({shown}); "
                f"put a value that holds {file.delimiter!r} into {quote}s, or correct the line"
            )
        case "MISSING COLUMNS":
            cut = _is_last(file, reject.byte, text)
            hint = (
                "the file ends there, so it may have been cut off: write it again"
                if cut
                else "correct the line"
            )
            return (
                f"{where}: has {reject.column} values where the header names {len(file.header)} columns ({shown}); "
                f"{hint}"
            )
        case "UNQUOTED VALUE":
            return (
                f"{where_column}: a {quote} is not closed where its value ends ({shown}); close it, and write "
                f"a {quote} inside a value twice"
            )
        case "INVALID ENCODING":
            return (
                f"{where_column}: is not UTF-8 text ({shown}); save the file as UTF-8, or name its encoding, such as "
                "csv: {encoding: windows-1252}"
            )
        case "LINE SIZE OVER MAXIMUM":
            return f"{where}: is longer than 64 MiB ({shown}); is a {quote} opened there and never closed?"
        case _:
            return f"{where_column}: cannot be read ({shown}); correct the line"


def line_of_record(file: CsvFile, number: int) -> int:
    """The line, from 1, on which the record begins; the first after the header has the number 1."""
    record, line, inside = -1, file.skipped, False
    with opened(file.path, file.packed) as stream:
        for raw in stream:
            line += 1
            if not inside:
                # Empty lines are skipped, unless they are the empty value of the only column.
                if raw.strip(b"\r\n") or (len(file.header) == 1 and record >= 0):
                    record += 1
                if record == number:
                    return line
            inside ^= raw.count(file.quote.encode()) % 2 == 1
    return line


def _lines_before(file: CsvFile, byte: int) -> int:
    return sum(block.count(b"\n") for block in _blocks(file, byte - 1))


def _is_last(file: CsvFile, byte: int, text: str) -> bool:
    size = sum(len(block) for block in _blocks(file, None))
    return byte - 1 + len(text.encode()) + 2 >= size


def _blocks(file: CsvFile, until: int | None) -> Iterator[bytes]:
    left = until
    with opened(file.path, file.packed) as stream:
        while left is None or left > 0:
            block = stream.read(_BLOCK if left is None else min(_BLOCK, left))
            if not block:
                return
            left = None if left is None else left - len(block)
            yield block

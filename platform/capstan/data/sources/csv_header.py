"""The first line of a CSV file: which columns there are, and what parts them."""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from capstan.data.sources.files import opened
from capstan.data.sources.plain_text import DELIMITERS, PlainText
from capstan.data.sources.reading import Reading
from capstan.errors import InvalidDataError
from capstan.spec.data import CsvSource

LF, CR_LF = r"\n", r"\r\n"
"""Line ends in DuckDB's words."""
_LONGEST = 4 * 2**20
"""Bytes of a header after which a quote in it counts as never closed."""


@dataclass(frozen=True)
class CsvFile:
    """A file and what its header says."""

    path: str
    shown: str
    """The path as a person knows it."""
    packed: bool
    """Whether it is packed with gzip."""
    header: tuple[str, ...]
    """Empty text for a column without a name, which nothing can name."""
    delimiter: str
    line_end: str | None = None
    """What ends its first line, where a name in that line holds a line break; None: DuckDB finds it."""
    quote: str = '"'
    """Stands around a value that holds the delimiter: a double quote, or a single one where each name has one."""
    skipped: int = 0
    """Lines before the header, which are no part of what is read."""

    @property
    def names(self) -> list[str]:
        """The columns that can be named."""
        return [name for name in self.header if name]


def read_header(reading: Reading, settings: CsvSource, text: PlainText) -> CsvFile:
    """Names and delimiter, both from the first record alone where the file does not state them.

    Raises InvalidDataError.
    """
    shown = text.shown
    try:
        with opened(text.path, text.packed) as stream:
            raw = stream.readline(_LONGEST)
            # A quoted name may hold line breaks; a quote inside a name is written twice.
            while raw.count(b'"') % 2 and len(raw) < _LONGEST:
                line = stream.readline(_LONGEST)
                if not line:
                    break
                raw += line
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidDataError(
            f"{reading.field}: {shown} cannot be unpacked ({error}); perhaps it was cut off: write it again"
        ) from error
    try:
        first = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataError(
            f"{reading.field}: {shown} is not UTF-8 text ({error.reason} in its first line, at byte "
            f"{error.start + 1}); save it as UTF-8, or name its encoding, such as csv: {{encoding: windows-1252}}"
        ) from error
    if "\x00" in first:
        raise InvalidDataError(
            f"{reading.field}: {shown} holds zero bytes in its first line, as UTF-16 without a mark does; save it as "
            "UTF-8, or name its encoding, such as csv: {encoding: utf-16-le}"
        )
    if raw.count(b'"') % 2:
        raise InvalidDataError(
            f"{reading.field}: {shown}: a double quote in the first line is never closed; close it, "
            "and write a double quote inside a name twice"
        )
    if not first.strip():
        raise InvalidDataError(f"{reading.field}: {shown} is empty; its first line must name the columns")
    outside = "".join(first.split('"')[::2])
    delimiter = settings.delimiter or text.delimiter or max(DELIMITERS, key=outside.count)
    quote = settings.quote or '"'
    names = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter, quotechar=quote))
    if settings.quote is None and all(
        len(name) > 2 and name[0] == name[-1] == "'" for name in map(str.strip, names)
    ):
        quote = "'"
        names = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter, quotechar=quote))
    header = tuple(name.strip() for name in names)
    if not any(header):
        raise InvalidDataError(f"{reading.field}: the first line of {shown} names no column")
    # DuckDB takes the first line break that it meets for that of the file, and finds no row if it is another one.
    line_end = None
    if any(mark in name for name in names for mark in "\r\n"):
        line_end = CR_LF if raw.endswith(b"\r\n") else LF if raw.endswith(b"\n") else None
    return CsvFile(text.path, shown, text.packed, header, delimiter, line_end, quote, text.skipped)


def with_plain_line_ends(file: CsvFile, copy: Path) -> None:
    """Write the file's text to `copy`, unpacked, with LF at the end of every line."""
    with opened(file.path, file.packed) as stream, copy.open("wb") as written:
        for line in stream:
            written.write(line[:-2] + b"\n" if line.endswith(b"\r\n") else line)

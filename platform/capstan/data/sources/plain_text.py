"""Text of a CSV file as DuckDB reads it: UTF-8 that begins with the header.

Other text is copied into the extraction's own folder first, as UTF-8 and without the lines before the header.
"""

from __future__ import annotations

import codecs
import io
import re
import shutil
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from capstan.data.sources.files import copying, has_gzip_mark, is_gzip, opened, own_folder
from capstan.data.sources.reading import Reading
from capstan.errors import InvalidDataError
from capstan.spec.data import CsvSource

USUAL_ENCODINGS = ("windows-1252", "latin-1")
"""What a file that is no UTF-8 is taken for, the first that its bytes allow."""
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DELIMITER_LINE = re.compile(rb"(?:\xef\xbb\xbf)?sep=(.)\r?\n", re.IGNORECASE)
"""What Excel writes before the header."""
_BLOCK = 2**20
_LOOKED_AT = 30
_LONGEST = 2**16
DELIMITERS = ",;\t|"
"""What may stand between two values without being stated."""


@dataclass(frozen=True)
class PlainText:
    """A file, or the copy that is read in its place."""

    path: str
    shown: str
    """The path as a person knows it."""
    packed: bool
    """Whether it is packed with gzip."""
    skipped: int = 0
    """Lines of the file that stand before the first of the copy."""
    delimiter: str | None = None
    """As a line before the header states it."""


def plain_text(reading: Reading, settings: CsvSource, file: str, number: int) -> PlainText:
    """The file itself where it is plain, else a copy; `number` tells files of a source apart.

    Raises InvalidDataError for bytes that the encoding does not have, and where the file is UTF-8 against its word.
    """
    packed, shown = is_gzip(reading, file), reading.shown(file)
    try:
        with opened(file, packed) as stream:
            first = stream.readline(_LONGEST)
        encoding, skipped, delimiter = settings.encoding, settings.skip_lines, None
        for mark, name in _MARKS.items():
            encoding = encoding or (name if first.startswith(mark) else None)
        if not skipped and (stated := _DELIMITER_LINE.fullmatch(first)):
            skipped, delimiter = 1, stated[1].decode("latin-1")
        if encoding is not None and codecs.lookup(encoding).name == "utf-8":
            encoding = None
        if encoding is None and not skipped:
            return PlainText(file, shown, packed)
        if (
            settings.encoding is not None
            and encoding is not None
            and _is_foreign_utf_8(file, packed, encoding)
        ):
            raise InvalidDataError(
                f"{reading.field}.csv.encoding: {shown} is UTF-8 text, not {settings.encoding}, in which its letters "
                "would be others; drop encoding"
            )
        copy = own_folder(reading) / f"{reading.source.name}-{number}-text.csv"
        with copying(reading, shown):
            _copy(reading, PlainText(file, shown, packed, skipped), encoding or "utf-8", copy)
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidDataError(
            f"{reading.field}: {shown} cannot be unpacked ({error}); perhaps it was cut off: write it again"
        ) from error
    return PlainText(str(copy), shown, False, skipped, delimiter)


def guessed_encoding(file: Path) -> str | None:
    """None for UTF-8 and for what says itself what it is, else the usual encoding that has all its bytes."""
    packed = has_gzip_mark(file)
    with opened(str(file), packed) as stream:
        if any(stream.read(2) == mark for mark in _MARKS):
            return None
    for encoding in ("utf-8", *USUAL_ENCODINGS):
        if _is_encoded(str(file), packed, encoding):
            return None if encoding == "utf-8" else encoding
    return None


def guessed_skip(file: Path, encoding: str | None) -> int:
    """How many lines stand before the header: those without a delimiter, or with a # and more or fewer values."""
    with opened(str(file), has_gzip_mark(file)) as stream:
        text = stream.read(_LONGEST).decode(encoding or "utf-8-sig", errors="replace")
    if "\x00" in text or text.lower().startswith("sep="):
        return 0
    lines = text.splitlines()[:_LOOKED_AT]
    for index, (line, after) in enumerate(pairwise(lines)):
        delimiter = max(DELIMITERS, key=line.count)
        count = line.count(delimiter)
        if count and count == after.count(delimiter):
            return index
        if count and not line.startswith("#"):
            return 0
    return 0


def _is_encoded(file: str, packed: bool, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with opened(file, packed) as stream:
        try:
            while block := stream.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _is_foreign_utf_8(file: str, packed: bool, encoding: str) -> bool:
    """Whether the text has letters beyond ASCII and all are UTF-8, which text of another encoding hardly ever is."""
    if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        return False
    with opened(file, packed) as stream:
        blocks = iter(lambda: stream.read(_BLOCK), b"")
        is_beyond = any(not block.isascii() for block in blocks)
    return is_beyond and _is_encoded(file, packed, "utf-8")


def _copy(reading: Reading, text: PlainText, encoding: str, copy: Path) -> None:
    with opened(text.path, text.packed) as stream, copy.open("w", encoding="utf-8", newline="") as written:
        # A mark at the beginning is no part of the first name.
        name = "utf-8-sig" if encoding == "utf-8" else encoding
        read = io.TextIOWrapper(stream, encoding=name, newline="")
        try:
            for _ in range(text.skipped):
                read.readline()
            shutil.copyfileobj(read, written, _BLOCK)
        except UnicodeError as error:
            line = _first_wrong_line(text, name)
            where = f"{text.shown}, line {line}" if line is not None else text.shown
            field = f"{reading.field}.csv.encoding" if encoding != "utf-8" else reading.field
            raise InvalidDataError(
                f"{field}: {where}: is not {encoding} text ({error}); name the encoding in which it was written, "
                "such as csv: {encoding: windows-1252}"
            ) from error


def _first_wrong_line(text: PlainText, encoding: str) -> int | None:
    if encoding.startswith(("utf-16", "utf-32")):
        return None
    with opened(text.path, text.packed) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return None

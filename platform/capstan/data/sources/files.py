"""Which files a source's path means, and how DuckDB is told of them."""

from __future__ import annotations

import errno
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from capstan.data.sources.reading import FileRead, Reading
from capstan.data.text_types import literal
from capstan.errors import DiskFullError, InvalidDataError
from capstan.spec.presence import PATTERN, is_pattern, pattern_files

_GZIP = b"\x1f\x8b"
_PACKED = {
    b"PK\x03\x04": "a zip file",
    b"\x28\xb5\x2f\xfd": "packed with Zstandard",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
}


def files_of(reading: Reading, path: str, suffixes: Sequence[str]) -> list[str]:
    """The files that `path` means, in a fixed order; of a folder those with one of the suffixes."""
    found = _found(reading, path, suffixes)
    for file in found:
        facts = Path(file).stat()
        reading.files[file] = FileRead(facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))
    return found


def _found(reading: Reading, path: str, suffixes: Sequence[str]) -> list[str]:
    wanted = reading.base_dir / path
    if wanted.is_dir():
        found = sorted(str(file) for suffix in suffixes for file in wanted.rglob(f"*{suffix}"))
        if not found:
            kinds = " or ".join(f"*{suffix}" for suffix in suffixes)
            raise InvalidDataError(f"{reading.field}: the folder {wanted} holds no {kinds} file")
        return found
    if wanted.is_file():
        return [str(wanted)]
    found = []
    if is_pattern(reading.base_dir, path):
        found = [str(file) for file in pattern_files(reading.base_dir, path)]
    if not found:
        raise InvalidDataError(
            f"{reading.field}: {wanted} does not exist; write the file there or correct {reading.field}.path "
            "(relative paths are relative to the system's file)"
        )
    return found


def has_gzip_mark(file: str | Path) -> bool:
    """Whether the file is packed with gzip, by its first bytes."""
    with open(file, "rb") as opened:
        return opened.read(len(_GZIP)) == _GZIP


def own_folder(reading: Reading) -> Path:
    """The extraction's folder, for copies that are read in place of files; it goes with the extraction."""
    found = reading.connection.execute("select current_setting('temp_directory')").fetchone()
    folder = Path(found[0] if found else ".")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def copying(reading: Reading, shown: str) -> Iterator[None]:
    """A full disk while a copy is written to the extraction's folder, as DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"{reading.field}: no room left in {own_folder(reading).parent} for a copy of {shown}; free some space "
            "there, or name another folder in TMPDIR, and run again"
        ) from error


def is_gzip(reading: Reading, file: str) -> bool:
    """Whether the file is packed with gzip, by its first bytes; raises InvalidDataError for other packers."""
    with open(file, "rb") as opened:
        first = opened.read(8)
    for mark, what in _PACKED.items():
        if first.startswith(mark):
            raise InvalidDataError(
                f"{reading.field}: {reading.shown(file)} is {what}; unpack it, or pack it with gzip, "
                "which is read as it is"
            )
    return first.startswith(_GZIP)


def opened(file: str, packed: bool) -> BinaryIO:
    """The file's bytes, unpacked."""
    return cast(BinaryIO, gzip.open(file, "rb")) if packed else open(file, "rb")


def sql_file(file: str) -> str:
    """The file as an SQL text that is no pattern, whatever characters its name has."""
    return literal("".join(f"[{character}]" if character in PATTERN else character for character in file))


def sql_list(files: Sequence[str]) -> str:
    """The files as an SQL list."""
    return "[" + ", ".join(sql_file(file) for file in files) + "]"

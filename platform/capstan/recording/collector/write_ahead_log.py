"""Records that survive the death of the process that took them.

A record is one write(2) of a checksummed frame: after a SIGKILL it is in the file or it is not. A torn tail, which only
a full disk or a power cut can leave, is cut off. With `sync` a record also survives the power cut, for the price of one
fsync each.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from capstan.files import write_error

_FRAME = struct.Struct("<IIII")
_MAGIC = 0x43575031


class LogRecord(NamedTuple):
    """A few words about the body, and the body as it came."""

    meta: bytes
    body: bytes


class WriteAheadLog:
    """Numbered files of records; the highest number is appended to, lower ones wait to be flushed."""

    def __init__(self, directory: Path, *, after: int = 0, sync: bool = False) -> None:
        """Open the directory; numbers continue above `after` and above every file that is there."""
        self._directory = directory
        self._sync = sync
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.number = max([after, *self.numbers()]) + 1
        self.size = 0
        self._handle: int | None = None

    def numbers(self) -> list[int]:
        """Numbers of the files that are there, in order."""
        return sorted(int(path.stem) for path in self._directory.glob("*.wal"))

    def append(self, meta: bytes, body: bytes) -> None:
        """Durable against the death of this process on return; raises DiskFullError with nothing kept."""
        frame = _FRAME.pack(_MAGIC, zlib.crc32(body, zlib.crc32(meta)), len(meta), len(body)) + meta + body
        path = self._path(self.number)
        try:
            if self._handle is None:
                self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            written = 0
            while written < len(frame):
                written += os.write(self._handle, frame[written:] if written else frame)
            if self._sync:
                os.fsync(self._handle)
        except OSError as error:
            self._undo()
            raise write_error(path, error) from error
        self.size += len(frame)

    def _undo(self) -> None:
        """Cut off what a failed write left; a file that cannot be cut is left behind, or its torn tail would hide
        later records."""
        if self._handle is None:
            return
        with suppress(OSError):
            os.ftruncate(self._handle, self.size)
        torn = os.fstat(self._handle).st_size != self.size
        self.close()
        if torn:
            self.number, self.size = self.number + 1, 0

    def rotate(self) -> None:
        """Begin a new file; the former one is complete."""
        if self.size:
            self.close()
            self.number += 1
            self.size = 0

    def read(self, number: int) -> Iterator[LogRecord]:
        """The records of one file, up to the first that is torn."""
        with self._path(number).open("rb") as file:
            while len(head := file.read(_FRAME.size)) == _FRAME.size:
                magic, checksum, meta_length, body_length = _FRAME.unpack(head)
                if magic != _MAGIC:
                    return
                meta, body = file.read(meta_length), file.read(body_length)
                if len(body) != body_length or zlib.crc32(body, zlib.crc32(meta)) != checksum:
                    return
                yield LogRecord(meta, body)

    def remove(self, number: int) -> None:
        """Forget a file whose records are all elsewhere."""
        self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}.wal"

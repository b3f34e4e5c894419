"""Files of a source in an object storage.

Of Parquet DuckDB asks for those parts of a file that it needs. Text files are read whole by their nature, so they are
copied into the extraction's own folder first.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import duckdb
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

from capstan.data.sources.files import copying, files_of, own_folder
from capstan.data.sources.reading import FileRead, Reading
from capstan.data.sources.storages import Storage, opened_storage
from capstan.errors import InvalidDataError
from capstan.spec.data import FileSource, is_in_storage
from capstan.spec.presence import PATTERN

_COPIED_BYTES = 8 * 2**20


class ObjectStorage:
    """The bucket of a source; methods raise InvalidDataError that names the source and the address."""

    def __init__(self, reading: Reading, settings: FileSource) -> None:
        self._reading = reading
        self._path = settings.path.partition("://")[2].rstrip("/")
        self._protocol = f"storage-{reading.source.name.replace('_', '-')}"
        """Each source has keys of its own, so each has a file system of its own in DuckDB."""
        self._failures: list[str] = []
        """What the storage refused while DuckDB read."""
        self._storage = opened_storage(reading, settings)

    def offer(self) -> None:
        """Let the connection read `files`."""
        self._reading.connection.register_filesystem(_offered(self._protocol, self._storage, self._failures))

    @contextmanager
    def told(self) -> Iterator[None]:
        """The error of DuckDB or of Parquet's reader over one of the files as that of the object storage."""
        try:
            yield
        except (duckdb.Error, *self._storage.errors):
            if not self._failures:
                raise
            # Their words hold those of the client.
            raise InvalidDataError(f"{self._reading.field}: {self._failures[0]}") from None

    def files(self, suffixes: Sequence[str]) -> list[str]:
        """What DuckDB calls the files that the path means, in the order in which files of a folder would be read."""
        with self._told(self._path):
            names = self._names(suffixes)
        found = [f"{self._protocol}://{name}" for name in names]
        self._reading.addresses.update(
            {file: self._storage.shown(name) for file, name in zip(found, names, strict=True)}
        )
        return found

    def copies(self, suffixes: Sequence[str]) -> list[str]:
        """Copies of the files in the extraction's own folder."""
        folder = own_folder(self._reading) / self._protocol
        copied = []
        with self._told(self._path):
            names = self._names(suffixes)
        for name in names:
            # Nothing of the name but its last part, so that no name leads out of the folder.
            copy = folder / str(len(self._reading.addresses)) / (name.rpartition("/")[2] or "file")
            copy.parent.mkdir(parents=True)
            with (
                self._told(name),
                self._opened(name) as stored,
                copying(self._reading, self._storage.shown(name)),
                copy.open("wb") as written,
            ):
                while block := stored.read(_COPIED_BYTES):
                    written.write(block)
            self._reading.addresses[str(copy)] = self._storage.shown(name)
            copied.append(str(copy))
        return copied

    def _opened(self, name: str) -> Any:
        return self._storage.system.open_input_stream(name, compression=None)

    def opened_parquet(self, file: str) -> pq.ParquetFile:
        """One of `files`; what the storage refuses while it is read is told by `told`."""
        name = file.partition("://")[2]
        with self._told(name):
            stored = self._storage.system.open_input_file(name)
        return pq.ParquetFile(_PlacedFile(stored, name, Notes(self._storage, self._failures)))

    def _names(self, suffixes: Sequence[str]) -> list[str]:
        """As `files_of` finds them in a folder."""
        found = self._found(suffixes)
        for facts in self._storage.system.get_file_info(found):
            self._reading.files[self._storage.shown(facts.path)] = FileRead(facts.size or 0, facts.mtime)
        return found

    def _found(self, suffixes: Sequence[str]) -> list[str]:
        info = self._storage.system.get_file_info(self._path)
        if info.type == fs.FileType.File:
            return [self._path]
        if info.type == fs.FileType.Directory:
            below = self._storage.system.get_file_info(fs.FileSelector(self._path, recursive=True))
            files = [found.path for found in below if found.type == fs.FileType.File]
            found = sorted({name for suffix in suffixes for name in files if name.endswith(suffix)})
            if not found:
                kinds = " or ".join(f"*{suffix}" for suffix in suffixes)
                raise InvalidDataError(
                    f"{self._reading.field}: the folder {self._storage.shown(self._path)} holds no {kinds} file"
                )
            return found
        found = []
        if any(character in self._path for character in PATTERN):
            matching = (
                _offered(self._protocol, self._storage, self._failures).glob(self._path, detail=True).values()
            )
            found = [each["name"] for each in matching if each["type"] == "file"]
            hidden = [name for name in found if any(part.startswith(".") for part in name.split("/")[1:])]
            found = sorted(set(found) - set(hidden), key=lambda name: name.split("/"))
        if not found:
            raise InvalidDataError(
                f"{self._reading.field}: {self._storage.shown(self._path)} does not exist; write the file there or "
                f"correct {self._reading.field}.path"
            )
        return found

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except self._storage.errors as error:
            # The client's own words may hold parts of keys.
            raise InvalidDataError(f"{self._reading.field}: {self._storage.complaint(name, error)}") from None


def storage_of(reading: Reading, settings: FileSource) -> ObjectStorage | None:
    """The object storage that the path is an address of; None for a path on this machine."""
    return ObjectStorage(reading, settings) if is_in_storage(settings.path) else None


def local_files(reading: Reading, settings: FileSource, suffixes: Sequence[str]) -> list[str]:
    """The files that the path means; of those in an object storage copies on this machine."""
    storage = storage_of(reading, settings)
    return files_of(reading, settings.path, suffixes) if storage is None else storage.copies(suffixes)


def _offered(protocol: str, storage: Storage, failures: list[str]) -> Any:
    """The file system as DuckDB takes it, by the name `protocol`; what the storage refuses is added to `failures`."""
    notes = Notes(storage, failures)
    offered = type("Offered", (_Offered,), {"protocol": protocol, "notes": notes})
    return offered(storage.system, skip_instance_cache=True)


@dataclass(frozen=True)
class Notes:
    """Keeps what the storage refuses while DuckDB reads."""

    storage: Storage
    failures: list[str]

    @contextmanager
    def of(self, path: str) -> Iterator[None]:
        """An error over the file is kept in words, and raised."""
        try:
            yield
        except FileNotFoundError:
            raise
        except self.storage.errors as error:
            self.failures.append(self.storage.complaint(path, error))
            raise


class _Offered(ArrowFSWrapper):  # type: ignore[misc]
    """A bucket for reading."""

    notes: Notes

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return str(path).removeprefix(f"{cls.protocol}://").rstrip("/")

    def info(self, path: str, **options: Any) -> Any:
        with self.notes.of(self._strip_protocol(path)):
            return super().info(path, **options)

    def exists(self, path: str, **_: Any) -> bool:
        with self.notes.of(self._strip_protocol(path)):
            return bool(super().exists(path))

    def modified(self, path: str) -> Any:
        with self.notes.of(self._strip_protocol(path)):
            # Some clients tell no moment; a connection reads the files once.
            return super().modified(path) or datetime.fromtimestamp(0, UTC)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> io.RawIOBase:  # noqa: ARG002
        if mode != "rb":
            raise PermissionError(path)
        with self.notes.of(path):
            return _PlacedFile(self.fs.open_input_file(path), path, self.notes)


class _PlacedFile(io.RawIOBase):
    """A file whose place is each thread's own: DuckDB's threads share a file, and seek and read are two calls."""

    def __init__(self, stored: Any, path: str, notes: Notes) -> None:
        self._stored, self._path, self._notes = stored, path, notes
        self._here = threading.local()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._stored.size()}[whence]
        self._here.place = base + offset
        return cast(int, self._here.place)

    def tell(self) -> int:
        return getattr(self._here, "place", 0)

    def read(self, size: int = -1) -> bytes:
        wanted = self._stored.size() - self.tell() if size < 0 else size
        with self._notes.of(self._path):
            found: bytes = self._stored.read_at(wanted, self.tell())
        self._here.place = self.tell() + len(found)
        return found

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stored.close()
        super().close()

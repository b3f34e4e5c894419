"""Files of a source in an object storage.

Of Parquet DuckDB asks for those parts of a file that it needs. Text files are read whole by their nature, so they are
copied into the extraction's own folder first. Keys come from a secret and are in no message.
"""

from __future__ import annotations

import configparser
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

from capstan.artifacts.complaints import Names, storage_complaint
from capstan.artifacts.store import object_storage
from capstan.data.sources.files import files_of, own_folder
from capstan.data.sources.reading import Reading
from capstan.data.sources.secret_text import secret_text
from capstan.errors import InvalidDataError
from capstan.spec.data import STORAGE, FileSource
from capstan.spec.presence import PATTERN

_KEYS = {
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "session_token",
}
"""Name in a file of credentials -> pyarrow's."""
_OPTIONS = ("region", "endpoint_url")
_FORM = "[default] and below it the lines aws_access_key_id = ... and aws_secret_access_key = ..."
_NAMES = Names(
    key="aws_access_key_id",
    secret="aws_secret_access_key",  # noqa: S106
    token="aws_session_token",  # noqa: S106
    endpoint="endpoint_url in the secret of credentialsFrom",
    region="write the right one into the secret of credentialsFrom, such as region = eu-central-1",
    rights="list and read",
)
_COPIED_BYTES = 8 * 2**20


class ObjectStorage:
    """The bucket of a source; methods raise InvalidDataError that names the source and the address."""

    def __init__(self, reading: Reading, settings: FileSource) -> None:
        self._reading = reading
        self._path = settings.path.removeprefix(STORAGE).rstrip("/")
        self._protocol = f"storage-{reading.source.name.replace('_', '-')}"
        """Each source has keys of its own, so each has a file system of its own in DuckDB."""
        options, keys = _credentials(reading, settings)
        self._failures: list[str] = []
        """What the storage refused while DuckDB read."""
        with self._told(self._path):
            self._system = object_storage(self._path.partition("/")[0], options, keys)

    def offer(self) -> None:
        """Let the connection read `files`."""
        self._reading.connection.register_filesystem(_offered(self._protocol, self._system, self._failures))

    @contextmanager
    def told(self) -> Iterator[None]:
        """DuckDB's error over one of the files as that of the object storage."""
        try:
            yield
        except duckdb.Error:
            if not self._failures:
                raise
            # DuckDB's words hold those of the client.
            raise InvalidDataError(f"{self._reading.field}: {self._failures[0]}") from None

    def files(self, suffixes: Sequence[str]) -> list[str]:
        """What DuckDB calls the files that the path means, in the order in which files of a folder would be read."""
        with self._told(self._path):
            names = self._names(suffixes)
        found = [f"{self._protocol}://{name}" for name in names]
        self._reading.addresses.update(
            {file: f"{STORAGE}{name}" for file, name in zip(found, names, strict=True)}
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
            with self._told(name), self._opened(name) as stored, copy.open("wb") as written:
                while block := stored.read(_COPIED_BYTES):
                    written.write(block)
            self._reading.addresses[str(copy)] = f"{STORAGE}{name}"
            copied.append(str(copy))
        return copied

    def _opened(self, name: str) -> Any:
        return self._system.open_input_stream(name, compression=None)

    def opened_parquet(self, file: str) -> pq.ParquetFile:
        """One of `files`."""
        name = file.partition("://")[2]
        with self._told(name):
            stored = self._system.open_input_file(name)
        return pq.ParquetFile(stored)

    def _names(self, suffixes: Sequence[str]) -> list[str]:
        """As `files_of` finds them in a folder."""
        info = self._system.get_file_info(self._path)
        if info.type == fs.FileType.File:
            return [self._path]
        if info.type == fs.FileType.Directory:
            below = self._system.get_file_info(fs.FileSelector(self._path, recursive=True))
            files = [found.path for found in below if found.type == fs.FileType.File]
            found = sorted({name for suffix in suffixes for name in files if name.endswith(suffix)})
            if not found:
                kinds = " or ".join(f"*{suffix}" for suffix in suffixes)
                raise InvalidDataError(
                    f"{self._reading.field}: the folder {STORAGE}{self._path} holds no {kinds} file"
                )
            return found
        found = []
        if any(character in self._path for character in PATTERN):
            matching = (
                _offered(self._protocol, self._system, self._failures).glob(self._path, detail=True).values()
            )
            found = [each["name"] for each in matching if each["type"] == "file"]
            hidden = [name for name in found if any(part.startswith(".") for part in name.split("/")[1:])]
            found = sorted(set(found) - set(hidden), key=lambda name: name.split("/"))
        if not found:
            raise InvalidDataError(
                f"{self._reading.field}: {STORAGE}{self._path} does not exist; write the file there or correct "
                f"{self._reading.field}.path"
            )
        return found

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            # The client's own words may hold parts of keys.
            raise InvalidDataError(
                f"{self._reading.field}: {STORAGE}{name}: {storage_complaint(error, _NAMES)}"
            ) from None


def storage_of(reading: Reading, settings: FileSource) -> ObjectStorage | None:
    """The object storage that the path is an address of; None for a path on this machine."""
    return ObjectStorage(reading, settings) if settings.path.startswith(STORAGE) else None


def local_files(reading: Reading, settings: FileSource, suffixes: Sequence[str]) -> list[str]:
    """The files that the path means; of those in an object storage copies on this machine."""
    storage = storage_of(reading, settings)
    return files_of(reading, settings.path, suffixes) if storage is None else storage.copies(suffixes)


def _credentials(reading: Reading, settings: FileSource) -> tuple[dict[str, str], dict[str, str]]:
    """Options of an address, and keys by pyarrow's names; both empty where the environment tells them."""
    if settings.credentials_from is None:
        variables = [name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if os.environ.get(name)]
        if not variables:
            return {}, {}
        return _endpoint(variables[0], f"{reading.field}: there is a variable", os.environ[variables[0]]), {}
    text = secret_text(reading, settings.credentials_from, f"the keys, as {_FORM},")
    secret = settings.credentials_from.secret_key_ref
    where = f"{reading.field}: the secret {secret.name}/{secret.key}"
    parsed = configparser.RawConfigParser()
    try:
        parsed.read_string(text)
    except configparser.Error:
        # The parser's own words repeat lines, which are keys.
        raise InvalidDataError(f"{where} is no file of credentials; write {_FORM}") from None
    sections = parsed.sections()
    if "default" not in sections:
        raise InvalidDataError(f"{where} has no section [default]; write {_FORM}")
    values = dict(parsed["default"])
    if unknown := sorted(set(values) - {*_KEYS, *_OPTIONS}):
        raise InvalidDataError(
            f"{where} has {len(unknown)} lines that are not read; the names are {', '.join((*_KEYS, *_OPTIONS))}"
        )
    missing = [name for name in ("aws_access_key_id", "aws_secret_access_key") if not values.get(name)]
    if missing:
        raise InvalidDataError(f"{where} lacks {' and '.join(missing)}; write {_FORM}")
    keys = {_KEYS[name]: value for name, value in values.items() if name in _KEYS}
    options = {"region": values["region"]} if values.get("region") else {}
    if endpoint := values.get("endpoint_url"):
        options |= _endpoint("endpoint_url", f"{where} has an", endpoint)
    return options, keys


def _endpoint(name: str, where: str, endpoint: str) -> dict[str, str]:
    scheme, mark, host = endpoint.rstrip("/").partition("://")
    if not mark or scheme not in ("http", "https") or not host or "@" in host:
        raise InvalidDataError(
            f"{where} {name} that is no address; write one such as https://storage.example.com:9000"
        )
    return {"scheme": scheme, "endpoint_override": host}


def _offered(protocol: str, system: Any, failures: list[str]) -> Any:
    """The file system as DuckDB takes it, by the name `protocol`; what the storage refuses is added to `failures`."""
    offered = type("Offered", (_Offered,), {"protocol": protocol, "failures": failures})
    return offered(system, skip_instance_cache=True)


@contextmanager
def _noted(path: str, failures: list[str]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        failures.append(f"{STORAGE}{path}: {storage_complaint(error, _NAMES)}")
        raise


class _Offered(ArrowFSWrapper):  # type: ignore[misc]
    """A bucket for reading."""

    failures: list[str]

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return str(path).removeprefix(f"{cls.protocol}://").rstrip("/")

    def info(self, path: str, **options: Any) -> Any:
        with _noted(self._strip_protocol(path), self.failures):
            return super().info(path, **options)

    def exists(self, path: str, **_: Any) -> bool:
        with _noted(self._strip_protocol(path), self.failures):
            return bool(super().exists(path))

    def modified(self, path: str) -> Any:
        with _noted(self._strip_protocol(path), self.failures):
            return super().modified(path)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> io.RawIOBase:  # noqa: ARG002
        if mode != "rb":
            raise PermissionError(path)
        with _noted(path, self.failures):
            return _PlacedFile(self.fs.open_input_file(path), path, self.failures)


class _PlacedFile(io.RawIOBase):
    """A file whose place is each thread's own: DuckDB's threads share a file, and seek and read are two calls."""

    def __init__(self, stored: Any, path: str, failures: list[str]) -> None:
        self._stored, self._path, self._failures = stored, path, failures
        self._here = threading.local()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._stored.size()}[whence]
        self._here.place = base + offset
        return cast(int, self._here.place)

    def tell(self) -> int:
        return getattr(self._here, "place", 0)

    def read(self, size: int = -1) -> bytes:
        wanted = self._stored.size() - self.tell() if size < 0 else size
        with _noted(self._path, self._failures):
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

"""Keeps Bentos and the files of runs where every pod can reach them: S3-compatible object storage, or a volume.

A Bento is one tar, so that it is there whole or not at all. Nothing that is read here is trusted: it is unpacked as
plain files beside its place, and moved there only if it hashes to the digest that the caller holds.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pyarrow
from pyarrow import fs

from capstan.artifacts.complaints import folder_complaint, storage_complaint
from capstan.artifacts.content import content_digest, verify_content
from capstan.domain.versions import Digest
from capstan.errors import (
    CapstanError,
    InvalidSpecError,
    Mistake,
    NotFoundError,
    UnavailableError,
    UntrustedArtifactError,
)
from capstan.files import write_error

PART = "artifacts"
_CONNECT_SECONDS = 5
_REQUEST_SECONDS = 30
_TRIES = 3
_CHUNK = 1 << 20
_READ_AHEAD = 8 << 20
"""Bytes of one request while a Bento is unpacked: tarfile asks for 10 KiB at a time, too little for a request."""
_MISMATCH = re.compile(r"checksums? mismatch", re.IGNORECASE)
"""How the client says that the server's bytes are not those that the server was given."""
_DEFAULT_REGION = "us-east-1"
"""What servers other than Amazon's expect in signatures unless they are told otherwise."""


class ArtifactStore:
    """The artifacts below one address. Threads may share it.

    `s3://BUCKET/PREFIX?endpoint_override=HOST:PORT&scheme=http`, with the keys in AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY, or `file:///FOLDER`. Raises InvalidSpecError for other addresses.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._local = urlsplit(uri).scheme == "file"
        self._files, self._root = _opened(uri)

    def push_bento(self, tag: str, folder: Path) -> None:
        """Keep the Bento in this folder; one of the same tag and content that is kept already stays as it is.

        Raises UnavailableError, DiskFullError.
        """
        kept, digest = self._bento(tag), content_digest(folder)
        try:
            with tempfile.TemporaryDirectory(prefix="pushing-") as scratch:
                if self._holds(kept, digest, Path(scratch)):
                    return
                archive = Path(scratch, "bento.tar")
                _pack(folder, archive)
                with archive.open("rb") as file:
                    self._put(kept, file)
        except OSError as error:
            raise write_error(Path(tempfile.gettempdir()), error) from error

    def pull_bento(self, tag: str, digest: Digest, home: Path) -> Path:
        """The Bento's folder below `home/bentos`, if its content hashes to `digest`; else nothing is left of it.

        Raises UntrustedArtifactError, NotFoundError, UnavailableError, DiskFullError.
        """
        kept, place = self._bento(tag), home / "bentos" / Path(*_parts(tag))
        if place.is_dir():
            try:
                return verify_content(place, digest)
            except CapstanError:
                pass  # Left by somebody else; what is kept may be better.
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".pulling-", dir=home) as scratch:
                pulled = Path(scratch, "pulled")
                self._unpack(kept, pulled)
                _verify(pulled, digest, self._shown(kept))
                if place.exists():
                    os.replace(place, Path(scratch, "replaced"))
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(pulled, place)
        except OSError as error:
            raise write_error(home, error) from error
        return place

    def write(self, path: str, content: bytes) -> None:
        """Keep these bytes in the place of what was there; readers see the old or the new ones, never a part."""
        self._put(self._path(path), pyarrow.BufferReader(content))

    def read(self, path: str) -> bytes | None:
        """What was written there; None: nothing was. Raises UntrustedArtifactError for what was changed since."""
        place = self._path(path)
        try:
            with self._speaking(place), self._files.open_input_stream(place) as stream:
                content: bytes = stream.read()
                return content
        except NotFoundError:
            return None

    # -- one object

    def _put(self, path: str, source: Any) -> None:
        place = PurePosixPath(path)
        written = f"{place.parent}/.{place.name}.{token_hex(4)}" if self._local else path
        with self._speaking(path):
            if self._local:
                self._files.create_dir(str(place.parent), recursive=True)
            try:
                # Object storage shows an object when its upload is completed, which closing does.
                with self._files.open_output_stream(written) as stream:
                    while chunk := source.read(_CHUNK):
                        stream.write(chunk)
                if self._local:
                    self._files.move(written, path)
            except BaseException:
                if self._local:
                    Path(written).unlink(missing_ok=True)
                raise

    def _holds(self, path: str, digest: Digest, scratch: Path) -> bool:
        """Whether the kept Bento has this content; a broken one does not."""
        pulled = scratch / "kept"
        try:
            self._unpack(path, pulled)
            _verify(pulled, digest, path)
        except (NotFoundError, UntrustedArtifactError):
            return False
        finally:
            shutil.rmtree(pulled, ignore_errors=True)
        return True

    def _unpack(self, path: str, folder: Path) -> None:
        with self._speaking(path), self._files.open_input_stream(path, buffer_size=_READ_AHEAD) as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|") as archive:
                    for member in archive:
                        _extract(archive, member, folder, path)
            except (tarfile.TarError, EOFError) as error:
                raise UntrustedArtifactError(
                    f"{self._shown(path)}: is not a whole Bento ({error}); it was cut short or overwritten and is not "
                    "loaded. Restore it, or train again"
                ) from error

    # -- names and errors

    def _bento(self, tag: str) -> str:
        name, label = _parts(tag)
        return self._path(f"bentos/{name}/{label}.tar")

    def _path(self, relative: str) -> str:
        parts = relative.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise NotFoundError(f"{relative!r} is not a path below the artifacts")
        return "/".join([self._root, *parts])

    def _shown(self, path: str) -> str:
        return f"file://{quote(path)}" if self._local else f"s3://{path}"

    @contextmanager
    def _speaking(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._ask_for_entry(path)
            raise NotFoundError(f"{self._shown(path)}: nothing is kept there") from error
        except (OSError, pyarrow.ArrowException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise write_error(Path(path), error) from error
            # The causes are cut off: what client and server write may hold keys.
            if _MISMATCH.search(str(error)):
                raise UntrustedArtifactError(
                    f"{self._shown(path)}: was changed below the object storage and is not loaded. Restore it, or "
                    "train again"
                ) from None
            raise UnavailableError(PART, self._complaint(path, error)) from None

    def _ask_for_entry(self, path: str) -> None:
        """Raises UnavailableError where a missing file means missing keys: servers may answer both alike to HEAD."""
        if self._local:
            return
        try:
            self._files.get_file_info(fs.FileSelector(path.rpartition("/")[0], allow_not_found=True))
        except (OSError, pyarrow.ArrowException) as error:
            raise UnavailableError(PART, self._complaint(path, error)) from None

    def _complaint(self, path: str, error: Exception) -> str:
        words = folder_complaint(path, error) if self._local else storage_complaint(error)
        return f"{self._shown(path)}: {words}"


def _opened(uri: str) -> tuple[Any, str]:
    """File system and root folder of an address."""
    parts = urlsplit(uri)
    try:
        if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
            if parts.query or parts.fragment:
                raise ValueError("a ? or # in a folder's name is %3F or %23 in an address")
            return fs.LocalFileSystem(), unquote(parts.path).rstrip("/")
        if parts.scheme == "s3" and parts.netloc and "@" not in parts.netloc:
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            return object_storage(parts.netloc, options), f"{parts.netloc}{parts.path}".rstrip("/")
    except (ValueError, TypeError) as error:
        raise InvalidSpecError([Mistake("artifacts", f"cannot be opened: {error}")]) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise UnavailableError(PART, f"s3://{parts.netloc}{parts.path}: {storage_complaint(error)}") from None
    rule = (
        "is no address of artifacts; write s3://BUCKET/PREFIX?endpoint_override=HOST:PORT&scheme=http with the keys in "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or file:///FOLDER"
    )
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    raise InvalidSpecError([Mistake("artifacts", f"{shown!r} {rule}")])


def object_storage(bucket: str, options: Mapping[str, str], keys: Mapping[str, str] | None = None) -> Any:
    """The bucket's file system; `options` are those of an address, `keys` have pyarrow's names.

    Without `keys` they are those of the environment. Raises ValueError for options that
    there are not, OSError for a bucket whose region nobody tells.
    """
    known = {
        name: value for name, value in options.items() if name in ("endpoint_override", "scheme", "region")
    }
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"{', '.join(unknown)} is not an option; the options are endpoint_override, scheme and region"
        )
    if known.get("scheme", "https") not in ("http", "https"):
        raise ValueError(f"scheme={known['scheme']} is neither http nor https")
    region = known.pop("region", None) or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None:
        region = _DEFAULT_REGION if "endpoint_override" in known else fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        region=region,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        **known,
        **(keys or {}),
    )


def _parts(tag: str) -> tuple[str, str]:
    name, _, label = tag.partition(":")
    if not name or not label or "/" in tag or name.startswith(".") or label.startswith("."):
        raise NotFoundError(f"{tag!r} is not a Bento's tag; it must read SYSTEM:LABEL")
    return name, label


def _verify(pulled: Path, digest: Digest, shown: str) -> None:
    try:
        verify_content(pulled, digest)
    except CapstanError as error:
        # Said of where it is kept: the folder that it was unpacked into is gone when somebody reads this.
        raise UntrustedArtifactError(str(error).replace(str(pulled), shown)) from error


def _pack(folder: Path, archive: Path) -> None:
    """Sorted and without owners and times: the same files make the same bytes."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(found for found in folder.rglob("*") if found.is_file()):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            entry.mode = 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, shown: str) -> None:
    """One plain file below `folder`; links, devices and paths that lead elsewhere are refused, not repaired."""
    parts = PurePosixPath(member.name).parts
    if not member.isreg() or not parts or member.name.startswith("/") or ".." in parts:
        raise UntrustedArtifactError(
            f"{shown}: holds {member.name!r}, which is no plain file inside the Bento; it is not loaded"
        )
    source = archive.extractfile(member)
    assert source is not None, "it is a plain file"
    with _writing(folder.joinpath(*parts), shown) as write:
        while chunk := source.read(_CHUNK):
            write(chunk)


@contextmanager
def _writing(place: Path, shown: str) -> Iterator[Callable[[bytes], None]]:
    """A new file whose write errors are those of this machine's disk, not of the artifacts."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise UntrustedArtifactError(f"{shown}: holds {place.name!r} twice; it is not loaded") from error
    except OSError as error:
        raise write_error(place, error) from error

    def write(chunk: bytes) -> None:
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise write_error(place, error) from error

    with file:
        yield write

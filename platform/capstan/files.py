"""Files that a reader sees whole or not at all, and the errors of a full disk."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from capstan.errors import CapstanError, DiskFullError


def cache_home() -> Path:
    """Folder of what Capstan makes anew where it is missing."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "capstan"


def write_whole(path: Path, content: bytes, *, mode: int = 0o600, survives_power_cut: bool = False) -> bool:
    """Replace the file at once; returns whether its content changed. Raises DiskFullError, leaving the old file.

    `survives_power_cut`: without it, the file may be empty after one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == content:
            return False
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if survives_power_cut:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # Where a folder of the path is a file, that is what is to be told, and not that nothing lies in it.
        with suppress(OSError):
            temporary.unlink()
        raise write_error(path, error) from error
    return True


def write_together(contents: Mapping[Path, bytes | Path], *, mode: int = 0o666) -> None:
    """Replace several files of existing folders: all are made beside their places first, and renamed in this order.

    So whatever fails before, such as a full disk, leaves all old files. A path as content is a file that lies on the
    same disk, and is moved. `mode` is narrowed by the umask. Raises DiskFullError, CapstanError.
    """
    made: dict[Path, Path] = {}
    path = next(iter(contents), Path())
    try:
        for path, content in contents.items():
            if isinstance(content, Path):
                made[path] = content
                continue
            temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            made[path] = temporary
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        for path, temporary in made.items():
            os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        for path, temporary in made.items():
            if temporary != contents[path]:
                temporary.unlink(missing_ok=True)


def write_error(path: Path, error: OSError, *, option: str = "--state") -> CapstanError:
    """The error a user can act on, for a failed write; `option` names the directory."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"{path}: no room left on the disk; nothing was half-written. Free some space, run again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CapstanError(
            f"{path}: cannot be written ({error.strerror}); choose another directory with {option}"
        )
    return CapstanError(f"{path}: cannot be written: {error.strerror or error}")

"""Files that a reader sees whole or not at all, and the errors of a full disk."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from capstan.errors import CapstanError, DiskFullError


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Replace the file at once; returns whether its content changed. Raises DiskFullError, leaving the old file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == content:
            return False
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        # Where a folder of the path is a file, that is what is to be told, and not that nothing lies in it.
        with suppress(OSError):
            temporary.unlink()
        raise write_error(path, error) from error
    return True


def write_error(path: Path, error: OSError) -> CapstanError:
    """The error a user can act on, for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"{path}: no room left on the disk; nothing was half-written. Free some space, run again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CapstanError(
            f"{path}: cannot be written ({error.strerror}); choose another directory with --state"
        )
    return CapstanError(f"{path}: cannot be written: {error.strerror or error}")

"""Which files a source's path means."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from capstan.data.text_types import literal
from capstan.errors import InvalidDataError
from capstan.spec.data import Source


def files_of(source: Source, path: str, base_dir: Path, suffix: str) -> list[str]:
    """The files that `path` means, in a fixed order."""
    wanted = base_dir / path
    if wanted.is_dir():
        found = sorted(str(file) for file in wanted.rglob(f"*.{suffix}"))
        if not found:
            raise InvalidDataError(
                f"data.sources.{source.name}: the folder {wanted} holds no *.{suffix} file"
            )
        return found
    found = [str(wanted)] if wanted.is_file() else sorted(glob.glob(str(wanted), recursive=True))
    if not found:
        raise InvalidDataError(
            f"data.sources.{source.name}: {wanted} does not exist; write the file there or correct "
            f"data.sources.{source.name}.path (relative paths are relative to the system's file)"
        )
    return found


def sql_list(files: Sequence[str]) -> str:
    """The files as an SQL list."""
    return "[" + ", ".join(literal(file) for file in files) + "]"

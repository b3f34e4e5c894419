"""A system for a data frame that nobody has described yet."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.api.frames import as_parquet
from capstan.data.profiling import profile_table
from capstan.errors import InvalidDataError, NotAllowedError
from capstan.files import write_error
from capstan.spec.guessing import Guess, Wishes
from capstan.verbs.describing import SYSTEM_FILE, described, in_comments, write_described

if TYPE_CHECKING:
    from capstan.api.frames import Frame


def wishes_of(
    task: str | None, time: str | None, id: str | None, without: Iterable[str], keep: Iterable[str]
) -> Wishes:
    """What was said; empty text: there is none. Raises InvalidDataError for a column of both `without` and `keep`."""
    out, kept = dict.fromkeys(without, "you said so"), frozenset(keep)
    if both := sorted(kept & out.keys()):
        raise InvalidDataError(f"keep: {both[0]!r} is in `without` too; name it in one of them")
    return Wishes(task=task, time=time, id=id, left_out=out, kept=kept)


def name_of(name: str | None, target: str) -> str:
    """The system's name, which its folder and its table have too; raises InvalidDataError."""
    made = re.sub(r"[^a-z0-9]+", "-", (name or target).lower()).strip("-")
    if not made or (name is not None and made != name):
        raise InvalidDataError(
            f"name: {name or target!r} cannot be the name of a system; use small letters, digits and hyphens"
            + (f", such as {made!r}" if made else "")
        )
    return made


def write_system(
    frame: Frame, target: str, folder: Path, name: str, wishes: Wishes, *, overwrite: bool
) -> tuple[Path, tuple[Guess, ...]]:
    """Keep the frame as `NAME.parquet` in the folder, and the file that is guessed of it; returns the file.

    What is there already and differs is only replaced with `overwrite`; a README that somebody edited stays. All files
    are written, or none. Raises NotAllowedError, InvalidSpecError,
    InvalidDataError, DiskFullError.
    """
    kept = folder / f"{name}.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".capstan-", dir=folder) as scratch:
            made = Path(scratch, kept.name)
            as_parquet(frame, made)
            table = profile_table(made)
            guessed = described(table, target, made.parent, wishes, now=datetime.now(UTC))
            guessed = replace(guessed, document={**guessed.document, "metadata": {"name": name}})
            if not overwrite:
                _require_same(kept, made.read_bytes())
                _require_same(folder / SYSTEM_FILE, in_comments(guessed).encode())
            # The same table again is not newer than what was trained of it.
            is_new = not kept.exists() or kept.read_bytes() != made.read_bytes()
            file, _ = write_described(
                folder, guessed, table, tables={kept: made} if is_new else {}, keep_edited=True
            )
    except OSError as error:
        raise write_error(folder, error) from error
    return file, guessed.guesses


def _require_same(file: Path, content: bytes) -> None:
    if file.exists() and file.read_bytes() != content:
        raise NotAllowedError(
            f"{file} is there and differs; `System.from_file` goes on with what is there, `overwrite=True` replaces "
            "it, `folder` names another place"
        )

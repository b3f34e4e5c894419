"""What a run learnt from, so that somebody can say later whether it was the same: digest, files, and code."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.sources import Reading

UNKNOWN = "unknown"
_ROWS = 65_536
"""Hashed at once."""
_GIT_SECONDS = 10


def table_digest(table: pa.Table) -> str:
    """sha256 of names, types and values, in the table's order: the same rows have the same digest.

    It depends neither on how the table lies in memory nor on what stands below a missing value.
    """
    found = hashlib.sha256()
    for field in table.schema:
        found.update(f"{field.name}\0{field.type}\0".encode())
        for values in _lots(table[field.name]):
            found.update(values)
    return f"sha256:{found.hexdigest()}"


def _lots(column: pa.ChunkedArray) -> Iterator[bytes]:
    """The column's values as bytes that say the same wherever its chunks end."""
    for start in range(0, len(column), _ROWS):
        part = column.slice(start, _ROWS)
        if pa.types.is_null(part.type):
            continue
        is_there = pc.is_valid(part).cast(pa.uint8())
        yield is_there.to_numpy().tobytes()
        if pa.types.is_boolean(part.type):
            part = part.cast(pa.uint8())
        if pa.types.is_temporal(part.type):
            part = part.cast(pa.int64()) if part.type.bit_width == 64 else part.cast(pa.int32())
        if pa.types.is_primitive(part.type):
            yield pc.fill_null(part, 0).to_numpy().tobytes()
        else:
            texts = pc.fill_null(part.cast(pa.large_string()), "")
            yield pc.binary_length(texts).to_numpy().tobytes()
            for one in texts.chunks:
                ends = np.frombuffer(one.buffers()[1], dtype=np.int64)[one.offset : one.offset + len(one) + 1]
                if ends[-1] > ends[0]:
                    yield memoryview(one.buffers()[2])[ends[0] : ends[-1]].tobytes()


def source_read(reading: Reading) -> dict[str, Any]:
    """A source and how its files were: how many, their bytes, the newest change, and a digest of their list."""
    files = sorted(reading.files.items())
    changed = [one.modified for _, one in files if one.modified is not None]
    listed = "\n".join(
        f"{name}\0{one.bytes}\0{one.modified.isoformat() if one.modified else ''}" for name, one in files
    )
    return {
        "name": reading.source.name,
        "kind": reading.source.kind,
        "files": len(files),
        "bytes": sum(one.bytes for _, one in files) if files else None,
        "modified": max(changed).isoformat() if changed else None,
        "digest": f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}" if files else None,
    }


@dataclass(frozen=True)
class Code:
    """The commit of the folder in which the file lies."""

    commit: str = UNKNOWN
    """40 hexadecimal digits, or `unknown`."""
    is_changed: bool | None = None
    """Whether files that git knows differ from the commit; None: not known."""
    why_not: str = ""
    """Why no commit is known."""

    @property
    def words(self) -> str:
        """For people and tags."""
        if self.commit == UNKNOWN:
            return f"{UNKNOWN}: {self.why_not}"
        state = {None: "whether files were changed is not known", True: "with changes that are not committed"}
        told = state.get(self.is_changed)
        return self.commit if told is None else f"{self.commit}, {told}"


def code_of(folder: Path) -> Code:
    """The commit of the folder by git; files that git does not know count for nothing."""
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except FileNotFoundError:
        return Code(why_not="git is not installed, or the folder is not there")
    except subprocess.TimeoutExpired:
        return Code(why_not=f"git did not answer within {_GIT_SECONDS} s")
    except (OSError, subprocess.CalledProcessError):
        return Code(why_not="the folder of the file is in no git repository that can be read")
    return Code(commit, bool(changed.strip()))


def _git(folder: Path, *arguments: str) -> str:
    # A repository may name programs in its own settings; none of them is needed to read a commit.
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    return subprocess.run(
        ["git", *quiet, "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=_GIT_SECONDS,
        env={**_environment(), "GIT_OPTIONAL_LOCKS": "0"},
    ).stdout


def _environment() -> Mapping[str, str]:
    """Without variables that would name another repository than that of the folder."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

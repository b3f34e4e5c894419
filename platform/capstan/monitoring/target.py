"""Which version of a system is to be watched: `monitor/target.json`, which the loop writes and a monitor reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from capstan.errors import InvalidDataError
from capstan.files import write_whole


@dataclass(frozen=True)
class Target:
    """What `target.json` says is to be watched."""

    version: str
    model_dir: str
    since: datetime


def write_target(path: Path, version: str, *, model_dir: Path, since: datetime) -> None:
    """Make it the watched version; windows begin at `since` (event time). Raises DiskFullError."""
    document = {
        "version": version,
        "model_dir": str(model_dir),
        "since": since.astimezone(UTC).isoformat(),
    }
    write_whole(path, orjson.dumps(document))


def read_target(path: Path) -> Target | None:
    """None: nothing is watched yet. Raises InvalidDataError for a file that names no version."""
    try:
        document = orjson.loads(path.read_bytes())
        since = datetime.fromisoformat(document["since"])
        return Target(str(document["version"]), str(document["model_dir"]), since)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{path}: does not name a version to watch: {error}") from error

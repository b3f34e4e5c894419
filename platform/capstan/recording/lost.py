"""Payloads that producers counted as lost, of which nothing is stored."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from capstan.errors import UnavailableError

logger = logging.getLogger(__name__)


def lost_payloads(folder: Path, versions: Iterable[str], since: datetime, as_of: datetime) -> int:
    """Of the days from `since` to `as_of`; `folder` holds `payloads/`. Raises UnavailableError."""
    path = folder / "payloads" / "losses.json"
    try:
        losses = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        logger.warning("%s: %s", path, error)
        reason = f"{path.name} cannot be read; the log says why"
        raise UnavailableError("collector's loss counts", reason) from error
    first, last = since.astimezone(UTC).date().isoformat(), as_of.astimezone(UTC).date().isoformat()
    return sum(
        payloads
        for version in versions
        for day, payloads in losses.get(version, {}).items()
        if first <= day <= last
    )

"""What `capstan doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    OK = "OK"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at."""

    what: str
    health: Health
    found: str
    way_out: str = ""
    """What to do about it; empty where nothing is wrong."""

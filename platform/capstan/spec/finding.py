"""A broken rule between fields."""

from __future__ import annotations

from dataclasses import dataclass

from capstan.spec.location import Location

UNKNOWN = "\ufffd"
"""Stands for a column that could not be read, while the rest of the file is checked."""


@dataclass(frozen=True)
class Finding:
    """A broken rule: where, and what to do."""

    location: Location
    message: str

"""A digest of what a policy says: the same for two policies that mean the same.

Fields at their defaults do not enter it, so a new version of Capstan that adds a field restarts no rollout.
Neither do fields with the metadata `UNDIGESTED`: they tell, and decide nothing.
Numbers that are equal, mappings in another order and sets are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

UNDIGESTED = {"digest": False}
"""Metadata of a field that no decision rests on."""
_DIGITS = 12


def digest_of(policy: Any) -> str:
    """Twelve hex digits of a frozen dataclass of dataclasses, durations, enums, numbers, texts and their containers.

    Raises TypeError for a value of any other type, because its text might differ between two processes.
    """
    text = json.dumps(_canonical(policy), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _canonical(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        written = {
            field.name: _canonical(getattr(value, field.name))
            for field in fields(value)
            if field.metadata.get("digest", True) and getattr(value, field.name) != _default(field)
        }
        return {type(value).__name__: written}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return {"microseconds": value // timedelta(microseconds=1)}
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((_canonical(item) for item in value), key=json.dumps)
    if isinstance(value, tuple | list):
        return [_canonical(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return int(value) if value == int(value) else value
    raise TypeError(f"{type(value).__name__} has no canonical form: {value!r}")


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING

"""Values out of what a monitor told, which may be of another release: what is not of the kind is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def as_mapping(value: object) -> Mapping[str, Any]:
    """The mapping; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def as_number(value: object) -> float | None:
    """The finite number; None in place of anything else."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

"""How a duration is said."""

from __future__ import annotations

from datetime import timedelta


def in_words(duration: timedelta) -> str:
    """In the largest unit that it fills, such as `1.5 min`."""
    seconds = int(duration.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds} s"

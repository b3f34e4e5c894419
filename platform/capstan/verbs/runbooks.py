"""What to do about an alert: the pages of the docs, which an installation brings along."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_PLACES = (Path(__file__).parents[1] / "runbooks", Path(__file__).parents[2] / "docs/runbooks")
"""In the wheel, and in a clone."""
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@cache
def alerts() -> tuple[str, ...]:
    """Names of the alerts that have a page, such as `DriftDetected`; none where an image has no pages."""
    return tuple(sorted(path.stem for path in _pages() if path.stem != "README"))


def runbook(alert: str) -> str | None:
    """The page as text, its links as their words; None: there is no such alert, or one of your own without a page."""
    for path in _pages():
        if path.stem == alert and alert in alerts():
            return _LINK.sub(r"\1", path.read_text(encoding="utf-8")).strip()
    return None


def _pages() -> list[Path]:
    return next((pages for place in _PLACES if (pages := list(place.glob("*.md")))), [])

"""What all drawings of experiments share: a file of panels, and a confidence sequence over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from capstan.errors import CapstanError

COLOUR = "#1f5fa8"
SETTINGS: Any = {"svg.hashsalt": "capstan", "font.size": 9}
"""matplotlib's, by which the same drawing gives the same SVG."""
_WIDTH = 8.0
_HEIGHT = 3.2
"""Inches of one panel."""
_WIDEST = 3.0
"""How many times as high as the later half of its bounds a drawing may become to hold the early half too."""


@contextmanager
def drawn(path: Path, count: int, *, named: str) -> Iterator[list[Any]]:
    """So many panels, one below the other, which are written to the SVG or PNG file in the end.

    The same panels give the same SVG. Raises CapstanError, whose message begins with `named`.
    """
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(_WIDTH, _HEIGHT * count), layout="constrained")
        yield list(figure.subplots(count, 1, squeeze=False)[:, 0])
        try:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, format=path.suffix[1:], metadata=metadata)
        except OSError as error:
            raise CapstanError(f"{named}: {path} cannot be written: {error.strerror}") from error


def draw_sequence(
    panel: Any,
    at: Sequence[Any],
    difference: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    *,
    levels: Sequence[float] = (),
) -> None:
    """The difference between its bounds, with a line at 0 and dashed ones at `levels`."""
    panel.fill_between(at, lower, upper, alpha=0.2, color=COLOUR)
    panel.plot(at, difference, color=COLOUR, marker=".")
    panel.axhline(0, color="black", linewidth=0.8)
    for level in {*levels} - {0.0}:
        panel.axhline(level, color="#b3261e", linewidth=0.8, linestyle="--")
    low, high = _frame([*difference, *levels, 0.0], lower, upper)
    panel.set_ylim(low - 0.1 * (high - low or 1), high + 0.1 * (high - low or 1))
    panel.tick_params(axis="x", labelrotation=20)


def _frame(held: Sequence[float], lower: Sequence[float], upper: Sequence[float]) -> tuple[float, float]:
    """All bounds where they fit. Early ones that would flatten what matters are cut off: the later half counts then."""
    later = len(lower) // 2
    shown = [*held, *lower[later:], *upper[later:]]
    everything = [*shown, *lower, *upper]
    fits = max(everything) - min(everything) <= _WIDEST * (max(shown) - min(shown))
    framed = everything if fits else shown
    return min(framed), max(framed)

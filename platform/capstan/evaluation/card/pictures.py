"""Curves and bars of a card as SVG that stands in the HTML."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from capstan.evaluation.experiments.drawing import COLOUR, SETTINGS

_INCHES = (4.0, 2.9)
"""Small enough that words stay legible on a telephone."""
_COLOURS = (COLOUR, "#c77700", "#2e7d32", "#b3261e", "#6a3d9a", "#555555")


def picture(curve: Mapping[str, Any]) -> str:
    """One curve as `capstan.tasks.curves` describes it; the same curve gives the same SVG. Empty without a point."""
    series = [(one["name"], one["points"]) for one in curve["series"] if _known(one["points"])]
    if not series:
        return ""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Words stay words, which a reader can search and a screen reader can say.
    settings: Any = {**SETTINGS, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8}
    with mpl.rc_context(settings):
        figure = Figure(figsize=_INCHES, layout="constrained")
        panel = figure.subplots()
        if curve.get("reference"):
            at, values = zip(*curve["reference"], strict=True)
            panel.plot(at, values, color="#999999", linestyle="--", linewidth=0.8)
        for number, (name, points) in enumerate(series):
            _draw(panel, name, _known(points), _COLOURS[number % len(_COLOURS)], number, len(series))
        if curve.get("height"):
            panel.set_ylim(*curve["height"])
        panel.set_xlabel(_plain(curve["x"]))
        panel.set_ylabel(_plain(curve["y"]))
        panel.spines[["top", "right"]].set_visible(False)
        if any(name for name, _ in series):
            panel.legend(fontsize=7, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = written.getvalue()
    label = escape(str(curve["title"]), quote=True)
    return drawn[drawn.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _known(points: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    return [point for point in points if None not in point]


def _draw(
    panel: Any, name: str, points: Sequence[Sequence[Any]], colour: str, number: int, count: int
) -> None:
    at, values = zip(*points, strict=True)
    label = _plain(name) if name else None
    if any(isinstance(one, str) for one in at):
        width = 0.8 / count
        places = [place + width * (number - (count - 1) / 2) for place in range(len(at))]
        # A mark and no bar: the height need not begin at 0.
        panel.plot(places, values, color=colour, marker="o", linestyle="", label=label)
        panel.set_xticks(range(len(at)), [_plain(str(one)[:16]) for one in at], rotation=45, ha="right")
        return
    panel.plot(at, values, color=colour, marker="." if len(at) <= 25 else None, linewidth=1.3, label=label)


def _plain(text: str) -> str:
    """matplotlib reads what stands between two dollars as a formula."""
    return text.replace("$", r"\$")

"""Drawing an experiment: the confidence sequence over time, or the intervals where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from capstan.errors import CapstanError
from capstan.evaluation.experiments.findings import Comparison, ExperimentAnalysis

SUFFIXES = (".svg", ".png")
_WIDTH = 8.0
_HEIGHT = 3.2
"""Inches of one panel."""
_COLOUR = "#1f5fa8"


def draw(analysis: ExperimentAnalysis, path: Path) -> None:
    """Write one panel for each comparison to an SVG or PNG file; the same analysis gives the same SVG."""
    with mpl.rc_context({"svg.hashsalt": "capstan", "font.size": 9}):
        count = len(analysis.comparisons)
        figure = Figure(figsize=(_WIDTH, _HEIGHT * count), layout="constrained")
        axes = figure.subplots(count, 1, squeeze=False)[:, 0]
        for panel, comparison in zip(axes, analysis.comparisons, strict=True):
            _title(panel, comparison, analysis)
            if any(math.isfinite(look.effect.lower) for look in comparison.looks):
                _sequence(panel, comparison)
            else:
                _intervals(panel, comparison)
        try:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, format=path.suffix[1:], metadata=metadata)
        except OSError as error:
            raise CapstanError(f"--plot: {path} cannot be written: {error.strerror}") from error


def _title(panel: Any, comparison: Comparison, analysis: ExperimentAnalysis) -> None:
    level = 100 * (1 - analysis.rule.interval_alpha)
    panel.set_title(
        f"{comparison.arm} less {analysis.control}: {comparison.metric} ({analysis.rule.test}, "
        f"{level:.4g} % interval): {comparison.result.reason}",
        loc="left",
    )


def _sequence(panel: Any, comparison: Comparison) -> None:
    looks = [look for look in comparison.looks if math.isfinite(look.effect.lower)]
    at: Sequence[Any] = [look.at for look in looks]
    panel.fill_between(
        at,
        [look.effect.lower for look in looks],
        [look.effect.upper for look in looks],
        alpha=0.2,
        color=_COLOUR,
    )
    panel.plot(at, [look.effect.difference for look in looks], color=_COLOUR, marker=".")
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_ylabel("difference")
    panel.tick_params(axis="x", labelrotation=20)


def _intervals(panel: Any, comparison: Comparison) -> None:
    rows = [("all units", comparison.effect)]
    rows += [(f"{one.column} = {one.value}", one.effect) for one in comparison.slices]
    for place, (_, effect) in enumerate(reversed(rows)):
        if math.isfinite(effect.lower):
            panel.plot([effect.lower, effect.upper], [place, place], color=_COLOUR)
        panel.plot([effect.difference], [place], color=_COLOUR, marker="o")
    panel.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_xlabel("difference")

"""Drawing an experiment: the confidence sequence over time, or the intervals where there is none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from capstan.evaluation.experiments.drawing import COLOUR, draw_sequence, drawn
from capstan.evaluation.experiments.findings import Comparison, ExperimentAnalysis

SUFFIXES = (".svg", ".png")


def draw(analysis: ExperimentAnalysis, path: Path) -> None:
    """Write one panel for each comparison to an SVG or PNG file; the same analysis gives the same SVG."""
    with drawn(path, len(analysis.comparisons), named="--plot") as axes:
        for panel, comparison in zip(axes, analysis.comparisons, strict=True):
            _title(panel, comparison, analysis)
            if any(math.isfinite(look.effect.lower) for look in comparison.looks):
                _sequence(panel, comparison)
            else:
                _intervals(panel, comparison)


def _title(panel: Any, comparison: Comparison, analysis: ExperimentAnalysis) -> None:
    level = 100 * (1 - analysis.rule.interval_alpha)
    panel.set_title(
        f"{comparison.arm} less {analysis.control}: {comparison.metric} ({analysis.rule.test}, "
        f"{level:.4g} % interval): {comparison.result.reason}",
        loc="left",
    )


def _sequence(panel: Any, comparison: Comparison) -> None:
    looks = [look for look in comparison.looks if math.isfinite(look.effect.lower)]
    draw_sequence(
        panel,
        [look.at for look in looks],
        [look.effect.difference for look in looks],
        [look.effect.lower for look in looks],
        [look.effect.upper for look in looks],
    )
    panel.set_ylabel("difference")


def _intervals(panel: Any, comparison: Comparison) -> None:
    rows = [("all units", comparison.effect)]
    rows += [(f"{one.column} = {one.value}", one.effect) for one in comparison.slices]
    for place, (_, effect) in enumerate(reversed(rows)):
        if math.isfinite(effect.lower):
            panel.plot([effect.lower, effect.upper], [place, place], color=COLOUR)
        panel.plot([effect.difference], [place], color=COLOUR, marker="o")
    panel.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_xlabel("difference")

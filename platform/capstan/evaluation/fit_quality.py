"""Whether a model learnt too much by heart, or too little, and whether more rows would help; in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from capstan.spec.tasks import MetricFacts

MOST_LOST = 1 / 3
"""Of what a model gains over the baseline on rows that it learnt from: what new rows may lack of it."""
ERRORS = 2.0
"""Standard errors that are no chance."""


@dataclass(frozen=True)
class CurvePoint:
    """One model that learnt from so many rows."""

    rows: int
    learnt: float
    """The metric on rows that it learnt from."""
    new: float
    """The metric on the test rows."""


@dataclass(frozen=True)
class FitQuality:
    """What a learning curve says."""

    points: Sequence[CurvePoint]
    """The smallest first; the last one learnt from all rows."""
    baseline: float
    """The metric on the test rows of somebody who knows no feature."""
    baseline_learnt: float
    """The same on the rows that the last model learnt from."""
    error: float | None
    """Standard error of the metric on the test rows; None: not known."""
    overfits: bool
    underfits: bool
    words: Sequence[str]


def judge_fit(
    points: Sequence[CurvePoint],
    metric: MetricFacts,
    *,
    baseline: float,
    baseline_learnt: float,
    error: float | None,
) -> FitQuality:
    """The baseline's metric is that of the test rows and that of the rows that the last model learnt from.

    `error`: standard error of the metric on the test rows; None: not known, and nothing is put down to chance.
    """
    last = points[-1]
    if not all(map(math.isfinite, (last.learnt, last.new, baseline, baseline_learnt))):
        unknown = (f"{metric.title} is not known everywhere.",)
        return FitQuality(points, baseline, baseline_learnt, error, False, False, unknown)
    chance = ERRORS * error if error is not None and math.isfinite(error) else 0.0
    # Some rows are harder than others, so what counts is what was gained over the baseline on the same rows.
    gained = metric.sign * (last.learnt - baseline_learnt)
    gap = gained - metric.sign * (last.new - baseline)
    underfits = gained <= chance
    overfits = not underfits and gap > chance and gap > MOST_LOST * gained
    numbers = (
        f"{metric.title} {_told(last.learnt)} on rows that it learnt from ({_told(baseline_learnt)} without any "
        f"feature), {_told(last.new)} on the test rows ({_told(baseline)})"
    )
    if underfits:
        words = [
            f"Underfitting: {numbers}. It learnt hardly more than the baseline knows: add features, or try a family "
            "that bends more."
        ]
    elif overfits:
        kept = 100 * max(0.0, 1 - gap / gained)
        words = [
            f"Overfitting: {numbers}. The test rows keep {kept:.0f} % of what it gains: penalise more, grow smaller "
            "trees, or take more rows. If the test days are unlike the days before, the loss is of that too."
        ]
    else:
        words = [f"Neither over- nor underfitting: {numbers}."]
    if len(points) > 1:
        words += _of_more_rows(points[-2], last, metric, chance, error)
    return FitQuality(points, baseline, baseline_learnt, error, overfits, underfits, tuple(words))


def _of_more_rows(
    before: CurvePoint, last: CurvePoint, metric: MetricFacts, chance: float, error: float | None
) -> list[str]:
    grown = metric.sign * (last.new - before.new)
    if not math.isfinite(grown):
        return []
    told = f"from {before.rows:,} to {last.rows:,} rows {metric.title} on the test rows"
    if grown > chance:
        return [f"More rows help: {told} got better by {_told(grown)}."]
    way = "better" if grown >= 0 else "worse"
    sure = f"; chance alone makes {_told(error)} (one standard error)" if error is not None else ""
    return [f"More rows like these change little: {told} changed by {_told(abs(grown))} for the {way}{sure}."]


def _told(value: float) -> str:
    return f"{value:.4g}"

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
    error: float | None
    """Standard error of the metric on the test rows; None: not known."""
    overfits: bool
    underfits: bool
    words: Sequence[str]


def judge_fit(
    points: Sequence[CurvePoint], metric: MetricFacts, *, baseline: float, error: float | None
) -> FitQuality:
    """`error`: standard error of the metric on the test rows; None: not known, and nothing is put down to chance."""
    last = points[-1]
    if not all(map(math.isfinite, (last.learnt, last.new, baseline))):
        return FitQuality(
            points, baseline, error, False, False, (f"{metric.title} is not known everywhere.",)
        )
    chance = ERRORS * error if error is not None and math.isfinite(error) else 0.0
    gap = metric.sign * (last.learnt - last.new)
    gained = metric.sign * (last.learnt - baseline)
    underfits = gained <= max(chance, 0.0)
    overfits = not underfits and gap > chance and gap > MOST_LOST * gained
    numbers = (
        f"{metric.title} {_told(last.learnt)} on rows that it learnt from, {_told(last.new)} on the test rows"
    )
    if underfits:
        words = [
            f"Underfitting: {numbers}, and {_told(baseline)} without any feature. It learnt hardly more than the "
            "baseline knows: add features, or try a family that bends more."
        ]
    elif overfits:
        kept = 100 * max(0.0, 1 - gap / gained)
        words = [
            f"Overfitting: {numbers}. The test rows keep {kept:.0f} % of what it gains over the baseline "
            f"({_told(baseline)}): penalise more, grow smaller trees, or take more rows. If the test days are unlike "
            "the days before, the gap is of that too."
        ]
    else:
        words = [f"Neither over- nor underfitting: {numbers}, {_told(baseline)} without any feature."]
    if len(points) > 1:
        before = points[-2]
        grown = metric.sign * (last.new - before.new)
        if not math.isfinite(grown):
            pass
        elif grown > chance:
            words.append(
                f"More rows help: from {before.rows:,} to {last.rows:,} rows {metric.title} on the test rows got "
                f"better by {_told(grown)}."
            )
        else:
            sure = "" if error is None else f", which chance explains (standard error {_told(error)})"
            words.append(
                f"More rows like these change little: from {before.rows:,} to {last.rows:,} rows {metric.title} on the "
                f"test rows changed by {_told(abs(grown))} for the {'better' if grown >= 0 else 'worse'}{sure}."
            )
    return FitQuality(points, baseline, error, overfits, underfits, tuple(words))


def _told(value: float) -> str:
    return f"{value:.4g}"

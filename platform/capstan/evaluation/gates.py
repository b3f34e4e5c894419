"""Whether a new model has shown enough to meet users; what was not shown is not passed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capstan.domain.training import GateOutcome
from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.bootstrap import paired_difference
from capstan.evaluation.metrics import LOWER_IS_BETTER, METRICS, Booleans, Floats

LEAST_DAYS = 5
"""Resampling fewer days than these says little about the next one."""


@dataclass(frozen=True)
class Rival:
    """The version to beat, on rows that it has not learnt from."""

    name: str
    probability: Floats


def judge_against(
    rival: Rival | None,
    metric: str,
    truth: Booleans,
    probability: Floats,
    days: npt.NDArray[np.generic],
    *,
    margin: float,
    confidence: float,
    seed: int,
    decide: Decide = Decide.NOT_WORSE,
) -> GateOutcome:
    """Whether the new model may go on; None: no verdict.

    `NotWorse`: passed if the lower one-sided bound of the improvement over the rival is above minus `margin`.
    `UnlessWorse`: passed unless the upper one is below it, a choice of risk for a rival that is under alert.
    A gate is never asked for `Better`: the file refuses it.
    """
    if rival is None:
        return GateOutcome(metric, True, f"{metric}: the first version has no champion to be compared with")
    rows = f"{len(truth)} rows of {len(np.unique(days))} days that {rival.name} has not learnt from"
    if len(np.unique(days)) < LEAST_DAYS:
        return GateOutcome(
            metric,
            None,
            f"{metric} against {rival.name}: too little evidence: {rows}, needs {LEAST_DAYS} days",
        )
    if not (np.isfinite(probability).all() and np.isfinite(rival.probability).all()):
        return GateOutcome(
            metric, None, f"{metric} against {rival.name}: a prediction is not a finite number"
        )
    difference = paired_difference(
        metric, truth, probability, rival.probability, days, rng=np.random.default_rng(seed)
    )
    if difference is None or not len(difference.resampled):
        return GateOutcome(
            metric, None, f"{metric} against {rival.name}: {rows} do not define it (one class only?)"
        )
    low, high = difference.quantile(1 - confidence), difference.quantile(confidence)
    # In terms of improvement: for losses a smaller value is one.
    worst, best = (-high, -low) if metric in LOWER_IS_BETTER else (low, high)
    if decide is Decide.UNLESS_WORSE:
        shown, passed = (
            f"{decide}: the upper bound {best:+.4f} must not be below {-margin:+g}",
            best >= -margin,
        )
    else:
        shown, passed = f"{decide}: the lower bound {worst:+.4f} must be above {-margin:+g}", worst > -margin
    mine, theirs = METRICS[metric](truth, probability), METRICS[metric](truth, rival.probability)
    return GateOutcome(
        metric,
        passed,
        f"{metric} {mine:.4f} against {rival.name}'s {theirs:.4f} on {rows}: difference {difference.value:+.4f} "
        f"[{low:+.4f}, {high:+.4f}]; {shown}",
    )


def judge_value(
    name: str,
    value: float,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    shown: Callable[[float], str] = "{:g}".format,
) -> GateOutcome:
    """Passed if the value lies between the bounds; None if it is not a number."""
    bounds = [f">= {shown(least)}"] * math.isfinite(least) + [f"<= {shown(most)}"] * math.isfinite(most)
    message = f"{name} {shown(value)}, needs {' and '.join(bounds) or 'nothing'}"
    return GateOutcome(name, None if math.isnan(value) else least <= value <= most, message)

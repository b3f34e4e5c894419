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
from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups, Truth

LEAST_DAYS = 5
"""Resampling fewer days than these says little about the next one."""


@dataclass(frozen=True)
class Rival:
    """The version to beat, on rows that it has not learnt from."""

    name: str
    predictions: Predictions


def judge_against(
    rival: Rival | None,
    task: Task,
    metric: str,
    truth: Truth,
    predictions: Predictions,
    days: npt.NDArray[np.generic],
    *,
    groups: Groups | None = None,
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
    counted = task.metrics[metric].counted(truth, groups)
    rows = f"{counted} of {len(np.unique(days))} days that {rival.name} has not learnt from"
    if len(np.unique(days)) < LEAST_DAYS:
        return GateOutcome(
            metric,
            None,
            f"{metric} against {rival.name}: too little evidence: {rows}, needs {LEAST_DAYS} days",
        )
    if task.unsound(predictions).any() or task.unsound(rival.predictions).any():
        return GateOutcome(metric, None, f"{metric} against {rival.name}: a prediction is not {task.sound}")
    difference = paired_difference(
        task.metrics[metric],
        truth,
        predictions,
        rival.predictions,
        days,
        rng=np.random.default_rng(seed),
        groups=groups,
    )
    if difference is None or not len(difference.resampled):
        return GateOutcome(
            metric, None, f"{metric} against {rival.name}: {rows} do not define it (all labels the same?)"
        )
    low, high = difference.quantile(1 - confidence), difference.quantile(confidence)
    # In terms of improvement: for losses a smaller value is one.
    worst, best = (-high, -low) if task.metrics[metric].facts.direction == "Lower" else (low, high)
    if decide is Decide.UNLESS_WORSE:
        shown, passed = (
            f"{decide}: the upper bound {best:+.4f} must not be below {-margin:+g}",
            best >= -margin,
        )
    else:
        shown, passed = f"{decide}: the lower bound {worst:+.4f} must be above {-margin:+g}", worst > -margin
    return GateOutcome(
        metric,
        passed,
        f"{metric} {difference.first:.4f} against {rival.name}'s {difference.second:.4f} on {rows}: "
        f"difference {difference.value:+.4f} [{low:+.4f}, {high:+.4f}]; {shown}",
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

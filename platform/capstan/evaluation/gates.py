"""Whether a new model has shown enough to meet users; what was not shown is not passed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from capstan.domain.training import GateOutcome
from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.bootstrap import measured, paired_difference
from capstan.tasks import Metric, Predictions, Task
from capstan.tasks.metric import Groups, Truth, numbered

LEAST_DAYS = 5
"""Resampling fewer days than these says little about the next one."""
LEAST_ROWS = 30
"""The same of rows that have no time, and are resampled by themselves."""


@dataclass(frozen=True)
class GateRule:
    """What a gate asks for, in the metric's own unit."""

    metric: str
    decide: Decide = Decide.NOT_WORSE
    margin: float = 0.0
    """How much worse than the rival it may be."""
    minimum_effect: float = 0.0
    """How much better it must be; used by Better alone."""
    least: float = -math.inf
    most: float = math.inf
    """Bounds of the metric itself, where there is no rival."""
    confidence: float = 0.95
    """Of each one-sided bound."""


@dataclass(frozen=True)
class Rival:
    """Whoever is to be beaten, on the same rows; none of which it has learnt from."""

    name: str
    predictions: Predictions


@dataclass(frozen=True)
class Window:
    """Labelled rows with what the new model says of them, and the rival if there is one."""

    task: Task
    truth: Truth
    predictions: Predictions
    days: npt.NDArray[np.generic]
    """(n,): the day of each row; of rows without a time the lot, which is drawn with all its rows."""
    groups: Groups | None = None
    rival: Rival | None = None
    unit: Literal["days", "rows"] = "days"
    """What is resampled."""

    def part(self, rows: npt.NDArray[np.bool_]) -> Window:
        """Those rows alone."""
        rival = self.rival
        return Window(
            self.task,
            self.truth[rows],
            self.predictions.rows(rows),
            self.days[rows],
            None if self.groups is None else numbered(self.groups[rows]),
            None if rival is None else Rival(rival.name, rival.predictions.rows(rows)),
            self.unit,
        )

    def judged_by(self, metric: Metric) -> Window:
        """The rows about which the metric says anything; others, such as those without a label, are no evidence."""
        if metric.judges is None or metric.facts.unit == "group":
            return self
        return self.part(metric.judges(self.truth))

    @property
    def day_count(self) -> int:
        return len(np.unique(self.days))

    @property
    def least(self) -> int:
        """Days, or lots of rows, below which nothing is said."""
        return LEAST_DAYS if self.unit == "days" else LEAST_ROWS

    @property
    def of_days(self) -> str:
        """How many days there are, in words behind a count of rows; empty for rows without a time."""
        return f" of {self.day_count} days" if self.unit == "days" else ""


@dataclass(frozen=True)
class Finding:
    """What a window says about a rule."""

    passed: bool | None
    """None: no verdict."""
    words: str
    """Values, interval and what was needed; or what was missing."""
    value: float = math.nan
    """Of the new model."""
    rival: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """One-sided bounds: of the difference to the rival, or of the value where there is none."""


FIRST_VERSION = "the first version has no champion to be compared with"


def judge(rule: GateRule, window: Window, *, seed: int) -> GateOutcome:
    """Whether the new model may go on, by the window as a whole; None: no verdict.

    `NotWorse`: passed if the lower one-sided bound of the improvement over the rival is above minus `margin`, or that
    of the metric keeps the gate's own bounds. `Better`: above `minimumEffect`. `UnlessWorse`: passed unless the other
    one-sided bound shows the contrary, a choice of risk for a rival that is under alert.
    """
    found = find(rule, window, seed=seed)
    return GateOutcome(rule.metric, found.passed, f"{rule.metric} {found.words}")


def find(rule: GateRule, window: Window, *, seed: int) -> Finding:
    """The same with its numbers; `words` leave out the metric's name."""
    window = window.judged_by(window.task.metrics[rule.metric])
    against = "" if window.rival is None else f"against {window.rival.name}: "
    rows = _rows_in_words(rule, window)
    if window.day_count < window.least:
        return Finding(None, f"{against}too little evidence: {rows}, needs {window.least} {window.unit}")
    said = [window.predictions, *([] if window.rival is None else [window.rival.predictions])]
    if any(window.task.unsound(one).any() for one in said):
        return Finding(None, f"{against}a prediction is not {window.task.sound}")
    found = (_kept if window.rival is None else _compared)(rule, window, rows, seed)
    return found or Finding(None, f"{against}{rows} do not define it (all labels the same?)")


def _rows_in_words(rule: GateRule, window: Window) -> str:
    counted = window.task.metrics[rule.metric].counted(window.truth, window.groups)
    unseen = "" if window.rival is None else f" that {window.rival.name} has not learnt from"
    return f"{counted}{window.of_days}{unseen}"


def _compared(rule: GateRule, window: Window, rows: str, seed: int) -> Finding | None:
    assert window.rival is not None
    metric = window.task.metrics[rule.metric]
    difference = paired_difference(
        metric,
        window.truth,
        window.predictions,
        window.rival.predictions,
        window.days,
        rng=np.random.default_rng(seed),
        groups=window.groups,
    )
    if difference is None or not len(difference.resampled):
        return None
    low, high = difference.bound(1 - rule.confidence), difference.bound(rule.confidence)
    # In terms of improvement: for losses a smaller value is one.
    worst, best = (-high, -low) if metric.facts.direction == "Lower" else (low, high)
    match rule.decide:
        case Decide.UNLESS_WORSE:
            passed = best >= -rule.margin
            needed = f"the upper bound {best:+.4f} must not be below {0 - rule.margin:+g}"
        case Decide.NOT_WORSE:
            passed = worst > -rule.margin
            needed = f"the lower bound {worst:+.4f} must be above {0 - rule.margin:+g}"
        case Decide.BETTER:
            passed = worst > rule.minimum_effect
            needed = f"the lower bound {worst:+.4f} must be above {rule.minimum_effect:+g}"
    return Finding(
        passed,
        f"{difference.first:.4f} against {window.rival.name}'s {difference.second:.4f} on {rows}: "
        f"difference {difference.value:+.4f} [{low:+.4f}, {high:+.4f}]; {rule.decide}: {needed}",
        difference.first,
        difference.second,
        low,
        high,
    )


def _kept(rule: GateRule, window: Window, rows: str, seed: int) -> Finding | None:
    """The metric itself against the rule's bounds."""
    found = measured(
        window.task.metrics[rule.metric],
        window.truth,
        window.predictions,
        window.days,
        rng=np.random.default_rng(seed),
        groups=window.groups,
    )
    if found is None or not len(found.resampled):
        return None
    low, high = found.bound(1 - rule.confidence), found.bound(rule.confidence)
    is_lenient = rule.decide is Decide.UNLESS_WORSE
    # By the bound on the side of the doubt: what must be shown is held by the worse one.
    over, under = (high, low) if is_lenient else (low, high)
    verb = "must not be" if is_lenient else "must be"
    asked = []
    if math.isfinite(rule.least):
        word = "below" if is_lenient else "at least"
        asked.append(f"the {'upper' if is_lenient else 'lower'} bound {verb} {word} {rule.least:g}")
    if math.isfinite(rule.most):
        word = "above" if is_lenient else "at most"
        asked.append(f"the {'lower' if is_lenient else 'upper'} bound {verb} {word} {rule.most:g}")
    return Finding(
        over >= rule.least and under <= rule.most,
        f"{found.value:.4f} [{low:.4f}, {high:.4f}] on {rows}; {rule.decide}: {' and '.join(asked)}",
        found.value,
        low=low,
        high=high,
    )


def judge_value(
    name: str,
    value: float,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    shown: Callable[[float], str] = "{:g}".format,
) -> GateOutcome:
    """Passed if a number that is known exactly lies between the bounds; None if it is not a number."""
    bounds = [f">= {shown(least)}"] * math.isfinite(least) + [f"<= {shown(most)}"] * math.isfinite(most)
    message = f"{name} {shown(value)}, needs {' and '.join(bounds) or 'nothing'}"
    return GateOutcome(name, None if math.isnan(value) else least <= value <= most, message)

"""Whether groups are answered alike: numbers by fairlearn, their bounds by resampling days; a gate like any other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from capstan.domain.training import GateOutcome
from capstan.domain.verdicts.quality import Decide
from capstan.errors import MissingExtraError
from capstan.evaluation.bootstrap import day_weights
from capstan.evaluation.gates import Window
from capstan.evaluation.grouping import Grouping
from capstan.evaluation.pairs import largest_difference, shares_of, smallest_ratio
from capstan.evaluation.slices import MOST_VALUES
from capstan.evaluation.tables import table
from capstan.tasks import Metric
from capstan.tasks.metric import Booleans, Floats
from capstan.tasks.probabilities import THRESHOLD, answered_true

LEAST_SAMPLES = 1000
"""Resamples in which every group has rows; of fewer nothing is made."""
FairnessMetric = Literal["DemographicParity", "EqualOpportunity", "EqualisedOdds"]
_FUNCTIONS: Mapping[FairnessMetric, str] = {
    "DemographicParity": "demographic_parity",
    "EqualOpportunity": "equal_opportunity",
    "EqualisedOdds": "equalized_odds",
}
"""As fairlearn calls them."""
_SHARES: Mapping[FairnessMetric, tuple[str, ...]] = {
    "DemographicParity": ("selection rate",),
    "EqualOpportunity": ("true positive rate",),
    "EqualisedOdds": ("true positive rate", "false positive rate"),
}


@dataclass(frozen=True)
class FairnessRule:
    """What a gate of fairness asks for; exactly one of the bounds is there."""

    metric: FairnessMetric
    most_difference: float | None = None
    least_ratio: float | None = None
    decide: Decide = Decide.NOT_WORSE
    confidence: float = 0.95
    threshold: float = THRESHOLD
    """From which probability on the answer is true."""


@dataclass(frozen=True)
class Spread:
    """How far groups lie apart."""

    value: float
    """The largest difference, or the smallest ratio; by fairlearn."""
    low: float
    high: float
    """One-sided bounds."""
    between: str
    """The two groups, with their shares."""


def require_fairlearn() -> None:
    """Raises MissingExtraError where fairlearn is not installed."""
    if find_spec("fairlearn") is None:
        raise MissingExtraError("evaluation.fairness", "fair")


def judge_fairness(
    rule: FairnessRule, window: Window, grouping: Grouping, metric: Metric, *, seed: int
) -> tuple[GateOutcome, dict[str, Any]]:
    """Whether the groups are answered alike, and the table of the groups, with the `metric` of each.

    A share needs `least_rows` rows that it is of, on five days; a group that has fewer is missing evidence. Raises
    MissingExtraError.
    """
    require_fairlearn()
    names = grouping.judged
    shown = names[:MOST_VALUES]
    lacking = {name: why for name in shown if (why := _lacks(rule, window, grouping, name))}
    judged = [name for name in shown if name not in lacking]
    told = []
    if len(names) > len(shown):
        told.append(f"only the {len(shown)} largest of {len(names)} groups are judged")
    if lacking:
        word = "left out, for want of evidence: " if grouping.leaves_out else "no evidence: "
        told.append(word + ", ".join(f"{name} ({why})" for name, why in lacking.items()))
    passed, words = _decided(rule, window, grouping, judged, seed)
    if len(names) > len(shown) or (lacking and not grouping.leaves_out):
        passed = False if passed is False else None
    message = "; ".join([f"{rule.metric} by {grouping.title}: {words}", *told])
    return GateOutcome(rule.metric, passed, message), _table(rule, window, grouping, metric, shown, lacking)


def _lacks(rule: FairnessRule, window: Window, grouping: Grouping, name: str) -> str:
    """Why the group says too little; empty if it does not."""
    mine = grouping.of_rows == name
    for share in _SHARES[rule.metric]:
        rows = mine & _of(share, window)
        words = {"true positive rate": " with a true label", "false positive rate": " with a false label"}
        if (count := int(rows.sum())) < grouping.least_rows:
            return f"{count:,} rows{words.get(share, '')}, needs {grouping.least_rows:,}"
        part = window.part(rows)
        if part.day_count < part.least:
            return f"rows{part.of_days}{words.get(share, '')}, needs {part.least} {part.unit}"
    return ""


def _of(share: str, window: Window) -> Booleans:
    """The rows that the share is of."""
    truth = window.truth.astype(np.bool_)
    return {
        "selection rate": np.ones_like(truth),
        "true positive rate": truth,
        "false positive rate": ~truth,
    }[share]


def _decided(
    rule: FairnessRule, window: Window, grouping: Grouping, judged: list[str], seed: int
) -> tuple[bool | None, str]:
    if len(judged) < 2:
        return None, f"{len(judged)} group with enough evidence, and two are compared"
    if window.task.unsound(window.predictions).any():
        return None, f"a prediction is not {window.task.sound}"
    rows = np.isin(grouping.of_rows, judged)
    part = window.part(rows)
    spread = spread_of(rule, part, grouping.of_rows[rows], seed=seed)
    if spread is None:
        return None, "the rows do not define it (none answered true, or groups on days of their own?)"
    bound, passed, needed = _held(rule, spread)
    return passed, (
        f"{bound} {spread.value:.4f} [{spread.low:.4f}, {spread.high:.4f}], between {spread.between}, on "
        f"{len(part.truth):,} rows{part.of_days}; {rule.decide}: {needed}"
    )


def _held(rule: FairnessRule, spread: Spread) -> tuple[str, bool, str]:
    is_lenient = rule.decide is Decide.UNLESS_WORSE
    verb = "must not be" if is_lenient else "must be"
    if rule.most_difference is not None:
        side, value = ("lower", spread.low) if is_lenient else ("upper", spread.high)
        asked = f"the {side} bound {verb} {'above' if is_lenient else 'at most'} {rule.most_difference:g}"
        return "largest difference", value <= rule.most_difference, asked
    assert rule.least_ratio is not None
    side, value = ("upper", spread.high) if is_lenient else ("lower", spread.low)
    asked = f"the {side} bound {verb} {'below' if is_lenient else 'at least'} {rule.least_ratio:g}"
    return "smallest ratio", value >= rule.least_ratio, asked


def spread_of(rule: FairnessRule, window: Window, of_rows: Any, *, seed: int) -> Spread | None:
    """How far the groups lie apart, all of which count; None where nothing defines it. `of_rows` names each row's."""
    import fairlearn.metrics

    selected, truth = answered_true(window.predictions, rule.threshold), window.truth.astype(np.bool_)
    kind = "difference" if rule.most_difference is not None else "ratio"
    function = getattr(fairlearn.metrics, f"{_FUNCTIONS[rule.metric]}_{kind}")
    value = float(function(truth, selected, sensitive_features=of_rows))
    if not math.isfinite(value):
        return None
    names, group = np.unique(of_rows, return_inverse=True)
    days, place = np.unique(window.days, return_inverse=True)
    weights = day_weights(len(days), rng=np.random.default_rng(seed))

    shares = [
        shares_of(selected, _of(share, window), group.reshape(-1), place.reshape(-1), weights)
        for share in _SHARES[rule.metric]
    ]
    if any(one.days < window.least or len(one.resampled) < LEAST_SAMPLES for one in shares):
        return None
    low, high = (largest_difference if kind == "difference" else smallest_ratio)(shares, rule.confidence)
    return Spread(value, low, high, _between(rule, names.tolist(), [one.found for one in shares], kind))


def _between(rule: FairnessRule, names: list[str], shares: list[Floats], kind: str) -> str:
    """The share whose groups lie farthest apart, and which these are."""
    apart = [
        one.max() - one.min() if kind == "difference" else -one.min() / one.max() if one.max() else 0.0
        for one in shares
    ]
    at = int(np.argmax(apart))
    share, values = _SHARES[rule.metric][at], shares[at]
    top, bottom = int(values.argmax()), int(values.argmin())
    return f"{names[top]} ({share} {values[top]:.4f}) and {names[bottom]} ({values[bottom]:.4f})"


def _table(
    rule: FairnessRule,
    window: Window,
    grouping: Grouping,
    metric: Metric,
    shown: list[str],
    lacking: Mapping[str, str],
) -> dict[str, Any]:
    """The groups as fairlearn counts them."""
    from fairlearn.metrics import MetricFrame, count, false_positive_rate, selection_rate, true_positive_rate

    frame = MetricFrame(
        metrics={
            "rows": count,
            "selection rate": selection_rate,
            "true positive rate": true_positive_rate,
            "false positive rate": false_positive_rate,
        },
        y_true=window.truth.astype(np.bool_),
        y_pred=answered_true(window.predictions, rule.threshold),
        sensitive_features=grouping.of_rows,
    ).by_group
    cells: list[list[float | int | str | None]] = []
    for name in shown:
        mine = grouping.of_rows == name
        part = window.part(mine)
        # A rate of no row is none; fairlearn says 0.
        rates: list[float | None] = [
            float(frame.loc[name, share]) if (mine & _of(share, window)).any() else None
            for share in ("selection rate", "true positive rate", "false positive rate")
        ]
        value = metric.value(part.truth, part.predictions.settled(), part.groups) if mine.any() else math.nan
        word = "judged" if name not in lacking else "left out" if grouping.leaves_out else "no evidence"
        cells.append([int(mine.sum()), *rates, value, word])
    return table(
        f"Fairness: {rule.metric} by {grouping.title}",
        (grouping.title, "what the gate saw"),
        shown,
        ["rows", "selection rate", "true positive rate", "false positive rate", metric.facts.title, "gate"],
        cells,
    )

"""Which thresholds of the file's alerts keep to a budget of false alarms, by what each would have done with history.

Each candidate is a policy of a backtest: another threshold means other alerts, other trainings and other champions.
What a false alarm is, hindsight tells by the file as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scipy.special import chdtri

from capstan.embedded.backtest.grid import Finished
from capstan.embedded.backtest.hindsight import WINDOWS_AFTER
from capstan.errors import InvalidSpecError, Mistake
from capstan.monitoring.drift.calibration import MONTH
from capstan.spec import MLSystem

CONFIDENCE = 0.95
MIN_EFFECTS = (0.05, 0.1, 0.15, 0.2, 0.3)
"""Candidates for `monitoring.drift.minEffect`, beside the file's own."""
DROPS = (0.5, 1.0, 1.5, 2.0)
"""Candidates for `monitoring.quality.maxDrop`, in multiples of the file's own: a drop has the metric's unit."""
_PER = {"week": timedelta(days=7), "month": MONTH, "year": 12 * MONTH}
_BUDGET = re.compile(r"(\d+(?:\.\d+)?)/(week|month|year)")


@dataclass(frozen=True)
class Budget:
    """How many false alarms are taken."""

    written: str
    per_month: float

    @classmethod
    def read(cls, written: str) -> Budget:
        """Of `1/month`; raises InvalidSpecError."""
        match = _BUDGET.fullmatch(written.strip())
        if match is None or not float(match[1]):
            rule = "must read NUMBER/month, NUMBER/week or NUMBER/year with a number above 0, such as 1/month"
            raise InvalidSpecError([Mistake(f"--false-alarms {written}", rule)])
        return cls(written, float(match[1]) * (MONTH / _PER[match[2]]))

    @property
    def months_needed(self) -> float:
        """History without one false alarm that shows, at 95 %, that there are no more than the budget."""
        return most_expected(0) / self.per_month


@dataclass(frozen=True)
class Candidate:
    """What thresholds would have done."""

    values: Mapping[str, str]
    """Path -> value."""
    false_alarms: int
    """With those that are `untold`."""
    untold: int
    """Alerts of which the history does not tell whether anything hurt, though it goes on: labels are missing."""
    per_month: float
    most_per_month: float
    """With 95 % confidence there are no more in the long run, if the future is like this history."""
    delay_days: float | None
    """None: nothing hurt."""
    missed: int
    hurt: int
    trainings: int
    failed_trainings: int
    """Above 0: another run may come to something else, so it is not proposed."""


@dataclass(frozen=True)
class Calibration:
    """What the history says."""

    months: float
    """Of history in which a false alarm can be told: it takes the windows after it."""
    candidates: tuple[Candidate, ...]
    proposed: Candidate | None
    why: str
    """Why this one, or why none."""


def candidates_of(system: MLSystem) -> list[str]:
    """Values of the file's alerts to try, as `--vary` takes them."""
    watched = system.spec.monitoring
    effects = dict.fromkeys(f"{one:g}" for one in sorted({*MIN_EFFECTS, watched.drift.min_effect}))
    drops = [f"{watched.quality.max_drop * share:.6g}" for share in DROPS]
    return [
        f"monitoring.drift.minEffect={','.join(effects)}",
        f"monitoring.quality.maxDrop={','.join(drops)}",
    ]


def require_watched(written: Sequence[str]) -> None:
    """Raises InvalidSpecError for a path that is no threshold of an alert."""
    for option in written:
        path = option.partition("=")[0].strip().removeprefix("spec.")
        if not path.startswith("monitoring."):
            rule = "is no threshold of an alert; name a field of monitoring, or use `capstan backtest`, which takes any"
            raise InvalidSpecError([Mistake(f"--vary {option}", rule)])


def why_too_short(start: datetime, end: datetime, window: timedelta, budget: Budget) -> str:
    """Why no candidate could be shown to keep to the budget, whatever it did; empty: the history is long enough.

    `window` is the file's: whether an alert is false is known some windows later.
    """
    months = judged_months(start, end, window)
    if months >= budget.months_needed:
        return ""
    return (
        f"the history is too short: even without one false alarm, {months:.1f} months do not show that there are no "
        f"more than {budget.written}; that takes {budget.months_needed:.1f} months, and {WINDOWS_AFTER} windows more "
        "to tell what the last alerts were worth; replay more of them, or allow more false alarms"
    )


def calibrate(finished: Sequence[Finished], budget: Budget, window: timedelta) -> Calibration:
    """The thresholds shown to keep to the budget that tell of harm soonest, of a history that is long enough."""
    first = finished[0].result
    start, end = datetime.fromisoformat(first["start"]), datetime.fromisoformat(first["end"])
    months = judged_months(start, end, window)
    found = tuple(_candidate(one, months, end - WINDOWS_AFTER * window) for one in finished)
    whole = [one for one in found if not one.failed_trainings]
    if not whole:
        why = "a training of every candidate failed; the same command runs them again"
        return Calibration(months, found, None, why)
    within = [one for one in whole if one.most_per_month <= budget.per_month]
    if not within:
        least = min(whole, key=lambda one: one.per_month)
        why = (
            f"no candidate is shown to keep to {budget.written}: the fewest are {least.per_month:.2f} a month, which "
            f"allows {least.most_per_month:.2f} in the long run; try larger values with --vary, replay a longer "
            "history, or allow more false alarms"
        )
        return Calibration(months, found, None, why)
    seen = [one for one in within if one.hurt]
    if not seen:
        why = (
            "nothing hurt in this history with any candidate within the budget, so it does not tell which of them "
            "would see harm, nor how late; replay days in which the model got worse"
        )
        return Calibration(months, found, None, why)
    best = min(
        seen, key=lambda one: (one.missed / one.hurt, one.delay_days or 0.0, one.false_alarms, one.trainings)
    )
    why = "of those within the budget it misses the smallest share of champions that hurt, and tells of them soonest"
    return Calibration(months, found, best, why)


def most_expected(seen: int) -> float:
    """The largest mean of a Poisson count that still gives at most so many with 5 % probability (Garwood, 1936)."""
    return float(chdtri(2 * (seen + 1), 1 - CONFIDENCE)) / 2


def lines_of(values: Mapping[str, str]) -> str:
    """The values as lines of the file, below `spec`."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return "\n".join(_lines(tree, 1))


def judged_months(start: datetime, end: datetime, window: timedelta) -> float:
    """Of a history, those in which a false alarm can be told: it takes some windows after it."""
    return max(0.0, (end - start - WINDOWS_AFTER * window) / MONTH)


def _lines(tree: Mapping[str, Any], depth: int) -> list[str]:
    found = []
    for name, value in tree.items():
        pad = "  " * depth
        found += (
            [f"{pad}{name}:", *_lines(value, depth + 1)]
            if isinstance(value, dict)
            else [f"{pad}{name}: {value}"]
        )
    return found


def _candidate(one: Finished, months: float, told_until: datetime) -> Candidate:
    result = one.result
    untold = sum(
        alert["is_false"] is None and datetime.fromisoformat(alert["at"]) <= told_until
        for alert in result["judged_alerts"]
    )
    seen = result["false_alarms"] + untold
    return Candidate(
        values=one.policy.values,
        false_alarms=seen,
        untold=untold,
        per_month=seen / months,
        most_per_month=most_expected(seen) / months,
        delay_days=result["delay_days"],
        missed=result["missed"],
        hurt=result["hurt_reigns"],
        trainings=result["trainings"],
        failed_trainings=result["failed_trainings"],
    )

"""Whether a training kept to the time and the cost that the file allows."""

from __future__ import annotations

import math
from datetime import timedelta

from capstan.domain.training import GateOutcome
from capstan.evaluation.gates import judge_value
from capstan.spec.objective import Requirements
from capstan.spec.units import format_duration


def judge_training(requirements: Requirements, seconds: float | None) -> list[GateOutcome]:
    """An outcome for each bound of the file. `seconds`: how long the training took; None: not known, so no verdict."""
    taken = math.nan if seconds is None else seconds
    found = []
    if requirements.training_time is not None:
        most = requirements.training_time.total_seconds()
        found.append(judge_value("trainingTime", taken, most=most, shown=_in_time))
    if requirements.training_cost is not None:
        cost = requirements.training_cost

        def in_money(value: float) -> str:
            return "not known" if not math.isfinite(value) else f"{value:.4g} {cost.currency or ''}".rstrip()

        spent = taken / 3600 * cost.per_hour
        found.append(judge_value("trainingCost", spent, most=cost.most, shown=in_money))
    return found


def _in_time(seconds: float) -> str:
    return "not known" if not math.isfinite(seconds) else format_duration(timedelta(seconds=round(seconds)))

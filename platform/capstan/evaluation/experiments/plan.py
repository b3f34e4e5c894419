"""What is fixed about an experiment before anybody looks at its outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from capstan.domain.verdicts.experiments import ExperimentRule
from capstan.errors import InvalidSpecError, Mistake
from capstan.evaluation.experiments.columns import Block
from capstan.evaluation.experiments.units import Units


@dataclass(frozen=True)
class ExperimentPlan:
    """All that must be fixed before anybody looks at outcomes."""

    control: str = "control"
    shares: Mapping[str, int] | None = None
    """Arm -> weight; None: equal shares."""
    rule: ExperimentRule = field(default_factory=ExperimentRule)
    """`comparisons` is set by the analysis."""
    by: Block = Block.UNIT
    planned_blocks: int = 14
    """Blocks at which a decision is expected, where blocks are independent."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value that outcomes above it count as."""


def require_shares(units: Units, plan: ExperimentPlan) -> dict[str, int]:
    """Arm -> wanted weight; raises InvalidSpecError where plan and log do not fit."""
    mistakes = []
    shares = dict(plan.shares) if plan.shares is not None else dict.fromkeys(units.arms, 1)
    strange = [arm for arm in units.arms if arm not in shares]
    if strange:
        mistakes.append(
            Mistake(
                "--shares",
                f"the log has the arm {strange[0]!r}, which is none of {', '.join(shares)}; name every arm that units "
                "were assigned to, or remove its rows",
            )
        )
    if plan.control not in shares:
        mistakes.append(
            Mistake(
                "--control",
                f"{plan.control!r} is no arm; the arms are {', '.join(sorted(shares))}: name one of them",
            )
        )
    for metric, cap in plan.caps.items():
        if metric not in units.metrics:
            mistakes.append(
                Mistake("--cap", f"{metric!r} is no metric; name one of {', '.join(units.metrics)}")
            )
        elif not math.isfinite(cap):
            mistakes.append(Mistake("--cap", f"{cap} of {metric!r} must be a finite number"))
    if mistakes:
        raise InvalidSpecError(mistakes)
    return shares

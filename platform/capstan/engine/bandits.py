"""Turns the file's bandits into steps: what a reward is, and in which interval it lies."""

from __future__ import annotations

from datetime import timedelta

from capstan.domain.steps.bandit import BanditStep
from capstan.domain.verdicts.bandits import BanditRule, Policy
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName
from capstan.engine.experiments import outcome_of
from capstan.spec import MLSystem
from capstan.spec.bandit import Bandit
from capstan.spec.providers import PROVIDERS


def bandit_step(written: Bandit, system: MLSystem) -> BanditStep:
    """The step as the loop goes by it."""
    outcome = outcome_of(written.metric, system, window=written.window, cap=written.cap)
    provider = PROVIDERS[system.spec.serving.traffic.provider]
    return BanditStep(
        primary=outcome,
        shares=BanditRule(
            policy=Policy(written.policy),
            floor=written.floor,
            epsilon=written.epsilon,
            is_binary=outcome.is_share,
            reach=_reach(written, system, outcome.cap),
        ),
        arms=tuple(VersionName(arm) for arm in written.arms),
        runners_up=written.runners_up,
        guarded=tuple(
            outcome_of(one.metric, system, window=written.window, margin=one.margin)
            for one in written.guardrails
        ),
        by_request=written.per == "Request",
        by_version=not provider.keeps_units and written.per == "Batch",
        settles=provider.settles if written.per == "Batch" else timedelta(0),
        batch=written.batch,
        decide=Decide(written.decide),
        margin=written.margin,
        minimum_effect=written.minimum_effect,
        alpha=written.alpha,
        min_units=written.min_units,
        duration=written.duration,
        deadline=written.deadline,
    )


def _reach(written: Bandit, system: MLSystem, cap: float | None) -> float:
    """Length of the interval in which rewards lie; 1 where no cap is known, which UCB1 alone would need."""
    online = next((one for one in system.spec.evaluation.online if one.name == written.metric), None)
    if cap is None or (online is not None and online.aggregate == "Rate"):
        return 1.0
    # Values of events may be negative, losses and counts may not.
    return 2 * cap if online is not None and online.aggregate in ("Sum", "Mean") else cap

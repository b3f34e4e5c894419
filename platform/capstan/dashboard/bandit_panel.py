"""A bandit as the page draws it: the weights that it gave its arms, and what that has cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from capstan.dashboard.observation import Observed, ObservedRollout
from capstan.dashboard.page import BanditShown, MoveShown
from capstan.domain.moving_weights import MILLIONTHS, MovedWeights
from capstan.domain.rollout import RolloutPhase
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.verdicts.bandit_inference import Regret, regret
from capstan.domain.verdicts.experiments import Better


def bandit_shown(seen: Observed, rollout: ObservedRollout) -> BanditShown | None:
    """The bandit that runs, else the last one that the rollout has been through; None: there is none."""
    state, steps = rollout.state, seen.policy.rollout.steps
    if state.policy_digest != seen.policy.rollout.digest:
        return None
    if state.moves and state.step < len(steps):
        step, is_running = steps[state.step], state.phase is RolloutPhase.PROGRESSING
        if isinstance(step, BanditStep):
            until = seen.now if state.finished_at is None else state.finished_at
            return _shown(step, state.moves, until, is_running=is_running)
    for span in reversed(state.spans):
        step = steps[min(span.step, len(steps) - 1)]
        if isinstance(step, BanditStep) and span.moves:
            return _shown(step, span.moves, span.until, is_running=False)
    return None


def _shown(
    step: BanditStep, moves: Sequence[MovedWeights], until: datetime, *, is_running: bool
) -> BanditShown:
    lost = _lost(moves[-1], step.primary.better)
    return BanditShown(
        policy=step.shares.policy.value,
        metric=step.primary.metric,
        better=step.primary.better.value,
        is_running=is_running,
        until=until,
        moves=[
            MoveShown(
                at=move.since or until,
                weights={str(version): weight for version, weight in move.weights.items()},
                means={str(version): mean / MILLIONTHS for version, mean in move.means.items()},
            )
            for move in moves
        ],
        units=sum(moves[-1].assigned.values()),
        regret=lost.bandit if lost is not None else None,
        even=lost.even if lost is not None else None,
    )


def _lost(move: MovedWeights, better: Better) -> Regret | None:
    if not move.means or move.means.keys() != move.weights.keys():
        return None
    sign = 1 if better is Better.HIGHER else -1
    means = {str(version): sign * mean / MILLIONTHS for version, mean in move.means.items()}
    return regret({str(version): count for version, count in move.assigned.items()}, means)

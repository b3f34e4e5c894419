"""The steps of a rollout that ask users: who took part, from when until when, and what was answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from capstan.domain.moving_weights import MovedWeights
from capstan.domain.rollout import (
    LatestVerdict,
    RolloutCause,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    StepSpan,
    wanted_split,
)
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.interleave import InterleaveStep
from capstan.domain.steps.questions import Arms, Interleaving, Question
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName

Asking: TypeAlias = ExperimentStep | BanditStep | InterleaveStep


@dataclass(frozen=True)
class OnlineStep:
    """A step that asks users, which runs or is over."""

    number: int
    """Its place in the file, from 1."""
    step: Asking
    split: TrafficSplit
    since: datetime
    until: datetime
    """Now, while it runs."""
    is_running: bool
    latest: Mapping[str, LatestVerdict]
    moves: tuple[MovedWeights, ...]
    questions: tuple[Question, ...]
    """What the step asks itself; the first one decides."""

    @property
    def weights(self) -> dict[VersionName, int]:
        """Shares of the arms in percent, the champion first, without those that left."""
        return {arm.version: int(arm.weight) for arm in self.split.arms if not arm.is_vacant}

    @property
    def champion(self) -> VersionName:
        return self.split.champion

    @property
    def challenger(self) -> VersionName:
        """The rollout's own; further arms come after it."""
        both = self.split.interleaved
        return both.challenger if both is not None else self.split.arms[1].version

    @property
    def needs(self) -> tuple[Arms | Interleaving, ...]:
        """The evidence of its questions, that of the first one first."""
        needs = dict.fromkeys(question.need for question in self.questions)
        return tuple(need for need in needs if isinstance(need, Arms | Interleaving))


def online_steps(
    request: RolloutRequest, state: RolloutState, policy: RolloutPolicy, *, now: datetime
) -> list[OnlineStep]:
    """In order of time, the running one last; none of a rollout that went by another file than `policy`."""
    if request.cause is not RolloutCause.CHALLENGER or state.policy_digest != policy.digest:
        return []
    policy = policy.of(request)
    over = [found for span in state.spans if (found := _of_span(span, policy)) is not None]
    running = _running(request, state, policy, now)
    return [*over, running] if running is not None else over


def _of_span(span: StepSpan, policy: RolloutPolicy) -> OnlineStep | None:
    if span.step >= len(policy.steps) or span.split is None:
        return None
    return _online(span, policy, span.split, is_running=False)


def _running(
    request: RolloutRequest, state: RolloutState, policy: RolloutPolicy, now: datetime
) -> OnlineStep | None:
    split = wanted_split(request, state, policy.steps)
    if state.phase is not RolloutPhase.PROGRESSING or state.step >= len(policy.steps):
        return None
    if state.step_since is None or split is None:
        return None
    span = StepSpan(state.step, state.step_since, now, state.moves, split, state.latest)
    return _online(span, policy, split, is_running=True)


def _online(
    span: StepSpan, policy: RolloutPolicy, split: TrafficSplit, *, is_running: bool
) -> OnlineStep | None:
    step = policy.steps[span.step]
    if not isinstance(step, Asking):
        return None
    then = replace(RolloutState.at_step(span.step), step_since=span.since, moves=span.moves)
    return OnlineStep(
        number=span.step + 1,
        step=step,
        split=split,
        since=span.since,
        until=span.until,
        is_running=is_running,
        latest=span.latest,
        moves=span.moves,
        questions=step.questions(policy, split, then),
    )

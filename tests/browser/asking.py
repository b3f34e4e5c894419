"""Steps that ask users, as the page gets them: the panels' own code over noisy evidence, without an engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from capstan.dashboard.online_panel import UserEvidence, online_shown
from capstan.dashboard.page import (
    BanditShown,
    Clocks,
    EventShown,
    ExperimentShown,
    Head,
    Page,
    PreferenceShown,
    RolloutShown,
    StepShown,
)
from capstan.domain.moving_weights import MILLIONTHS, MovedWeights
from capstan.domain.online_steps import Asking, OnlineStep
from capstan.domain.reasons import Tone
from capstan.domain.rollout import LatestVerdict, RolloutPolicy, RolloutState
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import ExperimentStep, Outcome
from capstan.domain.steps.interleave import InterleaveStep
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.verdicts.bandits import BanditRule
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.preference import ListClicks, PreferenceCounts, PreferenceDay, PreferenceEvidence
from capstan.domain.versions import SystemName, VersionName
from capstan.engine.standstill import Standstill

START = datetime(2013, 6, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
V4, V5, V2 = VersionName("v4"), VersionName("v5"), VersionName("v2")
CLICKS = Outcome("clicks", Better.HIGHER, DAY, timedelta(0), is_loss=False, is_share=True)
SURPRISED = Outcome("surprised", Better.LOWER, DAY, timedelta(0), is_loss=False, is_share=True, margin=0.02)
REVENUE = Outcome("revenue", Better.HIGHER, DAY, timedelta(0), is_loss=False)


def days(
    begin: Sequence[datetime],
    shares: Sequence[dict[VersionName, float]],
    means: dict[VersionName, float],
    *,
    per_day: int = 900,
    hours: Sequence[float] = (),
) -> tuple[ArmDay, ...]:
    """Outcomes of 0 and 1 by day, or by stretch of so many hours."""
    noise = random.Random(7)
    found = []
    for place, start in enumerate(begin):
        share = shares[min(place, len(shares) - 1)]
        arms = {}
        for version, part in share.items():
            units = round(per_day * part * (hours[place] / 24 if hours else 1) * noise.uniform(0.97, 1.03))
            ones = float(sum(noise.random() < means[version] for _ in range(units)))
            arms[version] = ArmSums(units, units, units, ones, ones, ones)
        found.append(ArmDay(start, arms))
    return tuple(found)


def step_shown(
    step: Asking,
    split: TrafficSplit,
    length: timedelta,
    evidence: UserEvidence | ArmsEvidence | PreferenceEvidence,
    *,
    is_running: bool,
    moves: tuple[MovedWeights, ...] = (),
) -> ExperimentShown | BanditShown | PreferenceShown:
    """The step with the answers of its own questions to the evidence."""
    policy = RolloutPolicy((step,), {})
    state = replace(RolloutState.at_step(0), step_since=START, moves=moves)
    questions = step.questions(policy, split, state)
    known = evidence if isinstance(evidence, dict) else {question.need: evidence for question in questions}
    until = START + length
    latest = {}
    for question in questions:
        result = question.judge(known[question.need], None)
        latest[question.name] = LatestVerdict(result.verdict.value, result.message, until)
    online = OnlineStep(1, step, split, START, until, is_running, latest, moves, questions)
    shown = online_shown(online, known)
    assert shown is not None
    return shown


EXPERIMENT = ExperimentStep(
    Weight(33), CLICKS, arms=(Arm(V2, Weight(33)),), secondary=(REVENUE,), guarded=(SURPRISED,)
)
ARMS = TrafficSplit((Arm(V4, Weight(34)), Arm(V5, Weight(33)), Arm(V2, Weight(33))), salt="r")


def experiment(
    *, is_running: bool = True, lost: float = 1.0
) -> ExperimentShown | BanditShown | PreferenceShown:
    """Three arms and twenty days; `lost` is the share of v5's users that is not lost."""
    starts = [START + number * DAY for number in range(20)]
    shares = [{V4: 0.34, V5: 0.33 * lost, V2: 0.33}]
    by_metric = {
        "clicks": {V4: 0.10, V5: 0.128, V2: 0.102},
        "surprised": {V4: 0.2, V5: 0.195, V2: 0.21},
        "revenue": {V4: 0.4, V5: 0.41, V2: 0.4},
    }
    policy, state = RolloutPolicy((EXPERIMENT,), {}), RolloutState.at_step(0)
    needs = [question.need for question in EXPERIMENT.questions(policy, ARMS, state)]
    known = {
        need: ArmsEvidence(days(starts, shares, by_metric[need.metric]), crossed=3)  # type: ignore[union-attr]
        for need in needs
    }
    return step_shown(EXPERIMENT, ARMS, 20 * DAY, known, is_running=is_running)  # type: ignore[arg-type]


def bandit(
    *, is_running: bool = True, is_guarded: bool = False
) -> ExperimentShown | BanditShown | PreferenceShown:
    """Fifteen moves of six hours."""
    weights = [34, 36, 31, 27, 24, 24, 20, 17, 15, 12, 12, 9, 7, 6, 5, 5]
    others = [33, 30, 29, 25, 22, 18, 16, 14, 12, 12, 10, 9, 8, 6, 5, 5]
    quarter = timedelta(hours=6)
    moves, starts, shares = [], [], []
    for place, (first, third) in enumerate(zip(weights, others, strict=True)):
        split = {V4: first, V5: 100 - first - third, V2: third}
        since, until = START + place * quarter, START + (place + 1) * quarter
        means = {V4: 100_000, V5: 130_000, V2: 95_000} if place else {}
        assigned = dict.fromkeys(split, 75 * place) if place else {}
        last = place + 1 == len(weights)
        moves.append(MovedWeights(split, place, since, None if last else until, assigned, means))
        starts.append(since)
        shares.append({version: weight / 100 for version, weight in split.items()})
    assert all(sum(move.means.values()) < MILLIONTHS for move in moves)
    by_metric = {"clicks": {V4: 0.10, V5: 0.13, V2: 0.095}, "surprised": {V4: 0.2, V5: 0.21, V2: 0.19}}
    guarded = (SURPRISED,) if is_guarded else ()
    step = BanditStep(CLICKS, shares=BanditRule(is_binary=True), arms=(V2,), guarded=guarded, batch=quarter)
    arms = TrafficSplit(tuple(Arm(version, Weight(weight)) for version, weight in moves[-1].weights.items()))
    state = replace(RolloutState.at_step(0), step_since=START, moves=tuple(moves))
    needs = [question.need for question in step.questions(RolloutPolicy((step,), {}), arms, state)]
    hours = [6.0] * len(starts)
    known = {
        need: ArmsEvidence(days(starts, shares, by_metric[need.metric], per_day=3600, hours=hours))  # type: ignore[union-attr]
        for need in needs
    }
    length = len(weights) * quarter
    return step_shown(step, arms, length, known, is_running=is_running, moves=tuple(moves))  # type: ignore[arg-type]


def preference(*, is_running: bool = True) -> ExperimentShown | BanditShown | PreferenceShown:
    """Ten days of lists of both."""
    noise = random.Random(3)
    counts = [
        PreferenceCounts(noise.randrange(30, 46), noise.randrange(20, 36), noise.randrange(90, 120))
        for _ in range(10)
    ]
    found = tuple(PreferenceDay(START + place * DAY, one) for place, one in enumerate(counts))
    clicked = ListClicks(clicks=1850, squares=4100, champion=1830.0, challenger=1912.0)
    evidence = PreferenceEvidence(found, waiting=22, requests=4127, alone=31, clicked=clicked)
    step = InterleaveStep("click", Weight(100), min_units=500)
    split = step.split(V4, V5, "r", RolloutState())
    return step_shown(step, split, 10 * DAY, evidence, is_running=is_running)


def rollout(
    *shown: ExperimentShown | BanditShown | PreferenceShown, is_active: bool = True, held: str = ""
) -> RolloutShown:
    """A rollout whose steps are these."""
    latest = {one.name: one for step in shown for one in step.verdicts}
    first = latest.get("experiment") or next(iter(latest.values()))
    return RolloutShown(
        name="flights-v5-1a2b",
        mark="rollout:flights-v5-1a2b",
        challenger="v5",
        champion="v4",
        cause="Challenger",
        phase="In progress" if is_active else "Promoted",
        tone=Tone.WARN if held else Tone.ACTIVE if is_active else Tone.GOOD,
        is_active=is_active,
        started_at=START,
        finished_at=None if is_active else START + 20 * DAY,
        why="" if is_active else f"it passed all 2 steps; {first.name}: {first.message}",
        held=held,
        steps=[
            StepShown("deploy", Tone.GOOD, False),
            StepShown("experiment 33 % + 33 %", Tone.ACTIVE, is_active, "20 d of 28 d"),
            StepShown("canary 60 %", Tone.IDLE, False, "2 d"),
            StepShown("promote", Tone.IDLE, False),
        ],
        verdicts=list(latest.values()) if is_active else (),
        experiment=next((one for one in shown if isinstance(one, ExperimentShown)), None),
        bandit=next((one for one in shown if isinstance(one, BanditShown)), None),
        preference=next((one for one in shown if isinstance(one, PreferenceShown)), None),
    )


@dataclass
class Shown:
    """A View that shows one page after the other."""

    page: Page

    def snapshot(self) -> Page:
        return self.page

    def events(self, after: int) -> Sequence[EventShown]:
        return ()

    def standstill(self) -> tuple[SystemName, Standstill]:
        raise NotImplementedError


def page_of(shown: RolloutShown) -> Page:
    """A page on which everything else is empty."""
    head = Head(
        *("flights", "", "BinaryClassification", "late", "Rolling out v5", ""),
        Tone.ACTIVE,
        "America/New_York",
    )
    return Page(head, Clocks(START + 20 * DAY, True), rollout=shown, rollouts=(shown,))

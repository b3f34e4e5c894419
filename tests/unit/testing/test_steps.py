"""Every rollout step keeps its suite, the suite notices steps that do not, and a new kind of step is one module."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from capstan.domain.digest import digest_of
from capstan.domain.planners.rollout import RolloutObservation, plan_rollout
from capstan.domain.reasons import Reason
from capstan.domain.rollout import (
    RolloutCause,
    RolloutName,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    wanted_split,
)
from capstan.domain.steps import STEPS, CanaryStep, InterleaveStep, PauseStep, ShadowStep
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.canary import Baseline
from capstan.domain.steps.experiment import ExperimentStep, Outcome
from capstan.domain.steps.interleave import ItemMargin
from capstan.domain.steps.questions import AmountQuestion, Operation, Question, StepEvidence
from capstan.domain.steps.step import Step
from capstan.domain.system import Surroundings
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.verdicts.bandits import BanditRule, Policy
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.verdicts.experiments import Better, Test
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.spec.rollout import Step as FileStep
from capstan.testing import NotConformingError, check_step

NOW = datetime(2013, 6, 1, tzinfo=UTC)
V1, V2 = VersionName("v1"), VersionName("v2")
DAY = timedelta(days=1)
ALL, TENTH = Weight(100), Weight(10)

LOSS = Outcome("logLoss", Better.LOWER, DAY, 2 * DAY, is_loss=True)
CLICKS = Outcome("clicks", Better.HIGHER, 7 * DAY, timedelta(0), is_loss=False, is_share=True)

EXAMPLES: dict[str, list[Step]] = {
    "shadow": [
        ShadowStep(Weight(100), min_requests=500),
        ShadowStep(Weight(100), min_requests=500, queries=("refunds",)),
        ShadowStep(Weight(50), min_blocks=7, analyses=("quality", "squared"), deadline=21 * DAY),
    ],
    "interleave": [
        InterleaveStep("click", Weight(100)),
        InterleaveStep("click", Weight(50), guarded=(ItemMargin("return", 0.05), ItemMargin("report"))),
        InterleaveStep("click", Weight(10), "Balanced", decide="UnlessWorse", deadline=21 * DAY),
    ],
    "canary": [
        CanaryStep(Weight(25), min_requests=100),
        CanaryStep(Weight(99), duration=2 * DAY),
        CanaryStep(Weight(49), Baseline.FRESH_COPY, min_requests=100),
    ],
    "pause": [PauseStep(), PauseStep(DAY)],
    "bandit": [
        BanditStep(LOSS, deadline=28 * DAY),
        BanditStep(LOSS, by_request=True, batch=timedelta(minutes=1)),
        BanditStep(LOSS, arms=(VersionName("v7"),), runners_up=1).with_runners_up([VersionName("v3")]),
        BanditStep(
            LOSS,
            BanditRule(Policy.UCB1, floor=10, reach=6.9),
            arms=(VersionName("v7"), VersionName("v8")),
            decide=Decide.NOT_WORSE,
            margin=0.1,
            duration=7 * DAY,
        ),
    ],
    "experiment": [
        ExperimentStep(Weight(50), LOSS, deadline=28 * DAY),
        ExperimentStep(
            Weight(20), LOSS, arms=(Arm(VersionName("v7"), Weight(9)),), runners_up=2, deadline=28 * DAY
        ).with_runners_up([VersionName("v3"), VersionName("v4")]),
        ExperimentStep(Weight(20), LOSS, runners_up=2).with_runners_up([VersionName("v3")]),
        ExperimentStep(
            Weight(30),
            CLICKS,
            arms=(Arm(VersionName("v3"), Weight(20)), Arm(VersionName("v4"), Weight(10))),
            secondary=(LOSS,),
            guarded=(replace(CLICKS, metric="complaints", better=Better.LOWER),),
            test=Test.WELCH,
            duration=14 * DAY,
        ),
        ExperimentStep(Weight(20), LOSS, decide=Decide.UNLESS_WORSE, by_days=True, covariate=7 * DAY),
    ],
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_keeps_its_suite(name: str) -> None:
    assert EXAMPLES[name]
    for step in EXAMPLES[name]:
        assert type(step) is STEPS[name]
        check_step(step)


def test_a_runner_up_that_is_missing_has_a_stand_in_and_the_file_says_nothing_of_names() -> None:
    asked = ExperimentStep(Weight(20), LOSS, runners_up=2)
    named = asked.with_runners_up([VersionName("v3")])
    assert asked.others == (), "before a run has made them nobody is asked for"
    assert named.others == ("v3", "runner-up 2")
    assert named.with_runners_up([VersionName("v5"), VersionName("v6"), VersionName("v7")]).others == (
        "v5",
        "v6",
    )
    assert digest_of(named) == digest_of(asked) != digest_of(replace(asked, runners_up=1))


def test_every_step_is_a_key_of_the_file() -> None:
    assert set(STEPS) <= set(FileStep.alternatives())


@dataclass(frozen=True)
class _Faulty(ShadowStep):
    """A shadow step with one fault."""

    percent: Weight = ALL
    min_requests: int = 100


class NoSalt(_Faulty):
    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        return super().split(champion, challenger, "always the same users", state)


class Hurried(_Faulty):
    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        return (AmountQuestion("evidence", 0, 0, 0),)


class TooMuch(_Faulty):
    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        return TrafficSplit((Arm(champion, Weight(100)), Arm(challenger, Weight(10))), salt=salt)


class WithoutChampion(_Faulty):
    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        return TrafficSplit((Arm(challenger, Weight(100)),), salt=salt)


class Restless(_Faulty):
    def moved(self, state: RolloutState, evidence: StepEvidence) -> RolloutState:
        return replace(state, restarts=state.restarts + 1)


class Homeless(_Faulty):
    station: ClassVar[None] = None


class Endless(PauseStep):
    @property
    def approval(self) -> str:
        return ""


class Changeable(_Faulty):
    calls: ClassVar[list[int]] = []

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        self.calls.append(1)
        share = Weight(len(self.calls))
        return TrafficSplit((Arm(champion, Weight(100 - share)), Arm(challenger, share)), salt=salt)


class Twice(_Faulty):
    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        return super().questions(policy, split, state) * 2


class Boasting(_Faulty):
    def rules(self, policy: RolloutPolicy) -> dict[str, QualityRule]:
        return {"quality": QualityRule(policy.rules["quality"].decide)} if policy.rules else {}

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        return (AmountQuestion("evidence", 100, 0, 0),)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (NoSalt(), "each rollout must draw other users"),
        (Hurried(), "nothing was seen and it is Successful"),
        (TooMuch(), r"weights \[100, 10\] do not make 100"),
        (WithoutChampion(), "the first arm is not the champion"),
        (Restless(), "moved.. changed it"),
        (Homeless(), "`station` is None though it sets traffic"),
        (Endless(), "without a duration it needs `approval`"),
        (Changeable(), "split is a function of its arguments"),
        (Twice(), "stands twice"),
        (Boasting(analyses=("quality",)), "quality: shown and never asked"),
        (CanaryStep(Weight(25), duration=3 * DAY, deadline=DAY), "its deadline is before its end"),
        (CanaryStep(Weight(100)), "an arm without requests"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Step) else "",
)
def test_the_suite_notices_a_step_with(step: Step, says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_step(step)


@dataclass(frozen=True)
class Climb(CanaryStep):
    """A step of nobody's module: each look moves more users to the challenger."""

    name: ClassVar[str] = "climb"
    weight: Weight = TENTH
    min_requests: int = 10
    duration: timedelta = DAY

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        share = Weight(state.withheld_at.get("climb", self.weight))
        return TrafficSplit((Arm(champion, Weight(100 - share)), Arm(challenger, share)), salt=salt)

    def moved(self, state: RolloutState, evidence: StepEvidence) -> RolloutState:
        if not isinstance(evidence.of(Operation(mirrored=False)), OperationEvidence):
            return state
        return replace(state, withheld_at={"climb": state.withheld_at.get("climb", self.weight) + 10})


def test_weights_that_a_step_moves_become_the_gateways_traffic_and_are_no_fault_of_it() -> None:
    check_step(Climb())

    def version(name: VersionName) -> ModelVersion:
        return ModelVersion(name, Digest("sha256:0"), RunName("run"), f"flights:{name}", NOW)

    request = RolloutRequest(
        RolloutName("flights-v2"), SystemName("flights"), RolloutCause.CHALLENGER, version(V2), version(V1)
    )
    policy = RolloutPolicy((Climb(),), {}, digest="d")
    state = RolloutState(RolloutPhase.PROGRESSING, started_at=NOW, policy_digest="d")
    counters = OperationEvidence(
        VersionOperation(V1, 900, 0, {0.01: 900, float("inf"): 900}),
        VersionOperation(V2, 100, 0, {0.01: 100, float("inf"): 100}),
        assigned={V1: 900, V2: 100},
    )
    split = wanted_split(request, state, policy.steps)
    reasons: list[str] = []
    for look in range(3):
        assert split is not None
        ready = {V1: Readiness.READY, V2: Readiness.READY}
        seen = RolloutObservation(
            Surroundings(ready, split, {"champion": V1, "challenger": V2}),
            watched_since=NOW,
            measured=StepEvidence({Operation(mirrored=False): counters}) if look == 1 else None,
        )
        plan = plan_rollout(
            request,
            state,
            seen,
            policy,
            now=NOW + look * timedelta(hours=1),
            wall=NOW + look * timedelta(hours=1),
        )
        state = plan.status
        reasons += [decision.reason for decision in plan.decisions]
    assert wanted_split(request, state, policy.steps) == TrafficSplit(
        (Arm(V1, Weight(80)), Arm(V2, Weight(20))), salt="flights-v2"
    )
    assert plan.actions, "the gateway is told"
    assert Reason.TRAFFIC_RESTORED not in reasons
    assert state.corrections == 0

"""A look at a step measures what its questions need, each need once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from capstan.adapters.memory.loop import (
    MemoryAlerts,
    MemoryClock,
    MemoryEvidence,
    MemoryMonitoring,
    MemoryOperation,
    MemoryPipelines,
    MemoryRegistry,
    MemoryServing,
    MemoryTraffic,
    Training,
)
from capstan.domain.rollout import (
    RolloutCause,
    RolloutName,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
)
from capstan.domain.steps.questions import Arms, Question
from capstan.domain.steps.step import Step
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.trouble import Away
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.evidence import (
    ArmDay,
    ArmsEvidence,
    ArmSums,
    OperationEvidence,
    PairedEvidence,
    VersionOperation,
)
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.engine.observe import Observer

NOW = datetime(2026, 3, 2, tzinfo=UTC)
V1, V2 = VersionName("v1"), VersionName("v2")
NEED = Arms("conversion", (V1, V2), timedelta(days=2), cap=9.5, covariate=timedelta(days=14))
FOUND = ArmsEvidence((ArmDay(NOW, {V1: ArmSums(assigned=1)}),))


@dataclass(frozen=True)
class ByArms(Question):
    """Whatever was measured is enough."""

    @property
    def need(self) -> Arms:
        return NEED

    def judge(self, evidence: Any, latched: Latch | None) -> AnalysisResult:
        return AnalysisResult(Verdict.SUCCESSFUL, "Measured", str(evidence))


@dataclass(frozen=True)
class Halves(Step):
    """Two arms, and two questions that need the same."""

    name: ClassVar[str] = "halves"

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        return TrafficSplit((Arm(champion, Weight(50)), Arm(challenger, Weight(50))), salt=salt)

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        return (ByArms("primary"), ByArms("again"))


def version(name: VersionName) -> ModelVersion:
    return ModelVersion(name, Digest("sha256:0"), RunName("run"), "flights:a", NOW)


REQUEST = RolloutRequest(
    RolloutName("flights-v2"), SystemName("flights"), RolloutCause.CHALLENGER, version(V2), version(V1)
)
POLICY = RolloutPolicy((Halves(),), {}, digest="d")
STATE = RolloutState(RolloutPhase.PROGRESSING, 0, step_since=NOW, step_since_wall=NOW, policy_digest="d")


def observer(evidence: MemoryEvidence) -> Observer:
    clock = MemoryClock(NOW)
    registry = MemoryRegistry()
    alike: Mapping[float, int] = {float("inf"): 1}
    counters = OperationEvidence(VersionOperation(V1, 1, 0, alike), VersionOperation(V2, 1, 0, alike))
    return Observer(
        pipelines=MemoryPipelines(clock, registry, lambda _request: Training(RunStatus(RunPhase.RUNNING))),
        registry=registry,
        serving=MemoryServing(clock),
        traffic=MemoryTraffic(),
        evidence=evidence,
        metrics=MemoryOperation(lambda *_: counters),
        alerts=MemoryAlerts(),
        monitoring=MemoryMonitoring(),
        troubles=tuple,
    )


def test_units_of_arms_are_asked_for_once_with_all_that_the_question_says() -> None:
    asked: list[tuple[Arms, datetime, datetime]] = []

    def by_arm(*what: Any) -> ArmsEvidence:
        asked.append(what)
        return FOUND

    later = NOW + timedelta(days=3)
    evidence = MemoryEvidence(lambda *_: PairedEvidence(), by_arm)
    seen = observer(evidence).measure(REQUEST, STATE, POLICY, later, later)

    assert seen is not None
    assert seen.of(NEED) == FOUND
    assert asked == [(NEED, NOW, later)]


def test_evidence_by_arms_that_is_away_is_told_as_the_collectors_outage() -> None:
    evidence = MemoryEvidence(lambda *_: PairedEvidence())
    evidence.faults.away = "gone"
    watching = observer(evidence)
    seen = watching.measure(REQUEST, STATE, POLICY, NOW, NOW)

    assert seen is not None
    assert seen.of(NEED) == Away("collector", "gone")
    assert watching.away == {"collector": Away("collector", "gone")}

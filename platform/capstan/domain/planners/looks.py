"""One look at a rollout's step: every question the step asks, answered from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from capstan.domain.actions import Away
from capstan.domain.reasons import Reason
from capstan.domain.rollout import (
    CanaryStep,
    LatestVerdict,
    PauseStep,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    ShadowStep,
    Step,
    wanted_split,
)
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence
from capstan.domain.verdicts.guardrails import judge_operation
from capstan.domain.verdicts.quality import QualityRule, judge_quality
from capstan.domain.verdicts.sample_ratio import judge_split

OPERATION = "operation"
SPLIT = "split"
EVIDENCE = "evidence"


@dataclass(frozen=True)
class StepEvidence:
    """What was measured for one look; None where the step does not ask for it."""

    paired: Mapping[str, PairedEvidence | Away] = field(default_factory=dict)
    """By the metric that compares the pairs; empty where the step asks for none."""
    operation: OperationEvidence | Away | None = None


@dataclass(frozen=True)
class Look:
    """The answers of one look, by the name of the question."""

    results: dict[str, AnalysisResult]

    def having(self, verdict: Verdict) -> dict[str, AnalysisResult]:
        return {name: result for name, result in self.results.items() if result.verdict is verdict}

    @property
    def is_successful(self) -> bool:
        """Every question was answered, and with yes."""
        return all(result.verdict is Verdict.SUCCESSFUL for result in self.results.values())

    @property
    def is_shown_worse(self) -> bool:
        """A failure that no later evidence can undo."""
        return any(
            result.verdict is Verdict.FAILED
            and result.latch is not None
            and result.latch.verdict is Verdict.FAILED
            for result in self.results.values()
        )

    @property
    def latches(self) -> dict[str, Latch]:
        return {name: result.latch for name, result in self.results.items() if result.latch is not None}

    def tell(self, verdict: Verdict) -> str:
        """All answers of one kind, in words."""
        return "; ".join(f"{name}: {result.message}" for name, result in self.having(verdict).items())

    def latest(self, at: datetime) -> dict[str, LatestVerdict]:
        return {
            name: LatestVerdict(result.verdict.value, result.message, at)
            for name, result in self.results.items()
        }


def judged_step(steps: tuple[Step, ...], index: int) -> ShadowStep | CanaryStep | None:
    """The step whose traffic flows: during a pause the one before it; None if there is none yet."""
    for step in reversed(steps[: index + 1]):
        if not isinstance(step, PauseStep):
            return step
    return None


def metrics_of(step: Step, policy: RolloutPolicy) -> tuple[str, ...]:
    """The metrics by which the step compares pairs, each once.

    A shadow step without analyses only counts pairs, which the metric does not change.
    """
    if isinstance(step, PauseStep):
        return ()
    named = tuple(dict.fromkeys(policy.rules[analysis].metric for analysis in step.analyses))
    if not named and isinstance(step, ShadowStep):
        return (QualityRule.metric,)
    return named


def look_at(
    request: RolloutRequest, state: RolloutState, policy: RolloutPolicy, measured: StepEvidence
) -> Look:
    """Judge the background guardrails, the obeyed split and the step's own analyses."""
    step = policy.steps[state.step]
    flowing = judged_step(policy.steps, state.step)
    results: dict[str, AnalysisResult] = {}
    if flowing is None:
        return Look(results)
    results[OPERATION] = _judge_operation(flowing, policy, measured.operation)
    if isinstance(flowing, CanaryStep) and isinstance(measured.operation, OperationEvidence):
        split = wanted_split(request, state, policy.steps)
        weights = {str(arm.version): int(arm.weight) for arm in split.arms} if split else {}
        assigned = {str(version): count for version, count in measured.operation.assigned.items()}
        results[SPLIT] = judge_split(assigned, weights)
    if isinstance(step, PauseStep):
        return Look(results)
    for name in step.analyses:
        rule = policy.rule_for(name, step)
        paired = measured.paired.get(rule.metric)
        if isinstance(paired, PairedEvidence):
            results[name] = judge_quality(paired, rule, latched=state.latches.get(name))
        else:
            results[name] = _unmeasured(paired)
    if isinstance(step, ShadowStep) and not step.analyses:
        (metric,) = metrics_of(step, policy)
        results[EVIDENCE] = _judge_amount(step, measured.paired.get(metric))
    return Look(results)


def _judge_operation(
    step: ShadowStep | CanaryStep, policy: RolloutPolicy, measured: OperationEvidence | Away | None
) -> AnalysisResult:
    if not isinstance(measured, OperationEvidence):
        return _unmeasured(measured)
    return judge_operation(measured, policy.operation_for(step))


def _judge_amount(step: ShadowStep, measured: PairedEvidence | Away | None) -> AnalysisResult:
    if not isinstance(measured, PairedEvidence):
        return _unmeasured(measured)
    counts = (
        (measured.paired_requests, step.min_requests, "paired requests"),
        (measured.labelled_pairs, step.min_labels, "labelled pairs"),
        (len(measured.blocks), step.min_blocks, "closed blocks"),
    )
    short = [f"{have:,} of {need:,} {what}" for have, need, what in counts if have < need]
    if short:
        message = "too early to judge: " + ", ".join(short)
        return AnalysisResult(Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, premature=True)
    if measured.nonfinite_answers:
        message = f"the challenger answered {measured.nonfinite_answers} requests with NaN or infinity"
        return AnalysisResult(Verdict.FAILED, "NonFiniteAnswers", message)
    return AnalysisResult(
        Verdict.SUCCESSFUL, "EnoughEvidence", f"{measured.paired_requests:,} paired requests"
    )


def _unmeasured(why: Away | None) -> AnalysisResult:
    message = str(why) if why is not None else "was not measured"
    return AnalysisResult(Verdict.ERROR, "Unavailable", message)

"""One look at a rollout's step: every question the step asks, answered from what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from capstan.domain.rollout import (
    LatestVerdict,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    flowing_step,
    wanted_split,
)
from capstan.domain.steps.questions import (
    OPERATION,
    SPLIT,
    OperationQuestion,
    Question,
    SplitQuestion,
    StepEvidence,
)
from capstan.domain.trouble import Away
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict


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


def questions_of(request: RolloutRequest, state: RolloutState, policy: RolloutPolicy) -> tuple[Question, ...]:
    """Guardrails and split of the traffic that flows, then what the step itself asks; none before any traffic."""
    flowing = flowing_step(policy.steps, state.step)
    if flowing is None:
        return ()
    split = wanted_split(request, state, policy.steps)
    mirrored = split is not None and request.challenger.name in split.copied
    asked: list[Question] = [OperationQuestion(OPERATION, flowing.guardrails(policy), mirrored)]
    if split is not None and len(split.arms) > 1:
        weights = {arm.version: int(arm.weight) for arm in split.arms}
        asked.append(SplitQuestion(SPLIT, weights, mirrored))
    return (*asked, *policy.steps[state.step].questions(policy))


def look_at(
    request: RolloutRequest, state: RolloutState, policy: RolloutPolicy, measured: StepEvidence
) -> Look:
    """Judge the background guardrails, the obeyed split and the step's own questions."""
    results: dict[str, AnalysisResult] = {}
    for question in questions_of(request, state, policy):
        evidence = measured.of(question.need)
        if evidence is not None and not isinstance(evidence, Away):
            results[question.name] = question.judge(evidence, state.latches.get(question.name))
        elif question.name != SPLIT:
            # That counters are away is told once, under the guardrails.
            results[question.name] = _unmeasured(evidence)
    return Look(results)


def _unmeasured(why: Away | None) -> AnalysisResult:
    message = str(why) if why is not None else "was not measured"
    return AnalysisResult(Verdict.ERROR, "Unavailable", message)

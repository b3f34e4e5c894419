"""One look at a rollout's step: every question the step asks, answered from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from capstan.domain.reasons import Reason
from capstan.domain.rollout import (
    LatestVerdict,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    contender,
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
from capstan.domain.versions import NOBODY, VersionName, copy_name


@dataclass(frozen=True)
class Look:
    """The answers of one look, by the name of the question."""

    results: dict[str, AnalysisResult]
    arms: Mapping[str, VersionName] = field(default_factory=dict)
    """Of questions about further arms: which arm."""
    shown: Mapping[str, AnalysisResult] = field(default_factory=dict)
    """Answers that decide nothing."""

    def having(self, verdict: Verdict) -> dict[str, AnalysisResult]:
        """The answers of one kind; a further arm that failed is no failure of the rollout."""
        return {
            name: result
            for name, result in self.results.items()
            if result.verdict is verdict and not (verdict is Verdict.FAILED and name in self.arms)
        }

    @property
    def leaving(self) -> dict[VersionName, str]:
        """Further arms that failed, or that an answer about all arms gives up, with the words."""
        given_up = {
            VersionName(arm): f"{name}: {result.message}"
            for name, result in self.results.items()
            for arm in result.given_up
        }
        return given_up | {
            arm: f"{name}: {self.results[name].message}"
            for name, arm in self.arms.items()
            if self.results[name].verdict is Verdict.FAILED
        }

    @property
    def settled(self) -> dict[str, AnalysisResult]:
        """Questions without a verdict that no later look can give."""
        return {
            name: result
            for name, result in self.having(Verdict.INCONCLUSIVE).items()
            if result.latch is not None and result.latch.verdict is Verdict.INCONCLUSIVE
        }

    @property
    def winner(self) -> str:
        """The arm of several that a Successful answer names; empty: none does."""
        return next((result.arm for result in self.having(Verdict.SUCCESSFUL).values() if result.arm), "")

    @property
    def is_successful(self) -> bool:
        """Every question was answered, and with yes."""
        return all(result.verdict is Verdict.SUCCESSFUL for result in self.results.values())

    @property
    def is_shown_worse(self) -> bool:
        """A failure that no later evidence can undo."""
        return any(
            result.latch is not None and result.latch.verdict is Verdict.FAILED
            for result in self.having(Verdict.FAILED).values()
        )

    @property
    def latches(self) -> dict[str, Latch]:
        return {name: result.latch for name, result in self._all.items() if result.latch is not None}

    def tell(self, verdict: Verdict) -> str:
        """All answers of one kind, in words."""
        return "; ".join(f"{name}: {result.message}" for name, result in self.having(verdict).items())

    def latest(self, at: datetime) -> dict[str, LatestVerdict]:
        return {
            name: LatestVerdict(result.verdict.value, result.message, at)
            for name, result in self._all.items()
        }

    @property
    def _all(self) -> dict[str, AnalysisResult]:
        return {**self.results, **self.shown}


def questions_of(request: RolloutRequest, state: RolloutState, policy: RolloutPolicy) -> tuple[Question, ...]:
    """Guardrails and split of the traffic that flows, then what the step itself asks; none before any traffic."""
    flowing = flowing_step(policy.steps, state.step)
    if flowing is None:
        return ()
    split = wanted_split(request, state, policy.steps)
    mirrored = split is not None and contender(request, state).name in split.copied
    copy = copy_name(split.champion) if split is not None and flowing.needs_copy else NOBODY
    asked: list[Question] = [
        OperationQuestion(OPERATION, flowing.guardrails(policy), mirrored, baseline=copy)
    ]
    # A router draws each request by shares of its own, which move between two looks: the step tests them itself.
    if split is not None and len(split.arms) > 1 and not split.routed:
        weights = {arm.version: int(arm.weight) for arm in split.arms}
        asked.append(SplitQuestion(SPLIT, weights, mirrored))
    if split is None:
        return tuple(asked)
    main = {split.champion, contender(request, state).name, copy}
    asked += [
        OperationQuestion(f"{OPERATION} of {arm.version}", flowing.guardrails(policy), False, arm.version)
        for arm in split.arms
        if arm.version not in main and not arm.is_vacant
    ]
    return (*asked, *policy.steps[state.step].questions(policy, split, state))


def look_at(
    request: RolloutRequest,
    state: RolloutState,
    policy: RolloutPolicy,
    measured: StepEvidence,
    now: datetime,
) -> Look:
    """Judge the background guardrails, the obeyed split and the step's own questions."""
    asked = questions_of(request, state, policy)
    results: dict[str, AnalysisResult] = {}
    for question in asked:
        if state.step_since is not None and now - state.step_since < question.not_before:
            results[question.name] = _too_early(state.step_since + question.not_before)
            continue
        evidence = measured.of(question.need)
        if evidence is not None and not isinstance(evidence, Away):
            results[question.name] = question.judge(evidence, state.latches.get(question.name))
        elif question.name != SPLIT:
            # That counters are away is told once, under the guardrails.
            results[question.name] = _unmeasured(evidence)
    return Look(
        results={q.name: results[q.name] for q in asked if q.name in results and q.decides},
        arms={q.name: q.arm for q in asked if q.arm and q.name in results},
        shown={q.name: results[q.name] for q in asked if q.name in results and not q.decides},
    )


def _too_early(until: datetime) -> AnalysisResult:
    message = f"no verdict before {until:%Y-%m-%d %H:%M} UTC, the end that was fixed beforehand"
    return AnalysisResult(Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, premature=True)


def _unmeasured(why: Away | None) -> AnalysisResult:
    message = str(why) if why is not None else "was not measured"
    return AnalysisResult(Verdict.ERROR, "Unavailable", message)

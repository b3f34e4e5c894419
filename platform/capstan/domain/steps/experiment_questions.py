"""The questions of an experiment: who wins, whether a guardrail alarms, what else is worth knowing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from capstan.domain.steps.questions import Arms, Need, Question
from capstan.domain.verdicts.analysis import AnalysisResult, Latch
from capstan.domain.verdicts.arms import ArmsRule, Comparison, judge_arms, judge_guardrail
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.versions import NOBODY, VersionName

EXPERIMENT = "experiment"


@dataclass(frozen=True)
class ExperimentQuestion(Question):
    """Which arm wins by the primary metric."""

    rule: ArmsRule
    asked: Arms
    weights: Mapping[VersionName, int]
    """In the split's order, the champion first."""
    after: timedelta = timedelta(0)
    """Of a fixed horizon: time from the step's start to its one look."""

    @property
    def need(self) -> Need:
        return self.asked

    @property
    def not_before(self) -> timedelta:
        return self.after

    def judge(self, evidence: ArmsEvidence, latched: Latch | None) -> AnalysisResult:
        return judge_arms(evidence, self.rule, self.weights, latched=latched)


@dataclass(frozen=True)
class SecondaryQuestion(ExperimentQuestion):
    """What the arms differ in besides; shown, and decides nothing."""

    @property
    def decides(self) -> bool:
        return False

    def judge(self, evidence: ArmsEvidence, latched: Latch | None) -> AnalysisResult:
        return replace(judge_arms(evidence, self.rule, self.weights), latch=None, arm="", given_up=())


@dataclass(frozen=True)
class GuardrailQuestion(Question):
    """Whether an arm is shown worse than the champion by a metric that guards."""

    rule: ArmsRule
    asked: Arms
    champion: VersionName
    rival: VersionName
    is_further: bool = False
    """Whether `rival` is one of several challengers besides the rollout's own."""
    comparison: Comparison | None = None
    """How arms are compared whose shares moved; None: by their totals."""

    @property
    def arm(self) -> VersionName:
        return self.rival if self.is_further else NOBODY

    @property
    def need(self) -> Need:
        return self.asked

    def judge(self, evidence: ArmsEvidence, latched: Latch | None) -> AnalysisResult:
        known = evidence.with_answers_of((self.champion, self.rival))
        return judge_guardrail(
            known, self.rule, self.champion, self.rival, latched=latched, comparison=self.comparison
        )


def guardrail_name(metric: str, arm: VersionName, *, is_further: bool) -> str:
    """The challenger's questions go without its name, so that they are called the same in every rollout."""
    return f"guardrail {metric} of {arm}" if is_further else f"guardrail {metric}"

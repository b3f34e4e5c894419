"""The questions that steps ask of the evidence, and what each needs to be measured.

A question says what it needs and judges it; only `engine.observe` knows which port measures a need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from capstan.domain.reasons import Reason
from capstan.domain.trouble import Away
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.evidence import ArmsEvidence, OperationEvidence, PairedEvidence, QueryEvidence
from capstan.domain.verdicts.guardrails import OperationPolicy, judge_operation
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.verdicts.own_queries import QueryRule, judge_query
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.verdicts.quality import OWN_LOSS, QualityRule, judge_quality
from capstan.domain.verdicts.refusals import judge_refused_answers
from capstan.domain.verdicts.sample_ratio import judge_split
from capstan.domain.versions import NOBODY, VersionName

OPERATION = "operation"
SPLIT = "split"
EVIDENCE = "evidence"


@dataclass(frozen=True)
class Pairs:
    """PairedEvidence: both versions' predictions for the same requests, compared by the metric's loss."""

    metric: str


@dataclass(frozen=True)
class Operation:
    """OperationEvidence: both versions' counters since the step began."""

    mirrored: bool
    """True: the challenger answers copies."""
    version: VersionName = NOBODY
    """The version that is compared with the champion; empty: the challenger."""
    baseline: VersionName = NOBODY
    """The version that it is compared with in the champion's place; empty: the champion."""


@dataclass(frozen=True)
class Arms:
    """ArmsEvidence: outcomes of units that were assigned to arms since the step began."""

    metric: str
    """A loss of the task, OWN_LOSS for its own one, or an online metric of the file."""
    versions: tuple[VersionName, ...]
    """In the order of the split, the champion first."""
    window: timedelta
    """How long a unit is followed from its first request on."""
    cap: float | None = None
    """Outcomes beyond it count as it; None: as they are."""
    covariate: timedelta | None = None
    """The covariate is the unit's outcome over so long before the step; None: there is none."""
    cuts: tuple[datetime, ...] = ()
    """In order: the beginnings of stretches by which units are told apart, in place of days; empty: days."""
    every: timedelta | None = None
    """What is known is that of the last whole multiple of it since the step began; None: that of now."""
    by_rank: bool = False
    """Whether each arm's outcomes are ranked among the champion's, too."""
    by_shares: bool = False
    """Whether units of a stretch are told apart by the shares that each says it was drawn by."""
    by_version: bool = False
    """Whether a request is of the version that answered it, whatever it says: where nobody answers for another."""


@dataclass(frozen=True)
class OwnQuery:
    """QueryEvidence: a person's own query since the step began."""

    promql: str
    """With placeholders for names."""
    interval: timedelta


@dataclass(frozen=True)
class Interleaving:
    """PreferenceEvidence: which ranker's items users clicked in lists of both, since the step began."""

    event: str
    """Name of the events: clicks, or what guards."""
    method: Method
    window: timedelta
    """How long after a unit's first request its requests and these events count."""
    maximum_delay: timedelta
    """How long after it happened a click may be posted."""


Need: TypeAlias = Pairs | Operation | Arms | Interleaving | OwnQuery
Evidence: TypeAlias = PairedEvidence | OperationEvidence | ArmsEvidence | PreferenceEvidence | QueryEvidence


@dataclass(frozen=True)
class StepEvidence:
    """What was measured for one look, by need."""

    answers: Mapping[Need, Evidence | Away] = field(default_factory=dict)

    def of(self, need: Need) -> Evidence | Away | None:
        """None: it was not measured."""
        return self.answers.get(need)


@dataclass(frozen=True)
class Question(ABC):
    """One thing that must be so before a step ends."""

    name: str
    """For people and for the stored state: the analysis' name, or a word of this module."""

    @property
    def arm(self) -> VersionName:
        """The further arm that it is about, which leaves if it fails; empty: the whole rollout."""
        return NOBODY

    @property
    def decides(self) -> bool:
        """False: the answer is shown, and the step ends without it."""
        return True

    @property
    def not_before(self) -> timedelta:
        """Time from the step's start before which it has no answer."""
        return timedelta(0)

    @property
    @abstractmethod
    def need(self) -> Need:
        """What must be measured; two questions with an equal need share one measurement."""

    @abstractmethod
    def judge(self, evidence: Any, latched: Latch | None) -> AnalysisResult:
        """The answer; `evidence` is what the need says, `latched` what an earlier look settled for good.

        The same arguments give the same answer, and too little evidence is Inconclusive and premature.
        """


@dataclass(frozen=True)
class QualityQuestion(Question):
    """Whether the challenger's losses are as the analysis asks."""

    rule: QualityRule

    @property
    def need(self) -> Need:
        return Pairs(self.rule.metric)

    def judge(self, evidence: PairedEvidence, latched: Latch | None) -> AnalysisResult:
        return judge_quality(evidence, self.rule, latched=latched)


@dataclass(frozen=True)
class AmountQuestion(Question):
    """Whether enough sound pairs are in, where no analysis is asked."""

    min_requests: int
    min_labels: int
    min_blocks: int

    @property
    def need(self) -> Need:
        # How many pairs there are is the same by any metric.
        return Pairs(OWN_LOSS)

    def judge(self, evidence: PairedEvidence, latched: Latch | None) -> AnalysisResult:
        counts = (
            (evidence.paired_requests, self.min_requests, "paired requests"),
            (evidence.labelled_pairs, self.min_labels, "labelled pairs"),
            (len(evidence.blocks), self.min_blocks, "closed blocks"),
        )
        short = [f"{have:,} of {need:,} {what}" for have, need, what in counts if have < need]
        if short:
            message = "too early to judge: " + ", ".join(short)
            return AnalysisResult(Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, premature=True)
        if evidence.nonfinite_answers:
            message = f"the challenger answered {evidence.nonfinite_answers} requests with NaN or infinity"
            return AnalysisResult(Verdict.FAILED, "NonFiniteAnswers", message)
        refusing = judge_refused_answers(evidence)
        if refusing is not None:
            return refusing
        return AnalysisResult(
            Verdict.SUCCESSFUL, "EnoughEvidence", f"{evidence.paired_requests:,} paired requests"
        )


@dataclass(frozen=True)
class QueryQuestion(Question):
    """Whether a person's own query answers as the file asks."""

    rule: QueryRule

    @property
    def need(self) -> Need:
        return OwnQuery(self.rule.promql, self.rule.interval)

    def judge(self, evidence: QueryEvidence, latched: Latch | None) -> AnalysisResult:
        return judge_query(evidence, self.rule, latched=latched)


@dataclass(frozen=True)
class OperationQuestion(Question):
    """Whether the challenger, or the further arm `version`, keeps to the guardrails."""

    policy: OperationPolicy
    mirrored: bool
    version: VersionName = NOBODY
    baseline: VersionName = NOBODY
    """A fresh copy of the champion, with which the version is compared; empty: the champion."""

    @property
    def arm(self) -> VersionName:
        return self.version

    @property
    def need(self) -> Need:
        return Operation(self.mirrored, self.version, self.baseline)

    def judge(self, evidence: OperationEvidence, latched: Latch | None) -> AnalysisResult:
        result = judge_operation(evidence, self.policy)
        if not self.baseline:
            return result
        message = f"{result.message}; in the champion's place stands {self.baseline}, a fresh copy"
        seen, needed = evidence.champion.requests, self.policy.min_requests
        if result.verdict is Verdict.SUCCESSFUL and seen < needed:
            short = f"too early to judge: {seen:,} of {needed:,} requests to {self.baseline}"
            return AnalysisResult(
                Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, short, result.numbers, premature=True
            )
        return replace(result, message=message)


@dataclass(frozen=True)
class SplitQuestion(Question):
    """Whether the gateway gives each version its share of the requests."""

    weights: Mapping[VersionName, int]
    mirrored: bool

    @property
    def need(self) -> Need:
        return Operation(self.mirrored)

    def judge(self, evidence: OperationEvidence, latched: Latch | None) -> AnalysisResult:
        assigned = {str(version): count for version, count in evidence.assigned.items()}
        return judge_split(assigned, {str(version): weight for version, weight in self.weights.items()})

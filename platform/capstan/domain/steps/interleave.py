"""Users get one list of both rankers; their clicks say whom they prefer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.steps.questions import Interleaving, Question
from capstan.domain.steps.step import Station, Step, passed
from capstan.domain.traffic import Interleaved, TrafficSplit, Weight, champion_only
from capstan.domain.verdicts.analysis import AnalysisResult, Latch
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.verdicts.item_guardrails import ItemGuardrail, judge_item_guardrail
from capstan.domain.verdicts.preference import PreferenceEvidence, PreferenceRule, judge_preference
from capstan.domain.verdicts.preference_size import against_ab
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState

PREFERENCE = "preference"
"""Name of the question that the step asks."""


@dataclass(frozen=True)
class PreferenceQuestion(Question):
    """Whether users prefer the challenger's items."""

    rule: PreferenceRule
    interleaving: Interleaving

    @property
    def need(self) -> Interleaving:
        return self.interleaving

    def judge(self, evidence: PreferenceEvidence, latched: Latch | None) -> AnalysisResult:
        result = judge_preference(evidence, self.rule, latched=latched)
        told = against_ab(evidence, self.rule) if result.numbers and not result.premature else ""
        return replace(result, message=f"{result.message}; {told}") if told else result


@dataclass(frozen=True)
class ItemGuardrailQuestion(Question):
    """Whether events that nobody wants fall on the challenger's items."""

    rule: ItemGuardrail
    interleaving: Interleaving

    @property
    def need(self) -> Interleaving:
        return self.interleaving

    def judge(self, evidence: PreferenceEvidence, latched: Latch | None) -> AnalysisResult:
        return judge_item_guardrail(evidence, self.rule, latched=latched)


@dataclass(frozen=True)
class ItemMargin:
    """An event that guards, as in the file."""

    event: str
    margin: float = 0.0
    window: timedelta | None = None
    """None: the step's."""


@dataclass(frozen=True)
class InterleaveStep(Step):
    """So many percent of the requests are ranked by both and answered with one list."""

    name: ClassVar[str] = "interleave"
    station: ClassVar[Station | None] = Station(
        "Interleave",
        "M3 6h14M3 10h14M3 14h14M6 4v4M14 8v4M6 12v4",
        "users get one list of both rankers",
    )

    event: str
    percent: Weight
    method: str = Method.TEAM_DRAFT
    """As in the file; so is `decide`."""
    window: timedelta = timedelta(hours=1)
    maximum_delay: timedelta = timedelta(minutes=10)
    min_units: int = 100
    alpha: float = 0.05
    decide: str = Decide.BETTER
    deadline: timedelta | None = None
    guarded: tuple[ItemMargin, ...] = ()

    @property
    def share(self) -> str:
        return f"{self.percent} %"

    @property
    def closes_after(self) -> timedelta:
        """Time after a unit's first request at which nothing more of it is awaited, by guardrails neither."""
        return max([self.window, *(one.window for one in self.guarded if one.window)]) + self.maximum_delay

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        both = Interleaved(challenger, self.percent, Method(self.method))
        return TrafficSplit(arms=champion_only(champion).arms, salt=salt, interleaved=both)

    def promise(self, policy: RolloutPolicy) -> str:
        return (
            f"whom users prefer is decided by {self.decide} from {self.min_units:,} units on, by clicks named "
            f"{self.event}"
            + (f"; {', '.join(one.event for one in self.guarded)} may stop it" if self.guarded else "")
        )

    def first_outcome(self, policy: RolloutPolicy) -> timedelta:
        return self.closes_after

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        rule = PreferenceRule(Decide(self.decide), self.min_units, self.alpha)
        return (
            PreferenceQuestion(PREFERENCE, rule, self._asked(self.event, self.window)),
            *(
                ItemGuardrailQuestion(
                    f"guardrail {one.event}",
                    ItemGuardrail(
                        one.event,
                        one.margin,
                        self.alpha,
                        comparisons=len(self.guarded),
                        min_units=self.min_units,
                    ),
                    self._asked(one.event, one.window or self.window),
                )
                for one in self.guarded
            ),
        )

    def _asked(self, event: str, window: timedelta) -> Interleaving:
        return Interleaving(event, Method(self.method), window, self.maximum_delay)

    def progress(self, since: datetime | None, now: datetime) -> str:
        return passed(since, self.deadline, now, least=f"{self.min_units:,} units")

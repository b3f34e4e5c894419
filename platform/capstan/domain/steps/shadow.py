"""The challenger answers copies of requests; quality is judged on paired predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.steps.questions import EVIDENCE, AmountQuestion, QualityQuestion, Question
from capstan.domain.steps.step import Station, Step, own_queries, passed
from capstan.domain.traffic import Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.verdicts.quality import LEAST_BLOCKS, QualityRule
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState


@dataclass(frozen=True)
class ShadowStep(Step):
    """Copies of so many percent of the requests go to the challenger; nobody sees its answers."""

    name: ClassVar[str] = "shadow"
    station: ClassVar[Station | None] = Station(
        "Shadow",
        "M7.5 15a5 5 0 1 0 0-10 5 5 0 0 0 0 10ZM12.5 15a5 5 0 1 0 0-10 5 5 0 0 0 0 10Z",
        "the challenger answers copies",
    )

    percent: Weight
    min_requests: int = 0
    min_labels: int = 0
    min_blocks: int = 0
    analyses: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    duration: timedelta = timedelta(0)
    deadline: timedelta | None = None

    @property
    def share(self) -> str:
        return f"{self.percent} %"

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        mirror = Mirror(challenger, self.percent)
        return TrafficSplit(arms=champion_only(champion).arms, mirrors=(mirror,), salt=salt)

    def rules(self, policy: RolloutPolicy) -> Mapping[str, QualityRule]:
        return {name: self._with_minima(policy.rules[name]) for name in self.analyses}

    def _with_minima(self, rule: QualityRule) -> QualityRule:
        return replace(
            rule,
            min_blocks=max(LEAST_BLOCKS, self.min_blocks),
            min_requests=max(rule.min_requests, self.min_requests),
            min_labels=max(rule.min_labels, self.min_labels),
        )

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        asked: list[Question] = [QualityQuestion(name, rule) for name, rule in self.rules(policy).items()]
        if not asked:
            asked = [AmountQuestion(EVIDENCE, self.min_requests, self.min_labels, self.min_blocks)]
        return (*asked, *own_queries(self.queries, policy))

    def needed_blocks(self, policy: RolloutPolicy) -> int:
        return max(self.min_blocks, super().needed_blocks(policy))

    def needed_pairs(self, policy: RolloutPolicy) -> int:
        return max(self.min_requests, super().needed_pairs(policy))

    def needed_labels(self, policy: RolloutPolicy) -> int:
        return max(self.min_labels, super().needed_labels(policy))

    def progress(self, since: datetime | None, now: datetime) -> str:
        if self.duration:
            return super().progress(since, now)
        return passed(since, self.deadline, now, least=f"{self.min_blocks} blocks")

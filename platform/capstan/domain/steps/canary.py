"""The challenger answers a share of the requests; operation is judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.steps.questions import Question
from capstan.domain.steps.step import Station, Step, own_queries
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState


@dataclass(frozen=True)
class CanaryStep(Step):
    """The challenger answers so many percent of the requests."""

    name: ClassVar[str] = "canary"
    station: ClassVar[Station | None] = Station(
        "Canary",
        "M3 10h5M8 10c3 0 2.5-5 6-5h3M8 10c3 0 2.5 5 6 5h3",
        "the challenger answers a share of the requests",
    )
    # Its users met the champion while the challenger was lost.
    keeps_evidence: ClassVar[bool] = False

    weight: Weight
    duration: timedelta = timedelta(0)
    min_requests: int = 0
    deadline: timedelta | None = None
    queries: tuple[str, ...] = ()

    @property
    def share(self) -> str:
        return f"{self.weight} %"

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        arms = (Arm(champion, Weight(100 - self.weight)), Arm(challenger, self.weight))
        return TrafficSplit(arms=arms, salt=salt)

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        return own_queries(self.queries, policy)

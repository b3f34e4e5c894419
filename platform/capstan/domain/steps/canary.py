"""The challenger answers a share of the requests; operation is judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.steps.questions import Question
from capstan.domain.steps.step import Station, Step, own_queries
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.versions import VersionName, copy_name

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState


class Baseline(StrEnum):
    """What the challenger's errors and latencies are compared with."""

    CHAMPION = "Champion"
    FRESH_COPY = "FreshCopy"
    """The champion's model in a process as young as the challenger's, with an equal share of the requests."""


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
    baseline: Baseline = Baseline.CHAMPION
    duration: timedelta = timedelta(0)
    min_requests: int = 0
    deadline: timedelta | None = None
    queries: tuple[str, ...] = ()

    @property
    def share(self) -> str:
        return f"{self.weight} %"

    @property
    def needs_copy(self) -> bool:
        return self.baseline == Baseline.FRESH_COPY

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        if not self.needs_copy:
            arms = (Arm(champion, Weight(100 - self.weight)), Arm(challenger, self.weight))
            return TrafficSplit(arms=arms, salt=salt)
        # The challenger comes last: it has the end of the hash with and without the copy, so its users stay.
        rest, copy = Weight(100 - 2 * self.weight), copy_name(champion)
        return TrafficSplit(
            arms=(Arm(champion, rest), Arm(copy, self.weight), Arm(challenger, self.weight)), salt=salt
        )

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        return own_queries(self.queries, policy)

    def promise(self, policy: RolloutPolicy) -> str:
        if not self.needs_copy:
            return ""
        return f"the canary of {self.share} is compared with a fresh copy of the champion"

"""The traffic of the step before goes on, for a time or until a person approves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.steps.step import Step
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutState


@dataclass(frozen=True)
class PauseStep(Step):
    """Nothing is asked; guardrails and split of the step before are watched on."""

    name: ClassVar[str] = "pause"
    sets_traffic: ClassVar[bool] = False

    duration: timedelta | None = None
    """None: until approved."""

    @property
    def approval(self) -> str:
        return "the pause lasts until `capstan approve`" if self.duration is None else ""

    def split(self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState) -> None:
        return None

    def progress(self, since: datetime | None, now: datetime) -> str:
        return super().progress(since, now) if self.duration else "until approved"

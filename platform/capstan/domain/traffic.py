"""Which version answers which share of the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from capstan.domain.versions import VersionName

Weight = NewType("Weight", int)
"""Share of requests in whole percent, 0-100."""


@dataclass(frozen=True)
class Arm:
    """One version and the share of requests assigned to it."""

    version: VersionName
    weight: Weight


@dataclass(frozen=True)
class Mirror:
    """A version that receives copies of requests; its answers are thrown away."""

    version: VersionName
    percent: Weight


@dataclass(frozen=True)
class TrafficSplit:
    """The whole routing of one system.

    The first arm is the champion: it also answers when another arm fails. Arms keep their order while an experiment
    lasts, because stickiness by hash depends on it. Weights sum to 100.
    """

    arms: tuple[Arm, ...]
    mirrors: tuple[Mirror, ...] = ()
    salt: str = ""
    """Name of the rollout or experiment; mixed into the hash so that each experiment draws other users."""

    @property
    def champion(self) -> VersionName:
        return self.arms[0].version

    @property
    def versions(self) -> frozenset[VersionName]:
        """All versions that must be ready before this split may be set."""
        return frozenset(arm.version for arm in self.arms) | frozenset(m.version for m in self.mirrors)

    def weight_of(self, version: VersionName) -> Weight:
        return Weight(sum(arm.weight for arm in self.arms if arm.version == version))


def champion_only(version: VersionName) -> TrafficSplit:
    """All requests to one version."""
    return TrafficSplit(arms=(Arm(version, Weight(100)),))

"""Which version answers which share of the requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NewType

from capstan.domain.verdicts.interleaving import Method
from capstan.domain.versions import VersionName

Weight = NewType("Weight", int)
"""Share of requests in whole percent, 0-100."""


@dataclass(frozen=True)
class Arm:
    """One version and the share of requests assigned to it."""

    version: VersionName
    weight: Weight
    is_vacant: bool = False
    """True: the version left; the champion answers its units, which still count as this arm's."""


@dataclass(frozen=True)
class Mirror:
    """A version that receives copies of requests; its answers are thrown away."""

    version: VersionName
    percent: Weight


@dataclass(frozen=True)
class Interleaved:
    """Requests of the champion's arm that both rank: one list of the two is answered."""

    challenger: VersionName
    percent: Weight
    """Of all requests, drawn by the salted hash as arms are."""
    method: Method


@dataclass(frozen=True)
class ArmRewards:
    """What a router knows of one arm: sums of its rewards, of which more is better, in whole numbers as states are."""

    version: VersionName
    count: int = 0
    total: int = 0
    """In millionths, as the squares below."""
    squares: int = 0


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
    interleaved: Interleaved | None = None
    """A part of the champion's arm, where it is the only one."""
    routed: tuple[ArmRewards, ...] = ()
    """What a router is told of each arm that is not vacant; it knows no other. By its policy it then draws the arm of
    each request, and the weights are only what follows from that. Empty: requests are split by the weights.
    """

    @property
    def untold(self) -> TrafficSplit:
        """The same before a router was told anything: what it is told changes no pod and no route."""
        if not self.routed:
            return self
        return replace(
            self,
            arms=tuple(replace(arm, weight=Weight(0)) for arm in self.arms),
            routed=tuple(ArmRewards(one.version) for one in self.routed),
        )

    @property
    def champion(self) -> VersionName:
        return self.arms[0].version

    @property
    def versions(self) -> frozenset[VersionName]:
        """All versions that must be ready before this split may be set."""
        both = {self.interleaved.challenger} if self.interleaved is not None else set()
        arms = frozenset(arm.version for arm in self.arms if not arm.is_vacant)
        return arms | frozenset(mirror.version for mirror in self.mirrors) | both

    @property
    def copied(self) -> frozenset[VersionName]:
        """Versions that get requests beside the one that answers for them."""
        return self.versions - {arm.version for arm in self.arms}

    @property
    def answering(self) -> tuple[Arm, ...]:
        """The versions with the shares that they answer: the champion has those of vacant arms."""
        vacant = sum(arm.weight for arm in self.arms if arm.is_vacant)
        champion, *others = (arm for arm in self.arms if not arm.is_vacant)
        return (Arm(champion.version, Weight(champion.weight + vacant)), *others)

    def weight_of(self, version: VersionName) -> Weight:
        """Share of the requests that the version answers."""
        return Weight(sum(arm.weight for arm in self.answering if arm.version == version))


@dataclass(frozen=True)
class Untaken:
    """A split that the gateway did not take when it was asked last."""

    split: TrafficSplit
    why: str
    unready: frozenset[VersionName] = frozenset()
    """Versions that are not ready in the router's graph, where the split needs them."""


def champion_only(version: VersionName) -> TrafficSplit:
    """All requests to one version."""
    return TrafficSplit(arms=(Arm(version, Weight(100)),))

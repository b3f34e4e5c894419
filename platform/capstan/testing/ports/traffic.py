"""What every TrafficProvider does; subclass it and give it the fixtures `traffic` and `endpoints` (of v1, v2, v3).

Where deploying a third version takes long, `endpoints` may hold two, and the arms of a bandit are two.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.versions import VersionName
from capstan.ports.serving import Endpoint
from capstan.ports.traffic import TrafficProvider

V1, V2, V3 = (VersionName(name) for name in ("v1", "v2", "v3"))
ALONE = champion_only(V1)
Endpoints = Mapping[VersionName, Endpoint]


def split(
    champion: int, challenger: int, *, mirror: VersionName | None = None, salt: str = ""
) -> TrafficSplit:
    """Of v1 and v2, in percent."""
    arms = (Arm(V1, Weight(champion)), Arm(V2, Weight(challenger)))
    return TrafficSplit(
        arms=arms if challenger else arms[:1],
        mirrors=(Mirror(mirror, Weight(100)),) if mirror else (),
        salt=salt,
    )


MOVED = ((34, 33, 33), (60, 30, 10), (20, 45, 35), (5, 5, 90), (20, 45, 35))
"""Percent of the arms of a bandit, batch by batch."""
SHADOW, CANARY = split(100, 0, mirror=V2, salt="r1"), split(75, 25, salt="r1")


class TrafficContract:
    def test_a_new_gateway_has_no_split(self, traffic: TrafficProvider) -> None:
        assert traffic.read_back() is None

    @pytest.mark.parametrize("split", [ALONE, SHADOW, CANARY], ids=["alone", "shadow", "canary"])
    def test_what_was_applied_is_read_back(
        self, traffic: TrafficProvider, endpoints: Endpoints, split: TrafficSplit
    ) -> None:
        assert traffic.refusal(split) is None
        traffic.apply(split, {name: endpoints[name] for name in split.versions})
        assert traffic.read_back() == split

    def test_a_whole_rollout_is_read_back_step_by_step(
        self, traffic: TrafficProvider, endpoints: Endpoints
    ) -> None:
        for split in (ALONE, SHADOW, CANARY, CANARY, champion_only(V2), ALONE):
            traffic.apply(split, {name: endpoints[name] for name in split.versions})
            assert traffic.read_back() == split

    def test_each_batch_of_a_bandit_is_read_back(
        self, traffic: TrafficProvider, endpoints: Endpoints
    ) -> None:
        names = [name for name in (V1, V2, V3) if name in endpoints]
        for weights in MOVED:
            shares = (*weights[: len(names) - 1], sum(weights[len(names) - 1 :]))
            arms = tuple(Arm(name, Weight(share)) for name, share in zip(names, shares, strict=True))
            moved = TrafficSplit(arms, salt="r1")
            assert traffic.refusal(moved) is None
            traffic.apply(moved, {name: endpoints[name] for name in moved.versions})
            assert traffic.read_back() == moved

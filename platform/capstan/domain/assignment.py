"""Which parts of a salted hash belong to which arm, so that a unit moves as seldom as shares allow.

A gateway walks over the parts in order, so arms that lie one after another would push each other: a higher share of the
second would move units of the third. Here each challenger has a slot of its own, which it fills from the end, and the
champion has what nobody fills. While no challenger has more than its slot (all of 100 % for one, 50 % for two), a
share that rises takes units of the champion alone, and one that falls gives them back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from capstan.domain.traffic import Arm, TrafficSplit, Weight

PARTS = 100
"""One for each percent."""


def stretches(split: TrafficSplit) -> tuple[Arm, ...]:
    """The arms as stretches of the hash from 0 to 100, in order; an arm may have several.

    What a challenger has beyond its slot lies at the beginnings of the others' slots: no rule without memory could
    keep units of three arms in place whatever their shares are.
    """
    champion, *challengers = split.arms
    if len(challengers) < 2:
        return split.arms
    ends = [round(PARTS * number / len(challengers)) for number in range(len(challengers) + 1)]
    own = [min(arm.weight, ends[slot + 1] - ends[slot]) for slot, arm in enumerate(challengers)]
    beyond = [arm.weight - kept for arm, kept in zip(challengers, own, strict=True)]
    # Read back, arms stand in the order in which they are met first.
    found = [replace(arm, weight=Weight(0)) for arm in split.arms]
    for slot, arm in enumerate(challengers):
        free = ends[slot + 1] - ends[slot] - own[slot]
        for other, one in enumerate(challengers):
            taken = min(beyond[other], free)
            beyond[other] -= taken
            free -= taken
            found.append(replace(one, weight=Weight(taken)))
        found.append(replace(champion, weight=Weight(free)))
        found.append(replace(arm, weight=Weight(own[slot])))
    met = len(split.arms)
    return (*found[:met], *(arm for arm in found[met:] if arm.weight))


def joined(parts: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms that stretches belong to, with their whole shares."""
    weights: dict[str, int] = {}
    for part in parts:
        weights[part.version] = weights.get(part.version, 0) + part.weight
    arms = {part.version: part for part in parts}
    return tuple(replace(arm, weight=Weight(weights[version])) for version, arm in arms.items())

"""A share that rises takes units of the champion alone, however many arms there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.assignment import PARTS, joined, stretches
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.versions import VersionName


def split(*weights: int) -> TrafficSplit:
    return TrafficSplit(
        tuple(Arm(VersionName(f"v{number}"), Weight(weight)) for number, weight in enumerate(weights, 1))
    )


def owners(found: TrafficSplit) -> list[VersionName]:
    """The version of each percent of the hash."""
    return [arm.version for arm in stretches(found) for _ in range(arm.weight)]


@st.composite
def shares(draw: st.DrawFn, arms: int | None = None, *, most: int | None = None) -> list[int]:
    """Whole percents that sum to 100, the champion first; no challenger has more than `most`."""
    challengers = (arms or draw(st.integers(1, 6))) - 1
    left, found = PARTS, []
    for _ in range(challengers):
        found.append(draw(st.integers(0, min(left, PARTS if most is None else most))))
        left -= found[-1]
    return [left, *found]


@given(shares())
def test_each_arm_has_its_share_and_arms_keep_their_order(weights: list[int]) -> None:
    found = split(*weights)
    assert len(owners(found)) == PARTS
    assert joined(stretches(found)) == found.arms


def test_one_challenger_has_the_end_of_the_hash() -> None:
    assert stretches(split(75, 25)) == split(75, 25).arms


@given(shares(), st.data())
def test_an_arm_that_leaves_keeps_its_units_and_is_read_back_as_vacant(
    weights: list[int], data: st.DataObject
) -> None:
    before = split(*weights)
    gone = data.draw(st.integers(0, len(weights) - 1))
    arms = [replace(arm, is_vacant=0 < number == gone) for number, arm in enumerate(before.arms)]
    after = replace(before, arms=tuple(arms))
    assert owners(after) == owners(before)
    assert joined(stretches(after)) == after.arms
    assert (before.arms[gone].version in after.versions) is (gone == 0)
    assert sum(arm.weight for arm in after.answering) == 100
    assert after.weight_of(VersionName("v1")) == weights[0] + (weights[gone] if gone else 0)


@given(st.data(), st.integers(2, 6))
def test_within_its_slot_a_share_that_changes_moves_no_unit_between_challengers(
    data: st.DataObject, arms: int
) -> None:
    slot = PARTS // (arms - 1)
    before, after = (owners(split(*data.draw(shares(arms, most=slot)))) for _ in range(2))
    champion = before[0] if arms == 1 else VersionName("v1")
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert all(champion in pair for pair in moved)


@given(st.data(), st.integers(2, 6))
def test_within_its_slot_a_share_that_rises_keeps_every_unit(data: st.DataObject, arms: int) -> None:
    slot = PARTS // (arms - 1)
    weights = [data.draw(shares(arms, most=slot)) for _ in range(2)]
    before, after = (owners(split(*one)) for one in weights)
    for number, (old, new) in enumerate(zip(*weights, strict=True)):
        if number and new >= old:
            assert parts_of(before, number) <= parts_of(after, number)


@given(st.integers(0, PARTS), st.integers(0, PARTS))
def test_of_three_arms_one_that_takes_more_than_its_slot_keeps_its_units_too(low: int, high: int) -> None:
    low, high = sorted((low, high))
    before, after = owners(split(PARTS - low, low, 0)), owners(split(PARTS - high, high, 0))
    assert parts_of(before, 1) <= parts_of(after, 1)


@pytest.mark.parametrize("weights", [(60, 20, 20), (40, 20, 40), (5, 90, 5)])
def test_raising_the_last_arm_leaves_the_one_before_alone(weights: Sequence[int]) -> None:
    champion, first, second = weights
    before, after = owners(split(champion, first, second)), owners(split(champion - 5, first, second + 5))
    assert parts_of(before, 1) == parts_of(after, 1)
    assert parts_of(before, 2) < parts_of(after, 2)


def parts_of(found: Sequence[VersionName], number: int) -> set[int]:
    version = VersionName(f"v{number + 1}")
    return {part for part, owner in enumerate(found) if owner == version}

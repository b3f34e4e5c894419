"""Arms are drawn as Envoy draws them: by XXH64 of the salted key, over the stretches of the split."""

from __future__ import annotations

import pytest
from xxhash import xxh64_intdigest

from capstan.domain.traffic import Arm, TrafficSplit, Weight, champion_only
from capstan.domain.versions import VersionName
from capstan.embedded.backtest.drawing import arm_of, is_drawn

V1, V2 = VersionName("v1"), VersionName("v2")


def split(challenger: int, salt: str = "r1") -> TrafficSplit:
    return TrafficSplit((Arm(V1, Weight(100 - challenger)), Arm(V2, Weight(challenger))), salt=salt)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
        (b"The quick brown fox jumps over the lazy dog", 0x0B242D361FDA71BC),
    ],
    ids=[
        "empty",
        "one byte",
        "three bytes",
        "a stripe, four bytes and three",
        "a stripe, eight bytes and three",
    ],
)
def test_the_hash_is_that_of_the_reference(text: bytes, found: int) -> None:
    assert xxh64_intdigest(text) == found


def test_units_stay_in_proportion_and_a_share_that_rises_keeps_those_it_had() -> None:
    units = [f"N{number}" for number in range(4000)]
    at_25 = {unit for unit in units if arm_of(split(25), unit).version == V2}
    at_50 = {unit for unit in units if arm_of(split(50), unit).version == V2}
    assert 900 < len(at_25) < 1100
    assert 1880 < len(at_50) < 2120
    assert at_25 < at_50
    other = {unit for unit in units if arm_of(split(25, "r2"), unit).version == V2}
    assert len(at_25 & other) < 350, "another rollout draws other units"


def test_one_arm_gets_everything_and_copies_are_drawn_in_proportion() -> None:
    assert arm_of(champion_only(V1), "N1").version == V1
    assert is_drawn(100, "1")
    assert not is_drawn(0, "1")
    assert 250 < sum(is_drawn(30, str(number)) for number in range(1000)) < 350

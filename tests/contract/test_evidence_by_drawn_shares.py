"""Units whose router told the shares that drew each of them, read back apart from one another."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from contract.recorded_arms import DAY, EVENT_DELAY, HOUR, START, V1, V2, V3, Shop

from capstan.errors import InvalidRequestError

LATER = START + 3 * DAY
HALVES, MORE = "v1=50 v2=50", "v1=20 v2=80"


def asked(shop: Shop) -> None:
    """Requests that take turns: some drawn by halves, some by 20 and 80, one by nobody; each buys for its number."""
    told = [(V1, HALVES), (V2, HALVES), (V2, MORE), (V2, MORE), (V1, MORE), (V2, HALVES), (V1, None)]
    for number, (arm, shares) in enumerate(told):
        at = START + number * HOUR
        more = {} if shares is None else {"shares": shares}
        shop.put(shop.payload(f"r{number}", arm, at, **more))
        shop.label(f"r{number}", number % 2 == 0, at + HOUR)
        shop.event(number, at + HOUR / 2, float(number), requestId=f"r{number}")


def test_units_are_apart_by_the_shares_that_drew_them_within_a_stretch(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    asked(shop)
    found = shop.arms(LATER, "revenue", window=DAY, by_shares=True, cuts=(START, START + 5 * HOUR))
    told = [
        (day.start, dict(day.shares), {arm: (sums.units, sums.total) for arm, sums in day.arms.items()})
        for day in found.days
    ]
    halves, more = {V1: 50, V2: 50}, {V1: 20, V2: 80}
    assert told == [
        (START, more, {V1: (1, 4.0), V2: (2, 5.0)}),
        (START, halves, {V1: (1, 0.0), V2: (1, 1.0)}),
        (START + 5 * HOUR, {}, {V1: (1, 6.0)}),
        (START + 5 * HOUR, halves, {V2: (1, 5.0)}),
    ]


def test_losses_are_apart_by_shares_too_and_together_they_are_those_of_the_arms(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    asked(shop)
    apart = shop.arms(LATER, by_shares=True)
    whole = shop.arms(LATER)
    assert [dict(day.shares) for day in apart.days] == [{}, {V1: 20, V2: 80}, {V1: 50, V2: 50}]
    for arm in (V1, V2):
        assert apart.total(arm).units == whole.total(arm).units
        assert apart.total(arm).total == pytest.approx(whole.total(arm).total, rel=1e-12)
    assert apart.total(V2).units == 4


def test_more_shares_than_anybody_foresaw_are_kept_apart(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    vectors = [(one, two, 100 - one - two) for one in range(10, 30) for two in range(30, 40)]
    for number, shares in enumerate(vectors):
        arm = (V1, V2, V3)[number % 3]
        spelled = " ".join(f"v{place}={share}" for place, share in enumerate(shares, 1))
        shop.put(shop.payload(f"r{number}", arm, START + number * timedelta(minutes=1), shares=spelled))
        shop.event(number, START + number * timedelta(minutes=1), 2.0, requestId=f"r{number}")
    found = shop.arms(
        LATER, "revenue", window=EVENT_DELAY, versions=(V1, V2, V3), by_shares=True, cuts=(START,)
    )
    assert sorted(tuple(day.shares.values()) for day in found.days) == sorted(vectors)
    assert [sum(sums.total for sums in day.arms.values()) for day in found.days] == [2.0] * len(vectors)
    assert found.total(V1).assigned == 67


@pytest.mark.parametrize("metric", ["revenue", "logLoss"])
def test_where_the_gateway_tells_no_arm_the_version_that_answered_is_the_arm(
    tmp_path: Path, metric: str
) -> None:
    shop = Shop(tmp_path)
    for number, version in enumerate((V1, V2, V2)):
        at = START + number * HOUR
        shop.put(shop.payload(f"r{number}", None, at, version=version))
        shop.label(f"r{number}", True, at + HOUR)
        shop.event(number, at + HOUR / 2, 3.0, requestId=f"r{number}")
    assert not shop.arms(LATER, metric, window=EVENT_DELAY).total(V2).assigned
    found = shop.arms(LATER, metric, window=EVENT_DELAY, by_version=True)
    assert [(found.total(arm).assigned, found.total(arm).units) for arm in (V1, V2)] == [(1, 1), (2, 2)]
    # Nobody drops what a client claims there.
    shop.put(shop.payload("claimed", V1, START + HOUR, version=V2))
    found = shop.arms(LATER, metric, window=EVENT_DELAY, by_version=True)
    assert [found.total(arm).assigned for arm in (V1, V2)] == [1, 3]


@pytest.mark.parametrize("shares", ["v1=60 v2=50", "v1=100%", "v1=50 v1=50", 50, "v1=50,v2=50"])
def test_shares_that_are_none_are_refused(tmp_path: Path, shares: object) -> None:
    shop = Shop(tmp_path)
    with pytest.raises(InvalidRequestError, match=r"^shares: .* whole percents that make 100"):
        shop.put(shop.payload("r", V1, START, shares=shares))

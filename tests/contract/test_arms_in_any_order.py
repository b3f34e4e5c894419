"""No order, no repetition and no crash moves a unit, counts it twice or changes a bit of the evidence by arms."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from contract.recorded_arms import (
    DAY,
    EVENT_DELAY,
    HOUR,
    LABEL_DELAY,
    START,
    V1,
    V2,
    V3,
    Shop,
    UnitByHand,
    log_loss,
    sums_by_hand,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstan.domain.verdicts.evidence import ArmsEvidence, ArmSums
from capstan.recording.collector.intake import Intake

WINDOW, PAST, AS_OF = timedelta(hours=20), timedelta(days=2), START + 4 * DAY
ARMS = ("v1", "v2", "v3")
Delivery = tuple[str, Mapping[str, Any]]


class Story:
    """Four days of a few customers, drawn by chance, and what becomes of them by hand."""

    def __init__(self, chance: random.Random, shop: Shop) -> None:
        self.chance, self.shop = chance, shop
        self.deliveries: list[Delivery] = []
        self.losses: dict[str, UnitByHand] = {}
        self.money: dict[str, UnitByHand] = {}
        self.crossed = 0
        self._events = 0
        for number in range(12):
            self._unit(f"customer-{number}" if number % 4 else None, number)

    def _unit(self, key: str | None, number: int) -> None:
        chance = self.chance
        requests = chance.randint(1, 5) if key is not None else 1
        since = START - PAST if key is not None else START
        moments = sorted(since + chance.random() * (AS_OF - since) for _ in range(requests))
        # Sometimes two requests at one instant: then the id decides.
        if requests > 1 and chance.random() < 0.3:
            moments[1] = moments[0]
        own = chance.choice(ARMS)
        asked = [(at, f"r{number}-{place}", own if chance.random() < 0.8 else chance.choice(ARMS))
                 for place, at in enumerate(moments)]  # fmt: skip
        inside = sorted(one for one in asked if one[0] >= START)
        if inside:
            first, _, arm = inside[0]
            met = {one[2] for one in inside}
            for found in (self.losses, self.money):
                found[str(number)] = UnitByHand(first, arm, met)
            self.crossed += len(met) > 1
        for at, request, arm in asked:
            self._request(str(number), key, request, arm, at)

    def _request(self, unit: str, key: str | None, request: str, arm: str, at: datetime) -> None:
        chance, p = self.chance, self.chance.choice([0.0, 0.1, 0.37, 0.5, 0.99])
        kind = chance.choice(["plain", "plain", "failed", "retried", "hung"])
        if kind in ("failed", "retried"):
            self._payload(request, arm, at, unit=key, status=500, outputs=None, nonfinite=kind == "retried")
        if kind == "hung":
            self._payload(request, arm, at, unit=key, probability=0.77)
        if kind in ("retried", "hung"):
            later = at + timedelta(seconds=2)
            self._payload(request, arm, later, unit=key, version="v1", probability=p, attempt=2)
        elif kind == "plain":
            self._payload(request, arm, at, unit=key, probability=p)
        self._payload(request, None, at, unit=None, version="v2", role="shadow")
        if kind == "failed":
            return
        label, known = chance.choice([True, False, None]), at + chance.random() * LABEL_DELAY
        if chance.random() < 0.8:
            self._label(request, label, known)
            if label is not None and known <= AS_OF:
                self._note(self.losses, unit, at, log_loss(p, label))
        if chance.random() < 0.6:
            value, moment = chance.choice([0.1, 0.2, 19.99, -3.0, 1e6]), at + chance.random() * HOUR
            subject = {"unit": key} if key is not None and chance.random() < 0.5 else {"requestId": request}
            self._events += 1
            self._event(moment, value, **subject)
            if moment <= AS_OF:
                self._note(self.money, unit, moment, value)
        if unit in self.money and at < START:
            # Somebody who asked and bought nothing bought for nothing.
            self.money[unit].past.append(0.0)

    def _note(self, found: dict[str, UnitByHand], unit: str, at: datetime, value: float) -> None:
        one = found.get(unit)
        if one is None:
            return
        if at < START:
            one.past.append(value)
        elif one.first <= at and at - one.first < WINDOW:
            one.outcomes.append(value)

    def _payload(self, *what: Any, **more: Any) -> None:
        self.deliveries.append(("payload", self.shop.payload(*what, **more)))

    def _label(self, request: str, value: bool | None, at: datetime) -> None:
        said = {"noLabel": True} if value is None else {"label": value}
        self.deliveries.append(("labels", {"id": f"e-{request}", "availableAt": at.isoformat(), **said}))

    def _event(self, at: datetime, value: float, **subject: object) -> None:
        event = {"eventId": f"b{self._events}", "event": "purchase", "at": at.isoformat(), "value": value}
        self.deliveries.append(("events", {**event, "availableAt": at.isoformat(), **subject}))


def deliver(shop: Shop, deliveries: list[Delivery], disturbances: Mapping[int, str]) -> None:
    for index, (kind, what) in enumerate(deliveries):
        if kind == "payload":
            shop.put(what)
        else:
            body = orjson.dumps({kind: [what]})
            (shop.intake.feedback if kind == "labels" else shop.intake.events)(body, START, system="shop")
        if disturbances.get(index) == "flush":
            shop.intake.flush()
        elif disturbances.get(index) == "crash":
            # Whatever was not flushed is in the log that the next one recovers.
            shop.intake = Intake(shop.root / "collector", shop.root / "systems")


def evidence(shop: Shop, metric: str) -> ArmsEvidence:
    return shop.arms(AS_OF, metric, window=WINDOW, versions=(V1, V2, V3), covariate=PAST)


def assert_by_hand(
    found: ArmsEvidence, story: Story, units: Mapping[str, UnitByHand], takes: timedelta, *, mean: bool
) -> None:
    wanted = sums_by_hand(units.values(), as_of=AS_OF, takes=takes, mean=mean)
    got = {(day.start, str(arm)): sums for day in found.days for arm, sums in day.arms.items()}
    assert got.keys() == wanted.keys()
    for place, sums in wanted.items():
        for name, value in vars(sums).items():
            assert getattr(got[place], name) == pytest.approx(value, rel=1e-9, abs=1e-9), (place, name)
    assert found.crossed == story.crossed
    assert sum(sums.assigned for sums in got.values()) == len(units)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
def test_any_order_repetition_and_crash_gives_identical_evidence_and_that_of_pencil_and_paper(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: random.Random
) -> None:
    straight = Shop(tmp_path_factory.mktemp("straight"))
    shuffled = Shop(tmp_path_factory.mktemp("shuffled"))
    story = Story(random.Random(seed), straight)
    mixed = story.deliveries + order.sample(story.deliveries, len(story.deliveries) // 3)
    order.shuffle(mixed)
    deliver(straight, story.deliveries, {})
    deliver(
        shuffled,
        mixed,
        {order.randrange(len(mixed)): kind for kind in ("flush", "crash", "flush", "crash", "crash")},
    )
    losses, money = evidence(straight, "logLoss"), evidence(straight, "revenue")

    assert (evidence(shuffled, "logLoss"), evidence(shuffled, "revenue")) == (losses, money)
    assert_by_hand(losses, story, story.losses, WINDOW + LABEL_DELAY, mean=True)
    assert_by_hand(money, story, story.money, WINDOW + EVENT_DELAY, mean=False)


def test_units_that_are_read_part_by_part_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path)
    deliver(shop, Story(random.Random(7), shop).deliveries, {})
    whole = evidence(shop, "revenue")
    monkeypatch.setattr("capstan.recording.arms.LARGEST_PART", 5)
    assert evidence(shop, "revenue") == whole != ArmsEvidence()


def test_a_later_look_moves_no_unit_and_takes_none_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    for seed in range(5):
        shop = Shop(tmp_path_factory.mktemp("looked"))
        deliver(shop, Story(random.Random(seed), shop).deliveries, {})
        before: dict[tuple[datetime, str], ArmSums] = {}
        for hours in range(0, 96, 12):
            found = shop.arms(START + hours * HOUR, window=WINDOW, versions=(V1, V2, V3))
            now = {(day.start, str(arm)): sums for day in found.days for arm, sums in day.arms.items()}
            for place, sums in before.items():
                assert now[place].assigned >= sums.assigned
                assert now[place].closed >= sums.closed
            before = now

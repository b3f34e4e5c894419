"""Evidence by arms, read from real Parquet files by real DuckDB: in the loop's process, and by a monitor."""

from __future__ import annotations

import functools
import math
from datetime import timedelta
from functools import partialmethod
from pathlib import Path

import httpx
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
    log_loss,
    no_bento,
)

from capstan.adapters.own.monitor import HttpMonitor
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.evidence import ArmsEvidence, ArmSums, RankSums
from capstan.domain.verdicts.quality import OWN_LOSS
from capstan.errors import UnavailableError
from capstan.ports.codec import to_json
from capstan.recording import arm_tally
from capstan.recording.arm_ranks import RankTally
from capstan.recording.collector.boots import Heading
from capstan.recording.reading import PayloadReader

NOON = START + 12 * HOUR
CLOSED = NOON + DAY + LABEL_DELAY
LATE = START + 30 * DAY


@pytest.fixture(params=["parquet", "monitor"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(tmp_path, request.param)


def test_a_unit_counts_once_in_its_first_arm_with_the_mean_loss_of_its_window(shop: Shop) -> None:
    shop.ask("a", "v2", NOON, unit="ann", probability=0.8)
    shop.ask("b", "v2", NOON + HOUR, unit="ann", probability=0.4)
    shop.ask("late", "v2", NOON + DAY + HOUR, unit="ann", probability=0.1)
    shop.ask("c", "v1", NOON, unit="bob", probability=0.3)
    for request in ("a", "b", "c", "late"):
        shop.label(request, True, NOON + 2 * HOUR)
    evidence = shop.arms(LATE)
    mean = (log_loss(0.8, True) + log_loss(0.4, True)) / 2
    ann, bob = evidence.total(V2), evidence.total(V1)
    assert (ann.assigned, ann.closed, ann.units) == (bob.assigned, bob.closed, bob.units) == (1, 1, 1)
    assert (ann.total, ann.squares, ann.cubes) == pytest.approx((mean, mean**2, mean**3), abs=1e-11)
    assert bob.total == pytest.approx(log_loss(0.3, True), abs=1e-11)
    assert [day.start for day in evidence.days] == [START]
    assert (evidence.crossed, evidence.lost_share, evidence.clipped_share) == (0, 0, 0)


def test_the_first_request_is_found_by_its_event_time_then_by_its_id_never_by_its_delivery(
    shop: Shop,
) -> None:
    shop.ask("later", "v1", NOON + HOUR, unit="ann")
    shop.ask("b", "v1", NOON, unit="ann")
    shop.ask("a", "v2", NOON, unit="ann")
    evidence = shop.arms(LATE)
    assert (evidence.total(V2).assigned, evidence.total(V1).assigned, evidence.crossed) == (1, 0, 1)


def test_requests_without_a_key_are_units_of_their_own_and_share_none_with_a_key(shop: Shop) -> None:
    shop.ask("a", "v1", NOON)
    shop.ask("b", "v2", NOON)
    shop.ask("c", "v2", NOON, unit="a")
    evidence = shop.arms(LATE)
    assert (evidence.total(V1).assigned, evidence.total(V2).assigned, evidence.crossed) == (1, 2, 0)


def test_a_unit_is_assigned_at_once_and_enters_when_its_window_and_the_labels_delay_are_over(
    shop: Shop,
) -> None:
    shop.ask("a", "v2", NOON, unit="ann")
    shop.label("a", True, NOON + HOUR)
    before, after = shop.arms(CLOSED - timedelta(microseconds=1)), shop.arms(CLOSED)
    assert before.total(V2) == ArmSums(assigned=1)
    assert (after.total(V2).closed, after.total(V2).units) == (1, 1)


def test_a_unit_whose_labels_never_come_is_closed_without_an_outcome(shop: Shop) -> None:
    shop.ask("a", "v2", NOON, unit="ann")
    shop.ask("b", "v2", NOON, unit="bob")
    shop.label("b", None, NOON)
    assert shop.arms(LATE).total(V2) == ArmSums(assigned=2, closed=2)


def test_no_label_from_the_future_is_seen_and_a_correction_counts_from_its_moment_on(shop: Shop) -> None:
    shop.ask("a", "v2", NOON, unit="ann", probability=0.9)
    shop.label("a", True, CLOSED)
    shop.label("a", False, CLOSED + HOUR)
    assert shop.arms(CLOSED).total(V2).total == pytest.approx(log_loss(0.9, True), abs=1e-11)
    assert shop.arms(CLOSED + HOUR).total(V2).total == pytest.approx(log_loss(0.9, False), abs=1e-11)


def test_copies_and_requests_of_no_arm_or_of_another_one_assign_nobody(shop: Shop) -> None:
    shop.ask("a", "v1", NOON, unit="ann")
    shop.ask("a", None, NOON, unit=None, version="v2", role="shadow")
    shop.ask("b", None, NOON, unit="bob")
    shop.ask("c", "v9", NOON, unit="cem")
    shop.ask("d", "v2", START - HOUR, unit="dan")
    evidence = shop.arms(LATE)
    assert {version: evidence.total(version).assigned for version in (V1, V2)} == {V1: 1, V2: 0}


def test_a_failed_arm_keeps_its_units_and_the_retry_in_the_champion_gives_the_outcome(shop: Shop) -> None:
    late = NOON + timedelta(seconds=2)
    shop.ask("a", "v2", NOON, unit="ann", status=500, outputs=None, nonfinite=True)
    shop.ask("a", "v2", late, unit="ann", version="v1", probability=0.7, attempt=2)
    shop.ask("hung", "v2", NOON, unit="bob", probability=0.2)
    shop.ask("hung", "v2", late, unit="bob", version="v1", probability=0.6, attempt=2)
    shop.ask("refused", "v2", NOON, unit="cem", status=422, outputs=None)
    for request in ("a", "hung", "refused"):
        shop.label(request, True, NOON)
    evidence = shop.arms(LATE, window=timedelta(0))
    found = evidence.total(V2)
    assert (found.assigned, found.closed, found.units) == (3, 3, 2)
    assert found.total == pytest.approx(log_loss(0.7, True) + log_loss(0.6, True), abs=1e-11)
    assert (evidence.crossed, evidence.nonfinite_answers) == (0, {V2: 1})


def test_units_are_told_by_the_local_day_of_their_first_request(shop: Shop) -> None:
    for number, hours in enumerate((0, 23, 24, 60)):
        shop.ask(f"r{number}", "v1", START + hours * HOUR, unit=f"u{number}")
    shop.ask("again", "v1", START + 99 * HOUR, unit="u0")
    days = shop.arms(LATE).days
    assert [(day.start, day.arms[V1].assigned) for day in days] == [
        (START, 2),
        (START + DAY, 1),
        (START + 2 * DAY, 1),
    ]


def test_cuts_take_the_place_of_days_and_units_before_the_first_are_of_no_stretch(shop: Shop) -> None:
    for number, hours in enumerate((1, 4, 5, 30, 99)):
        shop.ask(f"r{number}", "v1", START + hours * HOUR, unit=f"u{number}")
    shop.ask("crossed before", "v2", START + 2 * HOUR, unit="u0")
    cuts = (START + 4 * HOUR, START + 30 * HOUR)
    evidence = shop.arms(LATE, cuts=cuts)
    assert [(day.start, day.arms[V1].assigned) for day in evidence.days] == [(cuts[0], 2), (cuts[1], 2)]
    assert evidence.crossed == 0


def test_three_arms_are_told_apart_in_the_order_that_is_asked_for(shop: Shop) -> None:
    for request, arm in (("a", "v1"), ("b", "v2"), ("c", "v3"), ("d", "v3")):
        shop.ask(request, arm, NOON)
    (day,) = shop.arms(LATE, versions=(V1, V2, V3)).days
    assert {version: sums.assigned for version, sums in day.arms.items()} == {V1: 1, V2: 1, V3: 2}


def test_a_cap_bounds_outcomes_and_past_and_its_share_is_told(shop: Shop) -> None:
    shop.ask("past", None, START - HOUR, unit="ann", probability=0.001)
    shop.ask("a", "v2", NOON, unit="ann", probability=0.01)
    shop.ask("b", "v2", NOON, unit="bob", probability=0.9)
    for request in ("past", "a", "b"):
        shop.label(request, True, NOON)
    evidence = shop.arms(LATE, cap=2.0, covariate=DAY)
    found = evidence.total(V2)
    assert found.total == pytest.approx(2 + log_loss(0.9, True), abs=1e-11)
    assert (found.covariate, found.products, evidence.clipped_share) == (2.0, 4.0, 0.5)


def test_the_covariate_is_what_a_unit_did_before_whoever_answered(shop: Shop) -> None:
    shop.ask("p1", "v7", START - HOUR, unit="ann", probability=0.6)
    shop.ask("p2", None, START - 5 * HOUR, unit="ann", probability=0.2)
    shop.ask("p3", "v1", START - 3 * DAY, unit="ann", probability=0.01)
    shop.ask("p4", "v1", START - HOUR, unit="nobody", probability=0.01)
    shop.ask("a", "v1", NOON, unit="ann", probability=0.8)
    shop.ask("b", "v1", NOON, unit="bob", probability=0.7)
    for request in ("p1", "p2", "p3", "p4", "a", "b"):
        shop.label(request, True, NOON)
    found = shop.arms(LATE, covariate=2 * DAY).total(V1)
    x, y = (log_loss(0.6, True) + log_loss(0.2, True)) / 2, log_loss(0.8, True)
    assert (found.assigned, found.units, found.covariate_known) == (2, 2, 1)
    assert (found.covariate, found.covariate_squares) == pytest.approx((x, x * x), abs=1e-11)
    assert (found.products, found.covariate_total) == pytest.approx((x * y, y), abs=1e-11)
    assert shop.arms(LATE).total(V1).covariate_known == 0


def test_sums_of_money_are_of_events_within_the_window_and_zero_without(shop: Shop) -> None:
    shop.ask("p", "v1", START - 2 * HOUR, unit="ann")
    shop.ask("a", "v2", NOON, unit="ann")
    shop.ask("b", "v2", NOON, unit="bob")
    shop.ask("c", "v1", NOON)
    shop.event(1, NOON + HOUR, 20.5, unit="ann")
    shop.event(2, NOON + 2 * HOUR, 4.5, requestId="a")
    shop.event(3, NOON + DAY, 1000, unit="ann")
    shop.event(4, NOON - HOUR, 1000, unit="ann")
    shop.event(5, NOON + HOUR, 7, id="e-c")
    shop.event(6, START - HOUR, 3, unit="ann")
    evidence = shop.arms(LATE, "revenue", covariate=DAY)
    challenger, champion = evidence.total(V2), evidence.total(V1)
    assert (challenger.assigned, challenger.closed, challenger.units) == (2, 2, 2)
    assert (challenger.total, challenger.squares, champion.total) == (25.0, 625.0, 7.0)
    assert (challenger.covariate_known, challenger.covariate, challenger.products) == (1, 3.0, 75.0)
    assert shop.arms(LATE, "conversion").total(V2).total == 1.0
    baskets = shop.arms(LATE, "basket", cap=10.0)
    assert (baskets.total(V2).units, baskets.total(V2).total, baskets.clipped_share) == (1, 10.0, 0.5)


def test_an_event_counts_from_the_moment_it_became_known_until_it_is_taken_back(shop: Shop) -> None:
    closed = NOON + DAY + EVENT_DELAY
    shop.ask("a", "v2", NOON, unit="ann")
    shop.event(1, NOON + HOUR, 8.0, unit="ann", availableAt=(closed + HOUR).isoformat())
    shop.event(1, NOON + HOUR, 8.0, unit="ann", availableAt=(closed + 2 * HOUR).isoformat(), retract=True)
    moments = (closed - timedelta(seconds=1), closed, closed + HOUR, closed + 2 * HOUR)
    found = [shop.arms(moment, "revenue").total(V2) for moment in moments]
    assert [(sums.units, sums.total) for sums in found] == [(0, 0), (1, 0), (1, 8), (1, 0)]


def test_the_files_own_cap_bounds_an_online_metric_that_is_asked_for_without_one(shop: Shop) -> None:
    shop.ask("a", "v2", NOON, unit="ann")
    shop.event(1, NOON + HOUR, 80.0, unit="ann")
    assert shop.arms(LATE, "basket").total(V2).total == 50.0


def test_lost_payloads_of_all_arms_are_a_share(shop: Shop) -> None:
    shop.put(
        shop.payload("a", "v1", NOON), shop.payload("b", "v1", NOON), heading=Heading("bootv1", "v1", 4, 2)
    )
    assert shop.arms(LATE).lost_share == pytest.approx(2 / 4)
    assert shop.arms(LATE, versions=(V2, V3)).lost_share == 0


def test_nothing_stored_is_no_evidence(shop: Shop) -> None:
    assert shop.arms(LATE) == shop.arms(LATE, "revenue") == ArmsEvidence()
    assert shop.arms(START) == ArmsEvidence()


def test_outcomes_are_ranked_among_those_of_the_first_arm_where_asked_for(shop: Shop) -> None:
    answers = {"v1": (0.9, 0.5, 0.2), "v2": (0.95, 0.5), "v3": ()}
    for arm, probabilities in answers.items():
        for number, probability in enumerate(probabilities):
            shop.ask(f"{arm}{number}", arm, NOON, probability=probability)
            shop.label(f"{arm}{number}", True, NOON)
    shop.ask("waits", "v2", NOON, probability=0.1)
    evidence = shop.arms(LATE, versions=(V1, V2, V3), by_rank=True)
    # Losses fall with the probability: 0.95 is below all three, 0.5 above one, with one tie.
    assert evidence.ranks == {
        V2: RankSums(2, 3, won_twice=3, ties=6, variance=0.125, control_variance=0.0625)
    }
    assert not evidence.too_many_values
    assert shop.arms(LATE, versions=(V1, V2, V3)).ranks == {}


def test_too_many_distinct_outcomes_are_told_in_place_of_ranks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, arm in enumerate(("v1", "v2", "v2")):
        shop.ask(f"r{number}", arm, NOON, probability=0.2 + number / 10)
        shop.label(f"r{number}", True, NOON)
    few = functools.partial(RankTally, most=2)
    monkeypatch.setattr(arm_tally, "RankTally", few)
    evidence = shop.arms(LATE, by_rank=True)
    assert (evidence.ranks, evidence.too_many_values) == ({}, True)


@pytest.mark.parametrize("metric", ["rocAuc", "made up"])
def test_a_metric_that_gives_a_unit_no_outcome_is_no_evidence(shop: Shop, metric: str) -> None:
    with pytest.raises(UnavailableError, match="gives a unit no outcome; known: logLoss"):
        shop.arms(LATE, metric)


def test_the_tasks_own_loss_is_that_which_is_asked_for_without_a_name(shop: Shop) -> None:
    shop.ask("a", "v2", NOON)
    shop.label("a", True, NOON)
    assert shop.arms(LATE, OWN_LOSS) == shop.arms(LATE, "logLoss") != shop.arms(LATE, "brierScore")


def test_a_wrong_question_is_refused_and_an_absent_monitor_is_unavailable(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "monitor")
    asked = Arms("logLoss", (V1, V2), DAY)
    good = {"asked": to_json(asked), "since": START.isoformat(), "as_of": LATE.isoformat()}
    headers = {"authorization": "Bearer secret"}
    for wrong in (
        b"{",
        b"{}",
        orjson.dumps({**good, "since": "2026-03-01"}),
        orjson.dumps({**good, "asked": {}}),
    ):
        answer = shop.client.post("/evidence/arms", content=wrong, headers=headers)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "body")
    assert shop.client.post("/evidence/arms", json=good, headers=headers).status_code == 200
    assert shop.client.post("/evidence/arms", json=good).status_code == 401
    away = HttpMonitor(httpx.Client(trust_env=False), "http://127.0.0.1:1", token="secret", bento=no_bento)
    with pytest.raises(UnavailableError, match="the monitor"):
        away.arms(asked, since=START, as_of=LATE)


def test_many_units_come_in_batches_and_one_with_many_requests_goes_on_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PayloadReader, "batches", partialmethod(PayloadReader.batches, rows=2048))
    shop = Shop(tmp_path)
    robot = [
        shop.payload(f"robot{number:04}", "v1", NOON + timedelta(milliseconds=number), unit="robot")
        for number in range(5000)
    ]
    others = [
        shop.payload(f"r{number:04}", ("v1", "v2")[number % 2], NOON, unit=f"{'az'[number % 2]}{number}")
        for number in range(5000)
    ]
    shop.put(*robot)
    shop.put(*others)
    labels = [
        {"id": one["data"]["entity_id"], "availableAt": NOON.isoformat(), "label": True}  # type: ignore[index]
        for one in (*robot, *others)
    ]
    shop.intake.feedback(orjson.dumps({"labels": labels}), START, system="shop")
    evidence = shop.arms(LATE)
    assert (evidence.total(V1).units, evidence.total(V2).units, evidence.crossed) == (2501, 2500, 0)
    assert evidence.total(V1).total == pytest.approx(2501 * math.log(2), rel=1e-12)
    assert [day.start for day in evidence.days] == [START]

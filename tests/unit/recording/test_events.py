"""Business events: what is taken, what is read back as of a moment, and what units' outcomes follow from them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sent_payloads import body

from capstan.errors import InvalidRequestError, UnavailableError
from capstan.recording.collector.asked_requests import AskedRequests, answer
from capstan.recording.collector.intake import Intake
from capstan.recording.collector.recent_requests import RecentRequests
from capstan.recording.moments import microseconds
from capstan.recording.outcomes import outcome_sql
from capstan.recording.reading import PayloadReader
from capstan.spec.online import OnlineMetric

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONLINE = [
    {"name": "revenue", "event": "purchase", "aggregate": "Sum", "window": "2h", "better": "Higher"},
    {"name": "clicked", "event": "click", "aggregate": "Rate", "window": "2h", "better": "Higher"},
]


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    folder = tmp_path / "systems" / "shop"
    folder.mkdir(parents=True)
    spec = {
        "features": [],
        "objective": {"task": "BinaryClassification"},
        "evaluation": {"online": ONLINE},
        "rollout": {
            "steps": [{"shadow": {}}, {"interleave": {"event": "open", "guardrails": [{"event": "report"}]}}]
        },
    }
    (folder / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
    return Intake(tmp_path / "collector", tmp_path / "systems")


def post(intake: Intake, *events: Mapping[str, object], at: datetime = NOON) -> Any:
    return intake.events(orjson.dumps({"events": events}), at, system=None)


def purchase(number: int, value: object = 10, **more: object) -> dict[str, object]:
    return {"eventId": f"p{number}", "event": "purchase", "requestId": "r1", "value": value, **more}


def stored(intake: Intake, *, as_of: datetime = NOON + 9 * HOUR) -> list[dict[str, Any]]:
    intake.flush()
    reader = PayloadReader(intake._systems / "shop")
    rows = reader.fetch(
        "select event_id, value, unit, entity_id, request_id, retracted from stored_events order by event_id",
        start=NOON - HOUR,
        end=NOON + HOUR,
        as_of=as_of,
    ).to_pylist()
    reader.close()
    return rows


def values(intake: Intake, *, as_of: datetime = NOON + 9 * HOUR) -> dict[str, float | None]:
    return {row["event_id"]: row["value"] for row in stored(intake, as_of=as_of) if not row["retracted"]}


BAD = {
    "no id of its own": ({"event": "click", "id": "a"}, "events[1].eventId", "must be a text"),
    "no event": ({"eventId": "x", "id": "a"}, "events[1].event", "letters, digits"),
    "event with a space": ({"eventId": "x", "event": "a click", "id": "a"}, "events[1].event", "up to 63"),
    "nobody": ({"eventId": "x", "event": "click"}, "events[1]", "one of id, requestId and unit"),
    "two subjects": ({"eventId": "x", "event": "click", "id": "a", "unit": "b"}, "events[1]", "must have one"),
    "item of a unit": (
        {"eventId": "x", "event": "click", "id": "a", "requestId": "r", "unit": "b"}, "events[1]", "requestId and unit",
    ),
    "unknown field": ({"eventId": "x", "event": "click", "id": "a", "amount": 3}, "events[1].amount", "known: eventId"),
    "sum of nothing": ({"eventId": "x", "event": "purchase", "id": "a"}, "events[1].value", "sums or averages"),
    "text": ({"eventId": "x", "event": "click", "id": "a", "value": "3"}, "events[1].value", "finite number"),
    "truth": ({"eventId": "x", "event": "click", "id": "a", "value": True}, "events[1].value", "finite number"),
    "huge": ({"eventId": "x", "event": "click", "id": "a", "value": 1e15}, "events[1].value", "below 1e+15"),
    "time": ({"eventId": "x", "event": "click", "id": "a", "at": "noon"}, "events[1].at", "RFC 3339"),
    "known before": (
        {"eventId": "x", "event": "click", "id": "a", "at": "2026-03-01T12:00Z", "availableAt": "2026-03-01T11:00Z"},
        "events[1].availableAt", "nothing is known before it happened",
    ),
    "retraction by 1": ({"eventId": "x", "event": "click", "id": "a", "retract": 1}, "events[1].retract", "true or"),
    "twice": ({"eventId": "ok", "event": "click", "id": "a"}, "events[1].eventId", "also the id of events[0]"),
    "no object": ("click", "events[1]", "must be an object"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "field", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_event_is_named_and_nothing_of_its_body_is_taken(
    intake: Intake, entry: Any, field: str, words: str
) -> None:
    good = {"eventId": "ok", "event": "click", "id": "a"}
    with pytest.raises(InvalidRequestError) as raised:
        post(intake, good, entry)
    assert raised.value.field == field
    assert words in raised.value.rule
    assert (intake.ledger.events, stored(intake)) == (0, [])


def test_many_bad_events_are_named_at_once_and_at_most_a_hundred(intake: Intake) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        post(intake, *[{"eventId": f"{n}", "event": "?", "id": "a"} for n in range(150)])
    assert len(raised.value.document()["errors"]) == 100


def test_events_wait_for_the_systems_file(tmp_path: Path) -> None:
    (tmp_path / "systems" / "shop").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="has not been written yet; send again"):
        post(Intake(tmp_path / "collector", tmp_path / "systems"), purchase(1))


def test_an_event_that_comes_again_counts_once_and_its_correction_takes_its_place(intake: Intake) -> None:
    assert post(intake, purchase(1), purchase(2)).known == frozenset()
    assert post(intake, purchase(1), purchase(2, 20), at=NOON + HOUR).known == {0}
    assert values(intake) == {"p1": 10, "p2": 20}
    assert values(intake, as_of=NOON + HOUR / 2) == {"p1": 10, "p2": 10}, "as it was known then"
    assert values(intake, as_of=NOON - HOUR) == {}
    ledger = intake.ledger
    assert (ledger.events, ledger.event_duplicates, ledger.events_retracted) == (3, 1, 0)


def test_an_event_is_taken_back_and_can_be_told_again(intake: Intake) -> None:
    post(intake, purchase(1))
    post(intake, purchase(1, None, retract=True), at=NOON + HOUR)
    assert values(intake) == {}
    assert values(intake, as_of=NOON) == {"p1": 10}
    post(intake, purchase(1, 30), at=NOON + 2 * HOUR)
    assert values(intake) == {"p1": 30}
    assert intake.ledger.events_retracted == 1


def test_no_order_of_flushes_changes_what_is_read(tmp_path: Path) -> None:
    told = [
        (purchase(1), 0),
        (purchase(1, 20), 1),
        (purchase(1, None, retract=True), 2),
        (purchase(1, 40), 3),
    ]
    found = []
    for number, order in enumerate(itertools.permutations(told)):
        folder = tmp_path / str(number)
        (folder / "systems" / "shop").mkdir(parents=True)
        spec = {"features": [], "objective": {"task": "BinaryClassification"}}
        (folder / "systems" / "shop" / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
        intake = Intake(folder / "collector", folder / "systems")
        for event, hours in order:
            post(intake, event, at=NOON + hours * HOUR)
            intake.flush()
        found.append([values(intake, as_of=NOON + hours * HOUR) for hours in range(4)])
        intake.close()
    assert all(one == [{"p1": 10}, {"p1": 20}, {}, {"p1": 40}] for one in found)


def test_events_survive_a_collector_that_dies_and_duplicates_are_still_known(
    intake: Intake, tmp_path: Path
) -> None:
    post(intake, purchase(1))
    again = Intake(tmp_path / "collector", tmp_path / "systems")
    assert post(again, purchase(1)).known == {0}
    assert values(again) == {"p1": 10}
    again.flush()
    third = Intake(tmp_path / "collector", tmp_path / "systems")
    assert post(third, purchase(1), at=NOON + HOUR).known == {0}, "from the ledger, the log is gone"


def test_events_that_nothing_reads_are_taken_and_told(intake: Intake) -> None:
    taken = post(
        intake,
        *[{"eventId": name, "event": name, "id": "a"} for name in ("click", "purchse", "open", "report")],
    )
    assert intake.unread(taken) == ["purchse"]
    assert set(values(intake)) == {"click", "purchse", "open", "report"}


def payload(
    request: str, *, entity: str | None = None, unit: str | None = None, sequence: int = 1
) -> dict[str, Any]:
    return {
        "id": f"b-{sequence}", "source": "/capstan/shop/v1",
        "data": {
            "request_id": request, "entity_id": entity, "unit": unit, "version": "v1", "role": "champion", "attempt": 1,
            "row": 0, "event_time": NOON.isoformat(), "status": 200, "outputs": {"probability": 0.5},
        },
    }  # fmt: skip


def test_an_event_is_told_which_request_it_is_about_by_request_id_or_unit(intake: Intake) -> None:
    intake.receive(None, body([payload("r1", entity="e1", unit="ann")]), NOON)
    events = [
        {"eventId": f"{number}", "event": "click", **subject}
        for number, subject in enumerate(
            [
                {"requestId": "r1"},
                {"id": "e1"},
                {"unit": "ann"},
                {"unit": "bob"},
                {"id": "item", "requestId": "r1"},
            ]
        )
    ]

    async def look() -> dict[str, Any]:
        asked = AskedRequests(intake, intake._systems, settle_seconds=0.0, unsettled_seconds=0.0)
        taken = post(intake, *events)
        return answer(taken, await asked.find(taken))

    found = asyncio.run(look())
    assert found["matched"]["ids"] == ["r1", "e1", "ann"]
    assert found["neverAsked"]["ids"] == ["bob"]
    assert "the event is kept, should one come" in found["neverAsked"]["why"]
    intake.flush()
    intake.recent = RecentRequests()
    assert asyncio.run(look())["matched"]["count"] == 4, "looked up in Parquet"


UNITS = {"uann": ["r1", "r2"], "ubob": ["r3"], "rr4": ["r4"]}
ENTITIES = {"r1": "e1", "r2": "e2", "r3": "e1", "r4": "e4"}


def outcomes(intake: Intake, **metric: Any) -> dict[str, float | None]:
    """Of the three units, whose time begins at noon and lasts two hours."""
    intake.flush()
    reader = PayloadReader(intake._systems / "shop")
    units = ", ".join(f"('{key}', {microseconds(NOON)}, {microseconds(NOON + 2 * HOUR)})" for key in UNITS)
    requests = ", ".join(
        f"('{key}', '{one}', '{ENTITIES[one]}')" for key, ids in UNITS.items() for one in (*ids, *ids)
    )
    sql = outcome_sql(
        OnlineMetric.model_validate(
            {"name": "m", "event": "buy", "window": "2h", "better": "Higher", **metric}
        )
    )
    query = f"""
    with units as (select * from (values {units}) as t(key, first, until)),
      unit_requests as (select * from (values {requests}) as t(key, request_id, entity_id)),
      outcomes as ({sql}) select key, outcome, clipped from outcomes
    """
    rows = reader.fetch(query, start=NOON, end=NOON + 2 * HOUR, as_of=NOON + 99 * HOUR).to_pylist()
    reader.close()
    return {row["key"]: row["outcome"] for row in rows}


def bought(number: int, hours: float, value: float, **subject: object) -> dict[str, object]:
    at = (NOON + hours * HOUR).isoformat()
    return {"eventId": f"b{number}", "event": "buy", "at": at, "value": value, **subject}


@pytest.fixture
def shop(intake: Intake) -> Intake:
    post(
        intake,
        bought(1, 0, 0.1, unit="ann"),
        bought(2, 0.5, 0.2, requestId="r2"),
        bought(3, 1, 0.3, id="e1"),
        bought(4, 2, 100, unit="ann"),
        bought(5, -0.1, 100, unit="ann"),
        bought(6, 1, -7, requestId="r3", id="e4"),
        {**bought(7, 1, 100, unit="bob"), "retract": True},
        {**bought(8, 1, 100, unit="bob"), "event": "other"},
        at=NOON + 5 * HOUR,
    )
    return intake


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        pytest.param({"aggregate": "Count"}, {"uann": 3, "ubob": 2, "rr4": 0}, id="count"),
        pytest.param({"aggregate": "Sum"}, {"uann": 0.6, "ubob": -6.7, "rr4": 0}, id="sum"),
        pytest.param({"aggregate": "Mean"}, {"uann": 0.2, "ubob": -3.35, "rr4": None}, id="mean"),
        pytest.param({"aggregate": "Rate"}, {"uann": 1, "ubob": 1, "rr4": 0}, id="rate"),
        pytest.param({"aggregate": "Sum", "cap": 0.5}, {"uann": 0.5, "ubob": -0.5, "rr4": 0}, id="cap"),
        pytest.param(
            {"aggregate": "Mean", "cap": 0.5}, {"uann": 0.2, "ubob": -0.5, "rr4": None}, id="cap of a mean"
        ),
        pytest.param(
            {"aggregate": "Count", "per": "Request"}, {"uann": 2, "ubob": 2, "rr4": 0}, id="per request"
        ),
    ],
)
def test_a_units_events_within_its_time_become_its_outcome(
    shop: Intake, metric: dict[str, Any], wanted: dict[str, float | None]
) -> None:
    assert outcomes(shop, **metric) == wanted, "exactly: 0.1 + 0.2 + 0.3 is 0.6 in whole numbers of 1e-12"

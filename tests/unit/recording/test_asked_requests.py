"""A sender of labels hears which requests they are about, and nothing is guessed."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from sent_payloads import body, taken

from capstan.errors import InvalidRequestError
from capstan.recording.collector import asked_requests, stored_requests
from capstan.recording.collector.asked_requests import MOST_IDS, AskedRequests, Finding, Request, answer
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.intake import Intake
from capstan.recording.collector.recent_requests import RecentRequests
from capstan.recording.collector.stored_requests import find_stored
from capstan.recording.segments import payload_segment, write_segment

NOW = datetime(2013, 3, 1, tzinfo=UTC)


def event(sequence: int, boot: str = "b", **data: object) -> dict[str, object]:
    return {
        "id": f"{boot}-{sequence}",
        "source": "/capstan/flights/v1",
        "data": {
            "request_id": f"r{sequence}", "entity_id": f"e{sequence}", "version": "v1", "role": "champion",
            "attempt": 1, "row": 0, "event_time": (NOW + timedelta(days=sequence)).isoformat(), "status": 200,
            "outputs": {"probability": 0.5}, **data,
        },
    }  # fmt: skip


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    folder = tmp_path / "systems" / "flights"
    folder.mkdir(parents=True)
    spec = {"features": [], "objective": {"task": "BinaryClassification"}}
    (folder / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
    return Intake(tmp_path / "collector", tmp_path / "systems")


def receive(intake: Intake, *events: dict[str, object], produced: int = 0) -> None:
    intake.receive(Heading("b", "v1", produced, 0, system="flights"), body(events), NOW)


def look(intake: Intake, *labels: dict[str, object], **seconds: float) -> dict[str, object]:
    """The answer about these labels, of a collector that runs long enough to be settled."""
    return asyncio.run(looked(intake, *labels, **seconds))


async def looked(intake: Intake, *labels: dict[str, object], **seconds: float) -> dict[str, object]:
    requests = AskedRequests(
        intake, intake._systems, **({"settle_seconds": 0.0, "unsettled_seconds": 0.0} | seconds)
    )
    return await told(intake, requests, *labels)


async def told(intake: Intake, requests: AskedRequests, *labels: dict[str, object]) -> dict[str, object]:
    body = orjson.dumps({"labels": [{"label": True, **label} for label in labels]})
    taken = intake.feedback(body, NOW, system=None)
    return answer(taken, await requests.find(taken))


def ids(found: dict[str, object]) -> dict[str, list[str]]:
    return {kind: entry["ids"] for kind, entry in found.items() if entry["ids"]}  # type: ignore[index]


def test_each_label_is_told_to_be_matched_or_never_asked_before_and_after_the_flush(intake: Intake) -> None:
    receive(intake, event(1), event(2))
    labels = [{"id": "e1"}, {"requestId": "r2"}, {"id": "typo"}, {"id": "r2"}]
    wanted = {"matched": ["e1", "r2"], "neverAsked": ["typo", "r2"]}
    assert ids(look(intake, *labels)) == wanted
    intake.flush()
    assert ids(look(intake, *labels)) == wanted
    intake.recent = RecentRequests()  # so much came since that these were forgotten
    assert ids(look(intake, *labels)) == wanted


def test_a_collector_that_starts_again_knows_what_it_had_not_flushed(intake: Intake, tmp_path: Path) -> None:
    receive(intake, event(1))
    intake.flush()
    receive(intake, event(2))
    again = Intake(tmp_path / "collector", tmp_path / "systems")
    assert ids(look(again, {"id": "e1"}, {"id": "e2"})) == {"matched": ["e1", "e2"]}


def test_copies_and_errors_answer_nobody_and_match_no_label(intake: Intake) -> None:
    receive(intake, event(1, role="shadow"), event(2, status=500, outputs=None))
    labels = [{"id": "e1"}, {"id": "e2"}]
    assert ids(look(intake, *labels)) == {"neverAsked": ["e1", "e2"]}
    intake.flush()
    assert ids(look(intake, *labels)) == {"neverAsked": ["e1", "e2"]}


def test_a_label_of_another_system_matches_nothing(intake: Intake, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "systems" / "flights", tmp_path / "systems" / "other")
    receive(intake, event(1))
    body = orjson.dumps({"labels": [{"id": "e1", "label": True}], "system": "other"})

    async def ask() -> Finding:
        requests = AskedRequests(intake, tmp_path / "systems", settle_seconds=0, unsettled_seconds=0)
        return await requests.find(intake.feedback(body, NOW, system=None))

    assert asyncio.run(ask()).requests == [Request.NEVER_ASKED]


def test_a_label_waits_while_a_producer_holds_payloads_that_it_had_numbered(intake: Intake) -> None:
    receive(intake, event(1), produced=3)
    found = look(intake, {"id": "e2"})
    assert ids(found) == {"waiting": ["e2"]}
    assert "payloads on their way: 2" in found["waiting"]["why"]  # type: ignore[index]
    receive(intake, event(2), event(3), produced=3)
    assert ids(look(intake, {"id": "e2"}, {"id": "e9"})) == {"matched": ["e2"], "neverAsked": ["e9"]}


def test_a_busy_producer_keeps_no_typo_waiting(intake: Intake) -> None:
    # It numbers faster than it hands in: what it had numbered when the label came is here, newer ones are not.
    receive(intake, event(1), produced=2)

    async def ask() -> dict[str, object]:
        asking = asyncio.create_task(looked(intake, {"id": "typo"}, settle_seconds=0.2))
        await asyncio.sleep(0.1)
        receive(intake, event(2), produced=5)
        return await asking

    assert ids(asyncio.run(ask())) == {"neverAsked": ["typo"]}


def test_a_payload_that_comes_a_moment_after_its_label_is_matched(intake: Intake) -> None:
    async def ask() -> dict[str, object]:
        asking = asyncio.create_task(looked(intake, {"id": "e1"}, settle_seconds=0.3))
        await asyncio.sleep(0.1)
        receive(intake, event(1))
        return await asking

    assert ids(asyncio.run(ask())) == {"matched": ["e1"]}


def test_the_answer_comes_as_soon_as_everything_is_found_in_memory_or_in_parquet(intake: Intake) -> None:
    receive(intake, event(1))
    intake.flush()
    receive(intake, event(2))
    began = time.monotonic()
    assert ids(look(intake, {"id": "e2"}, settle_seconds=60.0)) == {"matched": ["e2"]}
    intake.recent = RecentRequests()
    intake.flush()
    assert ids(look(intake, {"id": "e1"}, {"id": "e2"}, settle_seconds=60.0)) == {"matched": ["e1", "e2"]}
    assert time.monotonic() - began < 20


def test_a_search_ends_once_what_it_looks_for_has_come(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def endless(*_: object, is_over: Callable[[], bool], **__: object) -> stored_requests.Search:
        while not is_over():
            time.sleep(0.01)
        ended.set()
        return stored_requests.Search(frozenset(), False, None)

    monkeypatch.setattr(asked_requests, "find_stored", endless)

    async def ask() -> dict[str, object]:
        asking = asyncio.create_task(looked(intake, {"id": "e1"}, look_seconds=600.0, settle_seconds=600.0))
        await asyncio.sleep(0.1)
        receive(intake, event(1))
        return await asking

    assert ids(asyncio.run(ask())) == {"matched": ["e1"]}
    assert ended.wait(30)


def test_stored_payloads_that_may_not_be_listed_make_ids_unknown(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(stored_requests, "payload_days", refused)
    found = look(intake, {"id": "e1"})
    assert ids(found) == {"unknown": ["e1"]}
    assert "of any day cannot be read" in found["unknown"]["why"]  # type: ignore[index]


def test_after_a_start_or_a_full_disk_services_may_hold_payloads_and_labels_wait(intake: Intake) -> None:
    async def ask() -> list[dict[str, list[str]]]:
        requests = AskedRequests(intake, intake._systems, settle_seconds=0.0, unsettled_seconds=0.2)
        found = [ids(await told(intake, requests, {"id": "e1"}))]
        await asyncio.sleep(0.25)
        found.append(ids(await told(intake, requests, {"id": "e1"})))
        requests.unsettle()
        found.append(ids(await told(intake, requests, {"id": "e1"})))
        return found

    assert asyncio.run(ask()) == [{"waiting": ["e1"]}, {"neverAsked": ["e1"]}, {"waiting": ["e1"]}]


def test_where_payloads_were_lost_the_answer_says_that_the_request_may_be_among_them(intake: Intake) -> None:
    intake.receive(Heading("b", "v1", 4, 3, system="flights"), body([event(1)]), NOW)
    found = look(intake, {"id": "e2"})
    assert "lost or missing so far, which may have had it: 3" in found["neverAsked"]["why"]  # type: ignore[index]


def test_what_there_was_no_time_to_look_up_is_unknown_and_what_was_found_is_told(intake: Intake) -> None:
    receive(intake, *[event(day) for day in range(10)])
    intake.flush()
    intake.recent = RecentRequests()
    folder = intake._systems / "flights" / "payloads"
    ticks = iter(range(100))
    search = find_stored(folder, ["ie9", "ie0"], until=5, clock=lambda: next(ticks))
    assert search.found == {"ie9"}
    assert not search.is_whole
    assert search.oldest is not None
    assert search.oldest > "2013-03-05"
    found = look(intake, {"id": "e9"}, look_seconds=0.0)
    assert ids(found) == {"unknown": ["e9"]}
    assert "could not be searched within 0 s" in found["unknown"]["why"]  # type: ignore[index]


def test_a_segment_that_cannot_be_read_makes_ids_unknown_and_hides_no_other_day(intake: Intake) -> None:
    receive(intake, event(1), event(2))
    intake.flush()
    intake.recent = RecentRequests()
    (broken,) = (intake._systems / "flights" / "payloads" / "day=2013-03-03").glob("*.parquet")
    broken.write_bytes(b"no Parquet")
    found = look(intake, {"id": "e1"}, {"id": "e2"})
    assert ids(found) == {"matched": ["e1"], "unknown": ["e2"]}
    assert "2013-03-03 cannot be read" in found["unknown"]["why"]  # type: ignore[index]


def test_a_segment_that_a_merger_replaces_meanwhile_is_read_after_all(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(intake, event(1))
    intake.flush()
    folder = intake._systems / "flights" / "payloads"
    real = stored_requests.segments_of_day
    stale = iter([["t0-99999999.parquet"]])
    monkeypatch.setattr(stored_requests, "segments_of_day", lambda *where: next(stale, None) or real(*where))
    assert find_stored(folder, ["ie1"], until=time.monotonic() + 30).found == {"ie1"}


def test_memory_holds_a_bounded_number_of_ids_and_says_when_that_was_not_enough() -> None:
    recent = RecentRequests(most_stored=10, most_waiting=20)
    payloads = [*taken(*(event(n, entity_id=None) for n in range(0, 80, 2)))]
    for rows in payloads[:15]:
        recent.add(1, rows)
    assert recent.is_whole
    recent.move_to_stored(1)
    for rows in payloads[15:]:
        recent.add(2, rows)
    assert not recent.is_whole
    assert len(recent.find("flights", [f"rr{n}" for n in range(80)])) == 10 + 20
    recent.move_to_stored(2)
    assert recent.is_whole
    assert len(recent.find("flights", [f"rr{n}" for n in range(80)])) == 10


def test_ids_that_memory_could_not_take_are_unknown(intake: Intake) -> None:
    intake.recent = RecentRequests(most_waiting=2)
    receive(intake, event(1))
    receive(intake, event(2))
    assert ids(look(intake, {"id": "e1"}, {"id": "e2"})) == {"matched": ["e1"], "unknown": ["e2"]}


def test_an_answer_lists_a_bounded_number_of_ids_and_counts_all(intake: Intake) -> None:
    found = look(intake, *[{"id": f"e{n}"} for n in range(1000)])
    assert found["neverAsked"]["count"] == 1000  # type: ignore[index]
    assert found["neverAsked"]["ids"] == [f"e{n}" for n in range(MOST_IDS)]  # type: ignore[index]


def test_new_labels_are_counted_by_what_was_found_and_repeated_ones_are_not(intake: Intake) -> None:
    async def ask() -> dict[tuple[str, Request], int]:
        requests = AskedRequests(intake, intake._systems, settle_seconds=0.0, unsettled_seconds=0.0)
        receive(intake, event(1))
        for _ in range(2):
            await told(intake, requests, {"id": "e1"}, {"id": "typo"}, {"id": "typo2"})
        return dict(requests.counts)

    assert asyncio.run(ask()) == {("labels", Request.MATCHED): 1, ("labels", Request.NEVER_ASKED): 2}


@pytest.fixture
def many(intake: Intake) -> Intake:
    """With so many stored payloads that a search takes some time."""
    rows = 400_000
    table = pa.table(
        {
            "request_id": [os.urandom(16).hex() for _ in range(rows)],
            "entity_id": ["e"] * rows,
            "role": ["champion"] * rows,
            "status": pa.array([200] * rows, pa.int32()),
        }
    )
    folder = intake._systems / "flights" / "payloads"
    write_segment(payload_segment(folder, NOW.date(), 1), table)
    return intake


def test_the_loop_goes_on_while_stored_payloads_are_searched(many: Intake) -> None:
    async def ask() -> tuple[int, list[dict[str, list[str]]]]:
        requests = AskedRequests(
            many, many._systems, look_seconds=30.0, settle_seconds=0.0, unsettled_seconds=0.0
        )
        asking = asyncio.gather(*(told(many, requests, {"requestId": f"no{n}"}) for n in range(4)))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        return turns, [ids(found) for found in await asking]

    turns, found = asyncio.run(ask())
    assert turns > 100
    assert found == [{"neverAsked": [f"no{n}"]} for n in range(4)]


def test_searches_that_follow_each_other_rest_as_long_as_they_read(
    many: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[float] = []

    def timed(*where: object, **limits: object) -> stored_requests.Search:
        began = time.monotonic()
        try:
            return find_stored(*where, **limits)  # type: ignore[arg-type]
        finally:
            searched.append(time.monotonic() - began)

    monkeypatch.setattr(asked_requests, "find_stored", timed)

    async def ask() -> float:
        requests = AskedRequests(
            many, many._systems, look_seconds=60.0, settle_seconds=0, unsettled_seconds=0, burst_seconds=0
        )
        began = time.monotonic()
        for n in range(6):
            await told(many, requests, {"requestId": f"no{n}"})
        return time.monotonic() - began

    took = asyncio.run(ask())
    # The last one's rest is not waited for.
    assert len(searched) == 6
    assert took > sum(searched) + sum(searched[:-1])


@pytest.mark.parametrize(
    ("extra", "field"),
    [({"match": "no"}, "match"), ({"sytem": "flights"}, "sytem")],
    ids=["match", "unknown"],
)
def test_a_field_beside_the_labels_is_known_or_refused(
    intake: Intake, extra: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        intake.feedback(orjson.dumps({"labels": [], **extra}), NOW, system=None)
    assert caught.value.field == field

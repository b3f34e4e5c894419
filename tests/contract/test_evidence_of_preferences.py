"""Which ranker users prefer: real Parquet files of lists and clicks, real DuckDB."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest
from contract.recorded_task import DAY, NOON, START, V1, V2, RecordedTask
from contract.test_evidence_of_groups import document

from capstan.domain.steps.questions import Interleaving
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceEvidence
from capstan.domain.versions import VersionName

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ASKED = Interleaving("click", Method.TEAM_DRAFT, HOUR, 10 * MINUTE)
TEAMS = ("champion", "challenger", "challenger", "champion")
"""Of each row of a list, which stands in the order of the rows."""


class Lists(RecordedTask):
    """Interleaved lists of four items, and clicks on them."""

    def __init__(self, root: Path, kind: str = "parquet") -> None:
        super().__init__(root, document(), kind)
        self._events = itertools.count()

    def show(
        self,
        request: str,
        *,
        unit: str | None = None,
        at: datetime = NOON,
        items: Sequence[str] | None = None,
        ranks: Sequence[tuple[int, int]] = ((1, 4), (2, 1), (4, 2), (3, 3)),
        attempt: int = 1,
        **told: object,
    ) -> None:
        """`ranks`: of each row by the champion and by the challenger."""
        found = []
        for row in range(4):
            entity = items[row] if items else f"{request}-{row}"
            champion, challenger = ranks[row]
            found.append(
                self.event(
                    request, V1, {"score": 1.0, "rank": champion}, row=row, entity=entity, at=at, unit=unit,
                    arm="combiner", attempt=attempt,
                )
            )  # fmt: skip
            outputs = {
                "score": 1.0,
                "rank": row + 1,
                "team": TEAMS[row],
                "championRank": champion,
                "challengerRank": challenger,
                "method": "TeamDraft",
                "champion": "v1",
                "challenger": "v2",
                **told,
            }
            found.append(
                {
                    **self.event(request, "combiner", outputs, row=row, at=at, unit=unit, attempt=attempt),
                }
            )
            found[-1]["data"]["entity_id"] = None  # type: ignore[index]
        self.receive(found)

    def alone(self, request: str, *, at: datetime = NOON) -> None:
        """The challenger was late."""
        told = {"champion": "v1", "challenger": "v2"}
        self.receive([self.event(request, "combiner", told, at=at, status=502)])

    def click(self, *rows: int, request: str, at: datetime = NOON + MINUTE, **more: object) -> None:
        self.post(
            [
                {
                    "event": "click",
                    "requestId": request,
                    "id": f"{request}-{row}",
                    "at": at.isoformat(),
                    **more,
                }
                for row in rows
            ]
        )

    def post(self, events: Sequence[Mapping[str, object]], *, received: datetime | None = None) -> None:
        told = [{"eventId": f"e{next(self._events)}", "availableAt": one["at"], **one} for one in events]
        self.intake.events(orjson.dumps({"events": told}), received or NOON, system=None)

    def preferred(
        self,
        as_of: datetime = START + DAY,
        *,
        asked: Interleaving = ASKED,
        since: datetime = START,
        challenger: VersionName = V2,
    ) -> PreferenceEvidence:
        self.intake.flush()
        return self.source.interleaved(V1, challenger, asked, since=since, as_of=as_of)


@pytest.fixture(params=["parquet", "monitor"])
def lists(tmp_path: Path, request: pytest.FixtureRequest) -> Lists:
    return Lists(tmp_path, request.param)


def test_without_a_list_there_is_no_evidence(lists: Lists) -> None:
    assert lists.preferred() == PreferenceEvidence()
    lists.alone("a")
    assert lists.preferred() == PreferenceEvidence(alone=1)


def test_clicks_credit_the_ranker_that_drafted_the_item(lists: Lists) -> None:
    lists.show("won")
    lists.click(1, 2, request="won")
    lists.show("lost")
    lists.click(0, request="lost")
    lists.show("tied")
    lists.click(0, 1, request="tied")
    lists.show("unclicked")
    lists.alone("late")
    found = lists.preferred()
    assert found.counts == PreferenceCounts(wins=1, losses=1, ties=2)
    assert (found.requests, found.alone, found.waiting, found.lost_share) == (4, 1, 0, 0)
    # Rows 0 to 2 stand first, second and third; by the champion first, second and fourth, by the challenger fourth,
    # first and second.
    first, second, third, fourth = (math.log2(1 + place) for place in (1, 2, 3, 4))
    assert (found.clicked.clicks, found.clicked.squares) == (5, 9)
    assert found.clicked.champion == pytest.approx(2 * first + 2 + third / fourth)
    assert found.clicked.challenger == pytest.approx(2 * first / fourth + 2 * second + third / second)


def test_a_return_counts_within_the_guardrails_own_window_and_once_that_is_over(lists: Lists) -> None:
    guarded = Interleaving("return", Method.TEAM_DRAFT, 7 * DAY, 10 * MINUTE)
    lists.show("a")
    lists.click(0, request="a")
    lists.click(1, request="a", event="return", at=NOON + 6 * DAY)
    lists.click(0, request="a", event="return", at=NOON + 8 * DAY)
    late = NOON + 9 * DAY
    assert lists.preferred(late).counts == PreferenceCounts(losses=1)
    assert lists.preferred(late, asked=replace(ASKED, event="return")).counts == PreferenceCounts(ties=1)
    waits = lists.preferred(NOON + 7 * DAY, asked=guarded)
    assert (waits.counts.units, waits.waiting) == (0, 1)
    assert lists.preferred(late, asked=guarded).counts == PreferenceCounts(wins=1)


def test_balanced_clicks_are_counted_by_the_ranks_of_both(lists: Lists) -> None:
    asked = Interleaving("click", Method.BALANCED, HOUR, 10 * MINUTE)
    lists.show("a", method="Balanced")
    # The lowest click is third of the list, fourth by the champion and second by the challenger.
    lists.click(1, 2, request="a")
    assert lists.preferred(asked=asked).counts == PreferenceCounts(wins=1)
    assert lists.preferred().counts.units == 0, "lists that were made otherwise are no evidence"


def test_a_user_is_one_unit_however_many_lists_and_clicks(lists: Lists) -> None:
    for number in range(3):
        lists.show(f"r{number}", unit="anna", at=NOON + number * MINUTE)
        lists.click(2 if number else 0, request=f"r{number}", at=NOON + 10 * MINUTE)
    lists.click(0, 0, 0, request="r0", at=NOON + 11 * MINUTE)
    found = lists.preferred()
    assert (found.counts, found.requests) == (PreferenceCounts(wins=1), 3)


def test_a_unit_counts_once_its_window_and_the_delay_are_over(lists: Lists) -> None:
    lists.show("a")
    lists.click(1, request="a")
    before = lists.preferred(NOON + HOUR + 9 * MINUTE)
    assert (before.counts.units, before.waiting) == (0, 1)
    after = lists.preferred(NOON + HOUR + 10 * MINUTE)
    assert (after.counts, after.waiting) == (PreferenceCounts(wins=1), 0)


def test_what_comes_after_the_window_changes_nothing(lists: Lists) -> None:
    lists.show("a", unit="anna")
    lists.click(1, request="a", at=NOON + HOUR)
    lists.show("b", unit="anna", at=NOON + 2 * HOUR)
    lists.click(0, request="b", at=NOON + 2 * HOUR + MINUTE)
    assert lists.preferred().counts == PreferenceCounts(ties=1)


def test_a_click_that_was_taken_back_or_is_not_known_yet_does_not_count(lists: Lists) -> None:
    lists.show("a")
    lists.post([{"eventId": "c", "event": "click", "requestId": "a", "id": "a-1", "at": NOON.isoformat()}])
    assert lists.preferred().counts == PreferenceCounts(wins=1)
    back = NOON + 30 * MINUTE
    lists.post(
        [
            {
                "eventId": "c", "event": "click", "requestId": "a", "id": "a-1", "at": NOON.isoformat(),
                "availableAt": back.isoformat(), "retract": True,
            }
        ],
        received=back,
    )  # fmt: skip
    assert lists.preferred().counts == PreferenceCounts(ties=1)


def test_other_events_and_events_without_an_item_say_nothing(lists: Lists) -> None:
    lists.show("a", unit="anna")
    at = (NOON + MINUTE).isoformat()
    lists.post(
        [
            {"event": "purchase", "requestId": "a", "id": "a-1", "at": at},
            {"event": "click", "requestId": "a", "at": at},
            {"event": "click", "unit": "anna", "at": at},
            {"event": "click", "requestId": "a", "id": "elsewhere", "at": at},
        ]
    )
    assert lists.preferred().counts == PreferenceCounts(ties=1)


def test_a_click_on_an_item_alone_is_of_the_latest_answer_that_held_it(lists: Lists) -> None:
    shelf = ["tea", "salt", "rice", "oil"]
    lists.show("first", items=shelf)
    lists.show("second", items=shelf, at=NOON + 5 * MINUTE)
    lists.post([{"event": "click", "id": "salt", "at": (NOON + 6 * MINUTE).isoformat()}])
    assert lists.preferred().counts == PreferenceCounts(wins=1, ties=1)
    # A later answer of the champion alone held the other one.
    lists.receive([lists.event("third", V1, {"score": 1.0, "rank": 1}, entity="oil", at=NOON + 7 * MINUTE)])
    lists.post([{"event": "click", "id": "oil", "at": (NOON + 8 * MINUTE).isoformat()}])
    assert lists.preferred().counts == PreferenceCounts(wins=1, ties=1)


def test_a_list_that_came_too_late_was_seen_by_nobody(lists: Lists) -> None:
    lists.show("a")
    lists.click(1, request="a")
    lists.receive([lists.event("a", V1, {"score": 1.0, "rank": 1}, entity="a-0", attempt=2)])
    assert lists.preferred().counts.units == 0


def test_lists_of_other_versions_and_of_earlier_days_are_no_evidence(lists: Lists) -> None:
    lists.show("other", challenger="v3")
    lists.show("early", at=START - HOUR)
    lists.show("a")
    assert lists.preferred().counts == PreferenceCounts(ties=1)


def test_days_are_those_of_the_first_list_and_stand_in_order(lists: Lists) -> None:
    lists.show("b", at=START + DAY + HOUR)
    lists.click(0, request="b", at=START + DAY + HOUR + MINUTE)
    lists.show("a")
    lists.click(1, request="a")
    found = lists.preferred(START + 2 * DAY)
    assert [(day.start, day.counts) for day in found.days] == [
        (START, PreferenceCounts(wins=1)),
        (START + DAY, PreferenceCounts(losses=1)),
    ]


def test_no_order_and_no_repetition_of_deliveries_changes_anything(lists: Lists, tmp_path: Path) -> None:
    lists.click(1, request="a")
    lists.show("a")
    once = lists.preferred()
    lists.show("a")
    lists.click(1, request="a")
    assert lists.preferred().counts == once.counts == PreferenceCounts(wins=1)


def test_an_interleaved_request_counts_as_one_answer_and_is_no_pair(lists: Lists) -> None:
    lists.show("a")
    assert lists.intake.ledger.answered == 1
    lists.intake.flush()
    pairs = lists.evidence.paired(V1, V2, metric="ndcgAt10", since=START, as_of=START + DAY)
    assert pairs.paired_requests == 0


def test_users_got_the_list_of_both(lists: Lists) -> None:
    lists.show("a")
    lists.intake.flush()
    served = lists.evidence.answered_with_labels(START, START + DAY)
    assert served.table["outputs"].to_pylist()[2]["rank"] == 3
    assert served.table["entity_id"].to_pylist() == ["a-0", "a-1", "a-2", "a-3"]

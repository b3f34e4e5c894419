"""Users of a replay react to what they were answered: by the file's query, once, at its own time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from ruamel.yaml import YAML
from sent_payloads import body

from capstan.embedded.replay.reactions import Reactions
from capstan.embedded.replay.recorded_rows import record_traffic
from capstan.errors import InvalidDataError
from capstan.recording.collector.intake import Intake
from capstan.spec import parse

START = datetime(2013, 3, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUERY = """
select flight_id as id, case when probability < 0.5 and late then 'complaint' end as event, distance as value,
  time + interval 2 hours as at
from answers join cases on id = flight_id
"""


class Users:
    def __init__(self, root: Path) -> None:
        file = Path(__file__).parents[2] / "spec" / "flight_delays.yaml"
        self.document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
        self.root, self.folder = root, root / "systems" / "flight-delays"
        self.folder.mkdir(parents=True)
        (self.folder / "spec.json").write_bytes(orjson.dumps(self.document))
        self.intake = Intake(root / "collector", root / "systems")
        self.open: list[Reactions] = []
        times = [START + HOUR * n for n in range(6)]
        self.traffic = record_traffic(
            pa.table(
                {
                    "flight_id": [f"f{n}" for n in range(6)],
                    "scheduled_departure": pa.array(times, pa.timestamp("us", tz="UTC")),
                    "distance": [100.0 + n for n in range(6)],
                    "late": [True, True, False, True, None, True],
                    "label_available_at": pa.array(times, pa.timestamp("us", tz="UTC")),
                }
            ),
            columns=["distance"],
            id_column="flight_id",
            time_column="scheduled_departure",
            key_column=None,
            label_column="late",
            share=1.0,
            no_label_delay_microseconds=0,
        )

    def answer(self, number: int, probability: float, **data: Any) -> None:
        payload = {
            "id": f"b-{number}", "source": "/capstan/flight-delays/v1",
            "data": {
                "request_id": f"r{number}", "version": "v1", "role": "champion", "attempt": 1, "row": 0,
                "event_time": (START + HOUR * number).isoformat(), "entity_id": f"f{number}", "status": 200,
                "outputs": {"probability": probability}, **data,
            },
        }  # fmt: skip
        self.intake.receive(None, body([payload]), START)
        self.intake.flush()

    def reactions(self, query: str = QUERY, within: str = "1d") -> Reactions:
        self.document["spec"]["replay"]["events"] = {"query": query, "within": within}
        found = Reactions(parse(self.document, base_dir=self.root), self.traffic, self.folder)
        self.open.append(found)
        return found


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Users]:
    made = Users(tmp_path)
    for number, probability in enumerate([0.2, 0.9, 0.2, 0.3, 0.1, 0.4]):
        made.answer(number, probability)
    yield made
    for reactions in made.open:
        reactions.close()


def test_an_event_depends_on_the_answer_and_happens_at_its_own_time(users: Users) -> None:
    found = users.reactions().between(START, START + 12 * HOUR)
    assert [(one["id"], one["event"], one["value"], one["at"]) for one in found] == [
        ("f0", "complaint", 100.0, "2013-03-01T07:00:00+00:00"),
        ("f3", "complaint", 103.0, "2013-03-01T10:00:00+00:00"),
        ("f5", "complaint", 105.0, "2013-03-01T12:00:00+00:00"),
    ]
    assert all(one["availableAt"] == one["at"] for one in found)
    assert len({one["eventId"] for one in found}) == 3


def test_stretches_part_the_events_and_repeat_none(users: Users) -> None:
    whole = users.reactions().between(START, START + 12 * HOUR)
    cuts = [START + HOUR * hours for hours in (0, 2, 5, 6, 12)]
    parts = [users.reactions().between(start, end) for start, end in itertools.pairwise(cuts)]
    assert [one for part in parts for one in part] == whole, "a boundary belongs to the stretch that it ends"
    assert [len(part) for part in parts] == [1, 1, 0, 1]


def test_events_later_than_within_are_not_posted(users: Users) -> None:
    reactions = users.reactions(within="1h")
    assert reactions.between(START + 1.5 * HOUR, START + 2.5 * HOUR) == []


def test_what_the_arm_was_and_the_unit_can_be_read_and_ids_are_the_querys(users: Users) -> None:
    users.answer(7, 0.7, arm="v2", unit="ann", entity_id="f1")
    query = "select 'x' || request_id as event_id, unit, arm as event, time as at from answers where unit is not null"
    (event,) = users.reactions(query).between(START, START + 12 * HOUR)
    assert (event["eventId"], event["event"], event["unit"]) == ("xr7", "v2", "ann")
    assert "value" not in event


def test_times_without_offset_are_of_the_files_zone(users: Users) -> None:
    query = "select id, 'click' as event, timestamp '2013-03-01 03:00:00' as at from answers limit 1"
    (event,) = users.reactions(query).between(START, START + 12 * HOUR)
    assert event["at"] == "2013-03-01T08:00:00+00:00", "New York"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select id, time as at from answers", "gives no column event"),
        ("select 'x' as event, time as at from answers", "gives no column id, request_id, unit"),
        ("select id, 'x' as event, when_ as at from answers", 'column "when_" not found'),
        ("select * from '/etc/passwd'", "replay.events.query"),
    ],
)
def test_a_query_that_gives_no_events_is_refused_in_words(users: Users, query: str, words: str) -> None:
    with pytest.raises(InvalidDataError, match=r"replay\.events\.query") as raised:
        users.reactions(query).between(START, START + 12 * HOUR)
    assert words.lower() in str(raised.value).lower()

"""What is stored of people is erased, all of it and nothing else, also after a kill; the story says how much."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.recording.test_events import body, payload

from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import open_store
from capstan.errors import (
    AlreadyRunningError,
    DiskFullError,
    InvalidDataError,
    NotFoundError,
    UnavailableError,
)
from capstan.recording import forgetting
from capstan.recording.collector.intake import Intake
from capstan.spec import MLSystem, parse
from capstan.verbs.forgetting import Forgotten, forget

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
REFERENCE = {"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "key"}}}
SHOP = SystemName("shop")
KEYS = ("1 kept-since-last-year", "2 in-use-since-this-year")


def system(**privacy: Any) -> MLSystem:
    data = {
        "sources": [{"name": "visits", "csv": {"path": "visits.csv"}}],
        "keys": {"id": "visit", "stickyBy": "patient"},
        "label": {"column": "ill"},
    }
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": SHOP},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "ill"},
                "data": {**data, **privacy},
                "features": [{"name": "age", "numeric": {}}],
            },
        },
        base_dir=Path(),
    )  # fmt: skip


MARKED = {"privacy": {"columns": [{"name": "patient", "pseudonymise": REFERENCE}]}}
Sent = list[tuple[str, str, str | None]]
"""Request, visit and patient of each answer."""


def state_of(
    folder: Path,
    sent: Sent,
    labels: list[dict[str, Any]],
    events: list[dict[str, Any]],
    made: MLSystem | None = None,
) -> StateDir:
    """As a collector has left it that was killed: half is in files, half in its log."""
    state = StateDir(folder / ".capstan")
    state.prepare(SHOP)
    secret = state.secrets / "privacy" / "key"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("\n".join(KEYS))
    document = (made or system()).model_dump(mode="json", by_alias=True, exclude_none=True)
    state.spec(SHOP).write_bytes(orjson.dumps({"spec": document["spec"]}))
    intake = Intake(state.run / "collector", state.root / "systems", secrets=state.secrets)
    for number, (request, visit, patient) in enumerate(sent):
        if number == len(sent) // 2:
            intake.flush()
        one = payload(request, entity=visit, unit=patient, sequence=number)
        intake.receive(None, body([one]), NOON)
    if labels:
        intake.feedback(orjson.dumps({"labels": labels}), NOON, system=SHOP)
    if events:
        intake.events(orjson.dumps({"events": events}), NOON, system=SHOP)
    return state


def rows(state: StateDir, name: str) -> list[dict[str, Any]]:
    folder = state.system(SHOP) / name
    found = [
        row
        for file in sorted(folder.rglob("*.parquet"))
        for row in pq.read_table(file, partitioning=None).to_pylist()
    ]
    return sorted(found, key=lambda row: str(sorted(row.items(), key=lambda one: one[0])))


def erase(
    state: StateDir, *named: tuple[str, str], made: MLSystem | None = None, **options: Any
) -> Forgotten:
    return forget(made or system(), state, named, by="ann", now=NOON, **options)


SENT: Sent = [
    ("r1", "v1", "ann"),
    ("r2", "v2", "bob"),
    ("r3", "v3", "ann"),
    ("r4", "v2", "bob"),
    ("r5", "v5", None),
]
LABELS: list[dict[str, Any]] = [
    *({"id": visit, "label": True} for visit in ("v1", "v2", "v3", "v5", "v9")),
    {"requestId": "r1", "label": False},
    {"requestId": "r2", "label": False},
]
EVENTS: list[dict[str, Any]] = [
    {"eventId": "e1", "event": "call", "unit": "ann"},
    {"eventId": "e2", "event": "call", "unit": "bob"},
    {"eventId": "e3", "event": "call", "requestId": "r3"},
    {"eventId": "e4", "event": "call", "id": "v2"},
]


def test_a_person_leaves_with_answers_labels_and_events_and_nobody_else_does(tmp_path: Path) -> None:
    state = state_of(tmp_path, SENT, LABELS, EVENTS)
    found = erase(state, ("patient", "ann"))
    assert (found.answers, found.labels, found.events) == (2, 3, 2)
    assert [row["request_id"] for row in rows(state, "payloads")] == ["r2", "r4", "r5"]
    assert {(row["entity_id"], row["request_id"]) for row in rows(state, "labels")} == {
        ("v2", None), ("v5", None), ("v9", None), (None, "r2")
    }  # fmt: skip
    assert {row["event_id"] for row in rows(state, "events")} == {"e2", "e4"}
    again = erase(state, ("patient", "ann"))
    assert (again.answers, again.labels, again.events) == (0, 0, 0)


def test_a_label_of_a_case_that_is_also_somebody_elses_stays(tmp_path: Path) -> None:
    sent: Sent = [("r1", "shared", "ann"), ("r2", "shared", "bob")]
    state = state_of(tmp_path, sent, [{"id": "shared", "label": True}], [])
    found = erase(state, ("patient", "ann"))
    assert (found.answers, found.labels) == (1, 0)
    assert erase(state, ("visit", "shared")).labels == 1, "by its own id it is meant"


def test_a_trial_counts_and_leaves_every_byte_of_what_is_stored(tmp_path: Path) -> None:
    state = state_of(tmp_path, SENT, LABELS, EVENTS)
    expected = erase(state, ("patient", "ann"), is_trial=True)
    before = [rows(state, name) for name in ("payloads", "labels", "events")]
    assert erase(state, ("patient", "ann"), is_trial=True) == expected
    assert [rows(state, name) for name in ("payloads", "labels", "events")] == before
    assert story(state) == []
    found = erase(state, ("patient", "ann"))
    assert (found.answers, found.labels, found.events) == (2, 3, 2)


CASES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(["ann", "bob", "eve", None])), max_size=7
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases=CASES, labelled=st.sets(st.integers(0, 5)), died=st.integers(0, 3))
def test_after_a_kill_the_same_call_erases_what_one_without_it_does(
    tmp_path_factory: pytest.TempPathFactory,
    cases: list[tuple[int, int, str | None]],
    labelled: set[int],
    died: int,
) -> None:
    sent: Sent = [
        (f"r{request}.{number}", f"v{visit}", who) for number, (request, visit, who) in enumerate(cases)
    ]
    labels: list[dict[str, Any]] = [{"id": f"v{one}", "label": True} for one in sorted(labelled)]
    events: list[dict[str, Any]] = [
        {"eventId": f"e{number}", "event": "call", "unit": who}
        for number, (_, _, who) in enumerate(sent)
        if who
    ]
    whole, cut = (state_of(tmp_path_factory.mktemp(name), sent, labels, events) for name in ("whole", "cut"))
    erase(whole, ("patient", "ann"))
    with pytest.MonkeyPatch.context() as patch, suppress(DiskFullError):
        patch.setattr(forgetting, "write_segment", failing(forgetting.write_segment, after=died))
        erase(cut, ("patient", "ann"))
    erase(cut, ("patient", "ann"))
    for name in ("payloads", "labels", "events"):
        kept = rows(whole, name)
        assert rows(cut, name) == kept
        assert all(row.get("unit") != "ann" for row in kept)
    mine = {visit for _, visit, who in sent if who == "ann"} - {
        visit for _, visit, who in sent if who != "ann"
    }
    expected = {label["id"] for label in labels} - mine
    assert {row["entity_id"] for row in rows(whole, "labels")} == expected
    assert sorted(row["request_id"] for row in rows(whole, "payloads")) == sorted(
        one[0] for one in sent if one[2] != "ann"
    )


def failing(write: Callable[..., None], *, after: int) -> Callable[..., None]:
    left = [after]

    def written(*arguments: Any) -> None:
        if not left[0]:
            raise DiskFullError("no room")
        left[0] -= 1
        write(*arguments)

    return written


def test_a_pseudonymised_person_is_found_under_every_key_and_by_the_pseudonym(tmp_path: Path) -> None:
    made = system(**MARKED)
    from capstan.features.pseudonyms import read_pseudonym_keys

    state = state_of(tmp_path, [], [], [])
    keys = read_pseudonym_keys(state.secrets, "privacy", "key")
    sent: Sent = [
        ("r1", "v1", keys.pseudonym("ann", 1)),
        ("r2", "v2", keys.pseudonym("ann", 2)),
        ("r3", "v3", "p2-x"),
    ]
    state = state_of(tmp_path, sent, [], [{"eventId": "e1", "event": "call", "unit": "ann"}], made)
    by_pseudonym = erase(state, ("patient", keys.pseudonym("ann", 2)), made=made, is_trial=True)
    assert (by_pseudonym.answers, by_pseudonym.events) == (1, 1)
    found = erase(state, ("patient", "ann"), made=made)
    assert (found.answers, found.events) == (2, 2), "an event is kept under both keys"
    assert [row["request_id"] for row in rows(state, "payloads")] == ["r3"]


def story(state: StateDir) -> list[tuple[str, str, dict[str, Any]]]:
    with open_store(state) as store:
        return [(event.reason, event.message, dict(event.details)) for _, event in store.events(SHOP)]


def test_the_story_says_who_erased_how_much_and_no_value(tmp_path: Path) -> None:
    state = state_of(tmp_path, SENT, LABELS, EVENTS)
    erase(state, ("patient", "ann"), ("visit", "v5"))
    [(reason, message, details)] = story(state)
    assert reason == "Forgotten"
    assert (
        message
        == "3 stored answers, 4 labels, 2 events and 0 lines of broken rows erased, of 2 values of patient, visit"
    )
    assert details == {"by": "ann", "columns": ["patient", "visit"], "values": 2}
    assert "v5" not in message


def test_no_byte_of_the_state_folder_holds_the_person(tmp_path: Path) -> None:
    person = "zyx-4711-person"
    state = state_of(tmp_path, [("r1", "v1", person)], [{"id": "v1", "label": True}], [])
    run = state.runs(SHOP) / "shop-1"
    run.mkdir()
    (run / "checks.csv").write_text(
        "column,rule,severity,id,value\r\nage,min 0,Warn,v1,-4\r\nage,min 0,Warn,v2,-1\r\n"
        f"patient,no null,Warn,v3,{person}\r\n"
    )
    (state.logs / "page.log").write_text(f"somebody asked for {person}.\n")
    found = erase(state, ("patient", person))
    assert found.broken_rows == 2
    assert (run / "checks.csv").read_text().splitlines() == [
        "column,rule,severity,id,value",
        "age,min 0,Warn,v2,-1",
    ]
    assert found.named_in == ("logs/page.log",)
    (state.logs / "page.log").unlink()
    for file in state.root.rglob("*"):
        if file.is_file():
            assert person.encode() not in file.read_bytes()
            assert file.suffix != ".parquet" or person not in str(
                pq.read_table(file, partitioning=None).to_pylist()
            )


def test_a_label_that_was_erased_is_news_when_it_is_told_again(tmp_path: Path) -> None:
    state = state_of(tmp_path, SENT, LABELS, EVENTS)
    erase(state, ("patient", "ann"))
    intake = Intake(state.run / "collector", state.root / "systems", secrets=state.secrets)
    posted = orjson.dumps({"labels": [{"id": "v1", "label": True}, {"id": "v2", "label": True}]})
    assert intake.feedback(posted, NOON + timedelta(days=1), system=SHOP).known == {1}
    assert intake.ledger.labels == 8


def test_a_system_that_runs_is_left_alone(tmp_path: Path) -> None:
    state = state_of(tmp_path, SENT, [], [])
    with state.exclusively(), pytest.raises(AlreadyRunningError, match="capstan down"):
        erase(state, ("patient", "ann"))
    assert len(rows(state, "payloads")) == 2, "what was in the log is still there"


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_erased(tmp_path: Path) -> None:
    state = state_of(tmp_path, SENT, LABELS, EVENTS)
    erase(state, ("patient", "nobody"))
    [day] = state.payloads(SHOP).glob("day=*")
    broken = day / "t0-00000099.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    before = rows(state, "labels")
    with pytest.raises(UnavailableError, match=r"t0-00000099\.parquet"):
        erase(state, ("patient", "ann"))
    assert rows(state, "labels") == before


def test_a_column_that_tells_nobody_apart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"'age' is no column that tells people apart.*here: visit, patient"
    ):
        erase(state_of(tmp_path, SENT, [], []), ("age", "7"))


def test_a_folder_without_the_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="--state"):
        erase(StateDir(tmp_path / ".capstan"), ("patient", "ann"))

"""Claims about the door for signed calls: who is let in, what is kept, and that a repeat stays one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from starlette.testclient import TestClient

from capstan.domain.payload_limits import LARGEST_CALL
from capstan.domain.signatures import SIGNATURE, TIMESTAMP, signed
from capstan.errors import UnavailableError
from capstan.recording.collector.server import CollectorConfig, CollectorService
from capstan.recording.collector.webhooks import Answer, WebhookDoor
from capstan.recording.webhooks import (
    KEPT,
    LONGEST_REASON,
    MOST_A_MINUTE,
    WebhookBook,
    read_webhooks,
    reason_in,
)

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIELD = "retraining.triggers[1].all.of[1].webhook.secretFrom"


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


class Place:
    """A system whose file names two senders, one of them together with drift."""

    def __init__(self, root: Path) -> None:
        self.systems, self.secrets = root / "systems", root / "secrets"
        self.folder = self.systems / "toy"
        self.folder.mkdir(parents=True)
        self.declare("toy", "airflow", "etl")
        self.write("airflow", f"{text(KEY)}\n")
        self.write("etl", f"whsec_{text(OTHER)}")
        self.door = self.reopened()

    def declare(self, system: str, first: str, second: str) -> None:
        def trigger(sender: str) -> dict[str, object]:
            reference = {"secretKeyRef": {"name": sender, "key": "webhook"}}
            return {"webhook": {"sender": sender, "secretFrom": reference}}

        triggers = [trigger(first), {"all": {"of": [{"drift": {}}, trigger(second)]}}]
        (self.systems / system).mkdir(exist_ok=True)
        (self.systems / system / "spec.json").write_bytes(
            orjson.dumps({"spec": {"retraining": {"triggers": triggers}}})
        )

    def write(self, sender: str, secret: str) -> None:
        (self.secrets / sender).mkdir(parents=True, exist_ok=True)
        (self.secrets / sender / "webhook").write_text(secret)

    def reopened(self) -> WebhookDoor:
        return WebhookDoor(self.systems, self.secrets, made_by="make {name}/{key}")

    def call(
        self,
        call_id: str = "a",
        *,
        sender: str = "airflow",
        key: bytes = KEY,
        body: bytes = b'{"reason": "August is complete"}',
        now: datetime = NOW,
        signed_at: datetime | None = None,
        system: str | None = None,
    ) -> Answer:
        headers = signed(key, call_id, signed_at or now, body)
        return self.door.call(sender, headers, body, now, system=system)

    def known(self) -> list[tuple[str, str, str]]:
        return [(call.sender, call.id, call.reason) for call in read_webhooks(self.folder).calls]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_signed_call_is_kept_and_its_repeat_is_one_also_after_a_restart(place: Place) -> None:
    assert place.call().document == {"accepted": 1, "duplicates": 0}
    assert place.call(now=NOW + timedelta(minutes=4)).document == {"accepted": 0, "duplicates": 1}
    place.door = place.reopened()
    assert place.call(now=NOW + timedelta(days=3)).document == {"accepted": 0, "duplicates": 1}
    assert place.known() == [("airflow", "a", "August is complete")]
    assert place.call("a", sender="etl", key=OTHER).document["accepted"] == 1
    assert [sender for sender, _, _ in place.known()] == ["airflow", "etl"]


def test_who_does_not_know_the_secret_learns_nothing_and_changes_nothing(place: Place) -> None:
    for answer in (place.call(key=OTHER), place.call(sender="etl"), place.call(body=b"{", key=OTHER)):
        assert answer.status == 401
        assert answer.document["error"]["field"] == SIGNATURE
    assert place.call(signed_at=NOW - timedelta(minutes=6)).document["error"]["field"] == TIMESTAMP
    assert place.call(sender="nobody").status == 404
    assert place.known() == []
    assert (place.door.taken, place.door.refused) == (0, 5)


def test_while_a_secret_is_changed_both_count(place: Place) -> None:
    place.write("airflow", f"{text(OTHER)}\n{text(KEY)}\n")
    assert place.call("a").status == place.call("b", key=OTHER).status == 200
    assert place.call("c", signed_at=NOW - timedelta(hours=1)).document["error"]["field"] == TIMESTAMP
    place.write("airflow", text(OTHER))
    assert place.call("d").status == 401


def test_numbers_rise_even_where_the_clock_is_set_back_or_the_file_is_lost(place: Place) -> None:
    place.call("a")
    place.call("b", now=NOW - timedelta(hours=1))
    first, second = (call.number for call in read_webhooks(place.folder).calls)
    assert second == first + 1
    (place.folder / "webhooks.json").unlink()
    place.door = place.reopened()
    place.call("c", now=NOW + timedelta(seconds=1))
    [lost] = read_webhooks(place.folder).calls
    assert lost.number > second


def test_a_sender_has_so_many_calls_a_minute_and_others_are_not_held_up(place: Place) -> None:
    for number in range(MOST_A_MINUTE):
        assert place.call(str(number), now=NOW + timedelta(seconds=number)).status == 200
    refused = place.call("more", now=NOW + timedelta(seconds=30))
    assert refused.status == 429
    assert refused.headers == {"retry-after": "31"}
    assert place.call("0", now=NOW + timedelta(seconds=30)).document["duplicates"] == 1
    assert place.call("x", sender="etl", key=OTHER, now=NOW + timedelta(seconds=30)).status == 200
    place.door = place.reopened()
    assert place.call("more", now=NOW + timedelta(seconds=30)).status == 429
    assert place.call("more", now=NOW + timedelta(seconds=61)).status == 200


def test_the_newest_calls_are_kept(place: Place) -> None:
    book = WebhookBook(place.folder)
    for number in range(KEPT + 1):
        book.take("airflow", str(number), "", NOW + timedelta(minutes=number))
    assert len(place.known()) == KEPT
    assert not book.is_known("airflow", "0")
    assert book.is_known("airflow", "1")


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("too-short", "must be base64 of 24 to 64 bytes"),
        ("", "must be base64"),
        ("\u00e9", "cannot be read (it is no ASCII text)"),
    ],
)
def test_a_secret_that_is_not_there_names_its_field_and_the_way_out(
    place: Place, secret: str | None, says: str
) -> None:
    file = place.secrets / "etl" / "webhook"
    if secret is None:
        file.unlink()
    else:
        file.write_text(secret)
    answer = place.call("a", sender="etl", key=OTHER)
    assert answer.status == 503
    assert "etl/webhook" not in str(answer.document)
    place.door.look()
    [(sender, problem)] = read_webhooks(place.folder).closed.items()
    assert sender == "etl"
    assert problem.startswith(f"{FIELD}: the secret etl/webhook {says}")
    assert problem.endswith("; make etl/webhook")
    place.write("etl", text(OTHER))
    place.door.look()
    assert read_webhooks(place.folder).closed == {}
    assert place.call("a", sender="etl", key=OTHER).status == 200


def test_of_several_systems_with_such_a_sender_one_is_named(place: Place) -> None:
    place.declare("shop", "airflow", "other")
    assert place.call("a").status == 422
    assert place.call("a", system="shop").status == 200
    assert place.known() == []
    assert place.call("a", system="nobody").status == 404


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"reason": "rows of August\n\x1b[31m are\u202e in"}, "rows of August [31m are in"),
        ({"reason": "x" * 5000}, f"{'x' * (LONGEST_REASON - 4)} ..."),
        ({"reason": 5}, ""),
        ({}, ""),
        (["reason"], ""),
        ({"reason": "<b>50 %</b> {new}"}, "<b>50 %</b> {new}"),
    ],
)
def test_a_reason_is_one_bounded_line_of_printable_characters(said: object, shown: str) -> None:
    assert reason_in(said) == shown


def test_a_body_that_is_no_json_is_refused_after_its_signature(place: Place) -> None:
    assert place.call(body=b"{reason").status == 422
    assert place.call(body=b"").document["accepted"] == 1
    assert place.known() == [("airflow", "a", "")]


def test_a_file_that_cannot_be_read_is_told_and_not_overwritten(place: Place) -> None:
    (place.folder / "webhooks.json").write_bytes(b"{")
    assert place.call().status == 503
    assert (place.folder / "webhooks.json").read_bytes() == b"{"
    with pytest.raises(UnavailableError, match=r"webhooks\.json cannot be read"):
        read_webhooks(place.folder)


def test_the_collector_has_the_door(place: Place, tmp_path: Path) -> None:
    tokens = {name: tmp_path / name for name in ("internal", "feedback")}
    for file in tokens.values():
        file.write_text("secret")
    config = CollectorConfig(
        port=0, directory=tmp_path / "own", systems=place.systems, tokens=tokens, secrets=place.secrets
    )
    body = b'{"reason": "now"}'
    with TestClient(CollectorService(config).app()) as client:

        def post(path: str, content: bytes = body) -> int:
            headers = signed(KEY, "a", datetime.now(UTC), content)
            return client.post(path, content=content, headers=headers).status_code

        assert [post("/webhooks/airflow"), post("/webhooks/airflow/"), post("/webhooks/x")] == [200, 200, 404]
        assert post("/webhooks/airflow", b" " * (LARGEST_CALL + 1)) == 413
        shown = client.get("/metrics").text
    assert "capstan_collector_webhook_calls_total 1.0" in shown
    assert "capstan_collector_webhook_calls_duplicate_total 1.0" in shown
    assert "capstan_collector_webhook_calls_refused_total 2.0" in shown
    assert place.known() == [("airflow", "a", "now")]

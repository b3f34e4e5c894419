"""Ids of labels and events are pseudonyms before anything of them is written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from capstan.errors import UnavailableError
from capstan.features.pseudonyms import read_pseudonym_keys
from capstan.recording.collector.intake import Intake

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
REFERENCE = {"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "key"}}}
SPEC: dict[str, Any] = {
    "objective": {"task": "BinaryClassification"},
    "features": [],
    "data": {
        "keys": {"id": "patient", "stickyBy": "household"},
        "privacy": {
            "columns": [
                {"name": "patient", "pseudonymise": REFERENCE},
                {"name": "household", "pseudonymise": REFERENCE},
            ]
        },
    },
}


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    (tmp_path / "systems" / "clinic").mkdir(parents=True)
    (tmp_path / "systems" / "clinic" / "spec.json").write_bytes(orjson.dumps({"spec": SPEC}))
    return Intake(tmp_path / "collector", tmp_path / "systems", secrets=tmp_path / "secrets")


def keep(tmp_path: Path, *lines: str) -> None:
    (tmp_path / "secrets" / "privacy").mkdir(parents=True, exist_ok=True)
    (tmp_path / "secrets" / "privacy" / "key").write_text("\n".join(lines))


ONE, TWO = "1 kept-since-last-year", "2 in-use-since-this-year"


def labels(intake: Intake, *ids: str) -> Any:
    posted = [{"id": one, "label": True} for one in ids]
    return intake.feedback(orjson.dumps({"labels": posted}), NOON, system=None)


def stored(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    folder = tmp_path / "systems" / "clinic" / name
    return [row for file in sorted(folder.rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_labels_are_kept_under_every_key_that_is_there_and_counted_once(
    intake: Intake, tmp_path: Path
) -> None:
    keep(tmp_path, ONE, TWO)
    keys = read_pseudonym_keys(tmp_path / "secrets", "privacy", "key")
    taken = labels(intake, "Ann Miller", "Bob Smith")
    assert [entry.entity_id for entry in taken.entries] == [
        keys.pseudonym(name, 2) for name in ("Ann Miller", "Bob Smith")
    ]
    assert labels(intake, "Ann Miller").known == {0}
    log = b"".join(file.read_bytes() for file in (tmp_path / "collector").rglob("*") if file.is_file())
    assert b"Miller" not in log, "not even before it is Parquet"
    intake.flush()
    ids = {row["entity_id"] for row in stored(tmp_path, "labels")}
    assert ids == {keys.pseudonym(name, number) for name in ("Ann Miller", "Bob Smith") for number in (1, 2)}


def test_what_is_kept_under_two_keys_is_counted_once_also_after_a_restart(
    intake: Intake, tmp_path: Path
) -> None:
    keep(tmp_path, ONE, TWO)
    event = {"eventId": "e1", "event": "click", "unit": "Millers", "at": NOON.isoformat()}

    def counts(of: Intake) -> tuple[int, ...]:
        ledger = of.ledger
        return (ledger.labels, ledger.label_duplicates, ledger.events, ledger.event_duplicates)

    labels(intake, "Ann Miller", "Bob Smith")
    labels(intake, "Ann Miller")
    for _ in range(2):
        intake.events(orjson.dumps({"events": [event]}), NOON, system=None)
    assert counts(intake) == (2, 1, 1, 1)
    # Killed: another process reads what was taken and not yet written.
    again = Intake(tmp_path / "collector", tmp_path / "systems", secrets=tmp_path / "secrets")
    assert counts(again) == (2, 1, 1, 1)


def test_once_an_old_key_is_dropped_only_the_new_pseudonym_is_made(intake: Intake, tmp_path: Path) -> None:
    keep(tmp_path, TWO)
    labels(intake, "Ann Miller")
    intake.flush()
    assert [row["entity_id"][:3] for row in stored(tmp_path, "labels")] == ["p2-"]


def test_an_event_about_a_user_is_found_under_every_key(intake: Intake, tmp_path: Path) -> None:
    keep(tmp_path, ONE, TWO)
    event = {"eventId": "e1", "event": "click", "unit": "Millers", "at": NOON.isoformat()}
    taken = intake.events(orjson.dumps({"events": [event]}), NOON, system=None)
    assert len(taken.entries) == 1
    intake.flush()
    rows = stored(tmp_path, "events")
    assert sorted((row["event_id"], row["unit"][:3]) for row in rows) == [("e1", "p2-"), ("e1.p1", "p1-")]


def test_a_pseudonym_may_be_posted_as_it_is(intake: Intake, tmp_path: Path) -> None:
    keep(tmp_path, TWO)
    (entry,) = labels(intake, f"p1-{'0' * 32}").entries
    assert entry.entity_id == f"p1-{'0' * 32}"


def test_without_its_key_nothing_is_taken_and_the_sender_is_to_send_again(
    intake: Intake, tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match=r"the secret privacy/key cannot be read .*; send again"):
        labels(intake, "Ann Miller")
    assert not stored(tmp_path, "labels")

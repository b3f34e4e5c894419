"""Predictions of the last challenger and its champion, compared from what a state directory stores."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count

import orjson
from sent_payloads import body
from simulation.world import SYSTEM

from capstan.domain.versions import SystemName
from capstan.engine.records import rollout_request, rollout_state
from capstan.ports.store import Kind
from capstan.recording.collector.intake import Intake

SEQUENCES = count()


def store(rolling, answers) -> None:
    """Payloads of both versions as a collector keeps them, an hour after the rollout began."""
    (rollout,) = [
        rollout_state(record)
        for record in rolling.world.store.list(Kind.ROLLOUT, SystemName(SYSTEM))
        if rollout_request(record).champion is not None
    ]
    assert rollout.started_at is not None
    at = rollout.started_at + timedelta(hours=1)
    root = rolling.state.root
    (rolling.state.system(SystemName(SYSTEM)) / "spec.json").write_bytes(orjson.dumps(rolling.document))
    intake = Intake(root / "run" / "collector", root / "systems")
    events = [
        {
            "id": f"boot-{next(SEQUENCES)}",
            "source": f"/capstan/{SYSTEM}/{version}",
            "data": {
                "request_id": request, "version": version, "role": role, "attempt": 1, "row": 0,
                "event_time": at.isoformat(), "entity_id": request, "status": 200, "latency_seconds": 0.01,
                "outputs": {"probability": said}, "nonfinite": False, "inputs": {"distance": 100.0},
            },
        }
        for request, *both in answers
        for version, role, said in zip(("v1", "v2"), ("champion", "shadow"), both, strict=True)
    ]  # fmt: skip
    intake.receive(None, body(events), at)
    intake.flush()


def test_both_versions_of_the_last_rollout_are_compared(rolling) -> None:
    store(rolling, [("a", 0.25, 0.25), ("b", 0.25, 0.75)])
    output = rolling.run("compare").output
    assert "v2 beside v1" in output
    assert "2 requests that both answered" in output
    assert "50.0% equal, 50.0% decided alike, mean distance 0.25" in output
    assert "none may be shown" in output
    document = json.loads(rolling.run("compare", "--challenger", "v2", "--json").stdout)
    assert (document["champion"], document["challenger"], document["pairs"]) == ("v1", "v2", 2)
    assert document["most_different"][0]["request_id"] == "b"
    assert document["outputs"][0]["name"] == "probability"


def test_a_rollout_without_pairs_says_so(rolling) -> None:
    assert "No request has a stored prediction of both versions" in rolling.run("compare").output


def test_an_unknown_challenger_is_answered_with_those_there_are(rolling) -> None:
    result = rolling.run("compare", "--challenger", "v9")
    assert result.exit_code == 1
    assert "no rollout of 'v9': challengers of flights: v2" in result.output


def test_before_any_rollout_there_is_nothing_to_compare(serving) -> None:
    result = serving.run("compare")
    assert result.exit_code == 1
    assert "nothing to compare: flights has had no challenger yet" in result.output

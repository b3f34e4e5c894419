"""`capstan audit` tells who decided what, and notices a story that was changed."""

from __future__ import annotations

import json
import sqlite3

from simulation.scripts import drift
from simulation.world import SYSTEM

from capstan.domain.actions import Verb
from capstan.engine import commands


def change(serving, statement: str) -> None:
    with sqlite3.connect(serving.state.store) as connection:
        assert connection.execute(statement).rowcount == 1
    connection.close()


def test_decisions_and_orders_are_told_with_their_evidence_and_seals(serving) -> None:
    drift(serving.world)
    commands.issue(
        serving.world.store, SYSTEM, Verb.PAUSE, at=serving.world.clock.now(), by="ann", note="the holidays"
    )
    serving.world.settle()
    result = serving.run("audit", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    told = document["told"]
    assert document["events"] == len(told)
    assert document["broken_at"] is None
    assert document["last_seal"] == told[-1]["seal"]
    order = next(one for one in told if one["what"] == "Paused")
    assert (order["who"], "the holidays" in order["why"]) == ("ann", True)
    training = next(
        one for one in told if one["what"] == "TrainingRequested" and one["evidence"].get("alerts")
    )
    assert training["who"] == "the loop"
    shown = serving.run("audit")
    assert shown.exit_code == 0
    assert "Paused MLSystem/flights by ann" in shown.stdout
    assert (
        f"{len(told)} events, each follows from the one before; last seal {told[-1]['seal']}" in shown.stdout
    )


def test_a_changed_event_is_named_and_fails_the_command(serving) -> None:
    change(serving, "update events set message = 'v9 was always the champion' where number = 3")
    result = serving.run("audit")
    assert result.exit_code == 1
    assert "event 3 of flights does not follow from the one before" in result.output
    assert "RolloutStarted" in result.output, "what is there is shown all the same"
    archived = serving.run("audit", "--json")
    assert archived.exit_code == 1
    document = json.loads(archived.stdout)
    assert document["broken_at"] == 3
    assert "event 3 of flights does not follow" in document["changed"]


def test_removed_events_show_at_the_beginning_in_the_middle_and_by_a_noted_seal(serving) -> None:
    seals = [one["seal"] for one in json.loads(serving.run("audit", "--json").stdout)["told"]]
    assert serving.run("audit", "--seal", seals[-1][:12]).exit_code == 0
    change(serving, f"delete from events where seal = '{seals[-1]}'")
    assert serving.run("audit").exit_code == 0, "a shorter story fits: only the noted seal tells"
    noted = serving.run("audit", "--seal", seals[-1][:12])
    assert noted.exit_code == 1
    assert "was written anew since it was noted" in noted.output
    change(serving, "delete from events where number = 1")
    beginning = serving.run("audit")
    assert beginning.exit_code == 1, "nothing here forgets what is old"
    assert "earlier ones were removed" in beginning.output
    change(serving, "delete from events where number = 3")
    assert "event 4 of flights does not follow" in serving.run("audit").output


def test_the_first_event_cannot_be_changed_either(serving) -> None:
    change(serving, "update events set message = 'ann asked for it' where number = 1")
    result = serving.run("audit")
    assert result.exit_code == 1
    assert "event 1 of flights does not follow" in result.output


def test_a_seal_that_says_too_little_is_refused(serving) -> None:
    result = serving.run("audit", "--seal", "abc")
    assert result.exit_code == 2
    assert "give at least 12 digits" in result.output

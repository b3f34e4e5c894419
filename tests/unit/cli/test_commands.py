"""What people ask of the loop is written by another process, checked, followed and told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

from capstan.cli.verbs import orders
from capstan.ports.store import Event, Kind


def test_command_is_followed_by_the_running_loop_and_told(serving) -> None:
    with serving.looping():
        result = serving.run("pause", "--note", "holiday traffic")
    assert result.exit_code == 0, result.output
    assert "Paused" in result.output
    assert json.loads(serving.run("status", "--json").stdout)["phase"] == "Paused"


def test_without_a_supervisor_the_command_waits_for_the_next_one(serving) -> None:
    result = serving.run("pause")
    assert result.exit_code == 0
    assert "nothing runs, so it is followed at the next `capstan up`" in result.output
    assert json.loads(serving.run("status", "--json").stdout)["waiting_commands"] == ["pause"]
    serving.world.settle()
    status = json.loads(serving.run("status", "--json").stdout)
    assert (status["waiting_commands"], status["phase"]) == ([], "Paused")


def test_refusal_says_what_is_possible(serving) -> None:
    result = serving.run("resume")
    assert result.exit_code == 1
    assert "resume: nothing is paused; possible now: `capstan pause`" in result.output


def test_refusal_as_json(serving) -> None:
    result = serving.run("abort", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == "NotAllowed"


def test_promote_ends_the_rollout_in_favour_of_the_challenger(rolling) -> None:
    with rolling.looping():
        result = rolling.run("promote", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["followed"], document["error"]) == (0, True, None)
    assert "Promoted" in [event["reason"] for event in document["events"]]
    assert json.loads(rolling.run("status", "--json").stdout)["champion"]["version"] == "v2"


def test_abort_leaves_the_champion_alone(rolling) -> None:
    with rolling.looping():
        result = rolling.run("abort")
    assert result.exit_code == 0, result.output
    status = json.loads(rolling.run("status", "--json").stdout)
    assert (status["champion"]["version"], status["champion"]["weight"], status["rollout"]) == (
        "v1",
        100,
        None,
    )


def test_rollback_goes_back_to_the_version_before(rolling) -> None:
    with rolling.looping():
        assert rolling.run("promote").exit_code == 0
        result = rolling.run("rollback", "--to", "v1")
    assert result.exit_code == 0, result.output
    status = json.loads(rolling.run("status", "--json").stdout)
    assert (status["champion"]["version"], status["previous"]) == ("v1", ["v2"])


def test_rollback_to_a_version_that_never_was_is_told_and_exits_with_1(serving) -> None:
    with serving.looping():
        result = serving.run("rollback", "--to", "v9")
    assert result.exit_code == 1
    assert "v9 can't be taken" in result.output


def test_command_that_is_not_followed_in_time_exits_with_1_and_stays(serving) -> None:
    with serving.state.exclusively():
        result = serving.run("pause", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "it stays asked for" in result.output


def test_no_wait_returns_at_once(serving) -> None:
    with serving.state.exclusively():
        result = serving.run("pause", "--no-wait")
    assert result.exit_code == 0
    assert "the running loop follows it" in result.output


def test_retrain_starts_a_training(serving) -> None:
    with serving.looping():
        result = serving.run("retrain", "--note", "new airports")
    assert result.exit_code == 0
    assert "RetrainingRequested" in result.output
    assert "new airports" in result.output


def test_unknown_system_is_answered_with_those_there_are(serving) -> None:
    result = serving.run("pause", "--system", "trains")
    assert result.exit_code == 1
    assert "no system 'trains'" in result.output
    assert "flights" in result.output


def test_directory_without_a_system_says_how_to_start_one(machine, tmp_path) -> None:
    from capstan.embedded.layout import StateDir

    machine.state = StateDir(tmp_path / "elsewhere")
    result = machine.run("status")
    assert result.exit_code == 1
    assert "`capstan up FILE` starts one" in result.output
    assert not machine.state.root.exists()


def test_an_order_that_is_done_before_the_story_tells_of_it_is_told_all_the_same(monkeypatch) -> None:
    """Under load `capstan retrain` ended without a line."""
    monkeypatch.setattr(orders, "CLUSTER_LOOK_SECONDS", 0.0)
    event = Event(datetime(2013, 3, 1, tzinfo=UTC), Kind.SYSTEM, "toy", "TrainingRequested", "a person asked")
    stories = iter([[], [], [(4, event)]])
    stored = SimpleNamespace(
        place=None, system_state=SimpleNamespace(commands=()), events=lambda after: next(stories)
    )
    stored.again = lambda: stored
    command, told = SimpleNamespace(id="c1", verb="retrain", target=""), []
    found = orders._follow(stored, command, 3, 30.0, SimpleNamespace(tell=told.append))
    assert found == (True, [event])
    assert told == [event]

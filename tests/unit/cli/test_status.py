"""`capstan status` tells where a system stands, from the store alone if nothing runs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from simulation.scripts import drift
from simulation.world import DAY, SYSTEM

from capstan.cli.running_parts import _counters
from capstan.domain.batch_calendar import BatchOrder, BatchState, Stretch
from capstan.domain.triggers import OperationAlert
from capstan.domain.versions import VersionName
from capstan.domain.watching import OnlineStanding, QuestionStanding
from capstan.embedded.layout import StateDir
from capstan.engine.records import system_state
from capstan.ports.codec import to_json
from capstan.ports.store import Kind


def test_serving_system_without_a_supervisor(serving) -> None:
    result = serving.run("status")
    assert result.exit_code == 0
    for words in ("Serving", "nothing runs", "v1", "100 % of requests", "FirstDeployed"):
        assert words in result.output


def test_rollout_tells_its_step_and_latest_verdict(rolling) -> None:
    status = json.loads(rolling.run("status", "--json").stdout)
    assert status["challenger"]["version"] == "v2"
    assert status["rollout"]["step"] == "1/3 shadow 100 %"
    assert status["rollout"]["latest"]["quality"].startswith("Inconclusive")
    assert "step 1/3 shadow 100 %" in rolling.run("status").output


def test_an_experiment_tells_how_long_it_takes_and_who_takes_no_part(machine) -> None:
    arms = [{"version": "v9", "weight": 20}]
    step = {"weight": 40, "arms": arms, "minUnits": 1000, "window": "1d", "deadline": "21d"}
    machine.world.edit_file(lambda file: file["spec"]["rollout"].update(steps=[{"experiment": step}]))
    machine.world.start()
    drift(machine.world)
    machine.world.days(1)
    rollout = json.loads(machine.run("status", "--json").stdout)["rollout"]
    (forecast,) = rollout["forecasts"]
    assert "with a power of 80 %" in forecast
    assert rollout["left"] == {"v9": "the registry did not know it when the rollout began"}
    shown = "".join(machine.run("status").output.split())
    for told in (forecast, f"v9 takes no part: {rollout['left']['v9']}"):
        assert "".join(told.split()) in shown


def test_held_retraining_tells_why_and_until_when(serving) -> None:
    world = serving.world
    world.days(1)
    world.gates_pass = False
    world.fire()
    world.settle()
    world.days(1)
    journal = {"position": world.clock.now().isoformat()}
    serving.state.journal.write_text(json.dumps(journal))
    retraining = json.loads(serving.run("status", "--json").stdout)["retraining"]
    assert retraining["held"] == "CoolingDown"
    assert "cooldown of 14 days lasts until" in retraining["why"]
    assert retraining["until"] is not None
    text = " ".join(serving.run("status").output.split())
    assert "nothing runs now, so that `capstan up FILE` must go on first" in text


def test_firing_alerts_are_listed_until_they_resolve(serving) -> None:
    serving.world.fire()
    serving.world.settle()
    alerts = json.loads(serving.run("status", "--json").stdout)["alerts"]
    assert [(alert["name"], alert["version"]) for alert in alerts] == [("DriftDetected", "v1")]
    serving.world.resolve()
    serving.world.settle()
    assert json.loads(serving.run("status", "--json").stdout)["alerts"] == []


def test_online_metrics_are_told_by_version(serving) -> None:
    now, v1 = serving.world.clock.now(), VersionName("v1")
    known = OnlineStanding(
        "revenue", "revenue, $", "Higher", v1, 12.345678, 0.5, 1200, 1250, 2500, timedelta(minutes=90), now, now
    )  # fmt: skip
    new = replace(known, version=VersionName("v2"), value=None, standard_error=None, closed=0, delay=None)
    serving.world.monitoring.online = (known, new)
    serving.world.settle()
    output = flat(serving.run("status").output)
    assert "revenue, $, v1: 12.3457 ± 0.5 of 1,200 units; 50% closed, events after 1:30:00" in output
    assert "revenue, $, v2: no outcome yet; 0% closed" in output
    told = json.loads(serving.run("status", "--json").stdout)["online"]
    assert [(one["metric"], one["version"], one["value"]) for one in told] == [
        ("revenue", "v1", "12.3457"), ("revenue", "v2", ""),
    ]  # fmt: skip


def test_watched_into_a_pipe_it_is_told_again_when_something_changed(serving, monkeypatch) -> None:
    looks = iter(range(4))

    def sleep(seconds: float) -> None:
        look = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        if look == 2:
            now = serving.world.clock.now()
            serving.world.monitoring.watched.append((VersionName("v1"), now))
            serving.world.monitoring.questions = (
                QuestionStanding("drift", 21, "TooFewRows", "84 of 1,000 rows", now, "drift"),
            )
            serving.world.settle()

    # The module's own, as the world sleeps too.
    monkeypatch.setattr("capstan.cli.verbs.status.time", SimpleNamespace(sleep=sleep))
    lines = [json.loads(line) for line in serving.run("status", "--watch", "--json").stdout.splitlines()]
    assert len(lines) == 2
    assert lines[0]["watched"] != lines[1]["watched"]
    looks = iter(range(2))
    assert flat(serving.run("status", "--watch").output).count("84 of 1,000 rows") == 1


def test_not_judged_is_told_and_never_looks_calm(serving) -> None:
    monitoring, champion = serving.world.monitoring, VersionName("v1")
    few = "84 of 1,000 rows (monitoring.window.minRows)"
    now = serving.world.clock.now()
    monitoring.watched.append((champion, now))
    triggers = {"drift": "drift", "predictions": "drift", "quality": "quality"}
    monitoring.questions = tuple(
        QuestionStanding(name, 0, trigger=trigger) for name, trigger in triggers.items()
    )
    serving.world.settle()
    assert "not yet: no window of v1 has closed yet" in flat(serving.run("status").output)
    monitoring.questions = tuple(
        QuestionStanding(name, 21, "TooFewRows", few, now, trigger) for name, trigger in triggers.items()
    )
    serving.world.settle()
    watched = json.loads(serving.run("status", "--json").stdout)["watched"]
    assert (watched["status"], watched["reason"]) == ("False", "NotJudged")
    output = flat(serving.run("status").output)
    assert f"drift, predictions and quality not judged in the last 21 windows: {few}" in output
    assert "no alert does not mean no drift" in output
    monitoring.questions = tuple(
        QuestionStanding(q.name, 0, end=now, trigger=q.trigger) for q in monitoring.questions
    )
    serving.world.settle()
    assert "not judged" not in flat(serving.run("status").output)


def test_a_blind_monitor_starts_no_training(serving) -> None:
    serving.world.fire("MonitorBlind", mark="blind")
    serving.world.settle()
    status = json.loads(serving.run("status", "--json").stdout)
    assert [alert["name"] for alert in status["alerts"]] == ["MonitorBlind"]
    assert (status["training"], status["retraining"]["pending"]) == (None, None)


def test_operation_alerts_are_listed_and_start_no_training(serving) -> None:
    world = serving.world
    lost = OperationAlert(
        "PayloadsLost", VersionName("v1"), world.clock.now(), "v1 lost 30 payloads in 5 minutes"
    )
    world.alerts.about_operation = [lost]
    world.settle()
    with serving.state.exclusively():
        status = json.loads(serving.run("status", "--json").stdout)
        assert lost.summary in flat(serving.run("status").output)
    assert [(alert["name"], alert["kind"]) for alert in status["alerts"]] == [("PayloadsLost", "operation")]
    assert (status["training"], status["retraining"]["pending"]) == (None, None)
    world.alerts.about_operation = []
    world.settle()
    with serving.state.exclusively():
        assert json.loads(serving.run("status", "--json").stdout)["alerts"] == []


def flat(output: str) -> str:
    """Without the line breaks of the terminal's width."""
    return " ".join(output.split())


def test_page_is_told_with_its_token_only_while_it_runs(serving) -> None:
    addresses = {"page": "http://127.0.0.1:1", "gateway": "http://127.0.0.1:2", "system": "flights"}
    serving.state.addresses.write_text(json.dumps(addresses))
    assert json.loads(serving.run("status", "--json").stdout)["page"] is None
    with serving.state.exclusively():
        status = json.loads(serving.run("status", "--json").stdout)
    assert status["page"] == f"http://127.0.0.1:1/?token={serving.state.token('page')}"
    assert isinstance(status["running"], int)


def test_clock_of_a_replay_is_event_time(serving) -> None:
    position = serving.world.clock.now() + DAY
    serving.state.journal.write_text(json.dumps({"position": position.isoformat()}))
    status = json.loads(serving.run("status", "--json").stdout)
    assert (status["is_replay"], status["clock"][:10]) == (True, f"{position:%Y-%m-%d}")


def test_looking_for_the_holder_never_takes_the_directory_away(tmp_path) -> None:
    state = StateDir(tmp_path)
    assert state.holder() is None
    with state.exclusively():
        assert state.holder() is not None
    assert state.holder() is None


def test_refused_requests_are_counted_apart_from_answered_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateDir(tmp_path)
    state.processes.mkdir(parents=True)
    (state.processes / "ports.json").write_text('{"collector": 1}')
    stats = {"answered": 22, "refused_requests": 13, "refused": 0, "stored": 22, "lost": 0}
    told = httpx.Response(200, json=stats, request=httpx.Request("GET", "http://collector/stats"))
    monkeypatch.setattr(httpx, "get", lambda *_, **__: told)
    assert _counters(state) == {"answered": 9, "refused": 13, "stored": 22, "lost": 0}


def test_batches_by_the_calendar_tell_what_became_of_the_last_and_when_the_next_is_due(serving) -> None:
    assert "batch" not in serving.run("status").output
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    batched = {
        **record.spec,
        "spec": {**record.spec["spec"], "batch": {"schedule": "0 3 * * *", "output": "p"}},
    }
    state = system_state(record)
    assert state.champion is not None
    stretch = Stretch(datetime(2026, 3, 1, 3, tzinfo=UTC), datetime(2026, 3, 2, 3, tzinfo=UTC))
    begun = BatchState(begun=BatchOrder(stretch, state.champion, 3), failures=2, told="12 read")
    status = {**record.status, "state": to_json(replace(state, batch=begun))}
    serving.world.store.put(replace(record, spec=batched, status=status))
    result = serving.run("status")
    assert result.exit_code == 0, result.output
    assert "schedule 0 3 * * *: next " in result.output
    told = " ".join(result.output.split())
    wanted = "in progress: rows of 2026-03-01 03:00Z to 2026-03-02 03:00Z by v1, failed 2 times so far"
    assert wanted in told
    assert "last: 12 read" in told
    assert json.loads(serving.run("status", "--json").output)["batch"]["failures"] == 2
    serving.state.journal.write_text(json.dumps({"position": "2013-02-03T05:00:00Z"}))
    assert "schedule 0 3" not in serving.run("status").output, "a replay makes no batches"

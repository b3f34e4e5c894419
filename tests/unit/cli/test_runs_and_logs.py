"""Trainings and logs are found by name, by the beginning of it, or listed."""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime

from simulation.world import SYSTEM
from typer.testing import CliRunner

from capstan.adapters.memory.loop import MemoryClock, MemoryPipelines
from capstan.cli.main import app
from capstan.cli.verbs.logs import _growth, _tail
from capstan.domain.batch_calendar import BatchState, BatchStatus, Stretch
from capstan.domain.training import RunPhase, RunStatus, StepProgress, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName, VersionName
from capstan.embedded.training import run_to_end
from capstan.engine.records import system_state
from capstan.ports.codec import to_json
from capstan.ports.store import Kind


def test_runs_are_listed_with_trigger_gates_and_version(rolling) -> None:
    rows = json.loads(rolling.run("runs", "--json").stdout)["trainings"]
    told = {(row["version"], row["trigger"], row["phase"], row["gates_passed"]) for row in rows}
    assert told == {("v1", "Initial", "Succeeded", True), ("v2", "Alert", "Succeeded", True)}
    assert next(row for row in rows if row["version"] == "v2")["against"] == "v1"


def test_batches_of_predictions_are_listed_with_rows_seconds_state_and_output(serving) -> None:
    assert json.loads(serving.run("runs", "--json").stdout)["batches"] == []
    assert "batch of rows" not in serving.run("runs").output
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    state = system_state(record)
    assert state.champion is not None
    days = [datetime(2026, 3, day, 3, tzinfo=UTC) for day in range(1, 5)]
    batches = BatchState()
    written = BatchStatus(
        RunPhase.SUCCEEDED, read=1200, written=1198, refused=2, output="/srv/there", seconds=94.04
    )
    wrong = BatchStatus(RunPhase.FAILED, "flights.csv: there is no such file", seconds=0.5)
    batches = batches.begin(Stretch(days[0], days[1]), state.champion).finish("told", written, days[1])
    batches = batches.begin(Stretch(days[1], days[2]), state.champion).fail("told", wrong, days[2])
    status = {**record.status, "state": to_json(replace(state, batch=batches))}
    serving.world.store.put(replace(record, status=status))
    output = serving.run("runs").output
    assert re.search(
        r"2026-03-01 03:00Z to 2026-03-02 03:00Z +Succeeded +94.0 s +1,200 +1,198 +2 +v1 +/srv/there", output
    )
    assert re.search(r"2026-03-02 03:00Z to .* Failed +0.5 s +- +- +- +v1 +flights.csv: there", output)
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    again = replace(batches).begin(Stretch(days[1], days[2]), state.champion)
    status = {**record.status, "state": to_json(replace(state, batch=again))}
    serving.world.store.put(replace(record, status=status))
    first, second = json.loads(serving.run("runs", "--json").stdout)["batches"]
    assert (first["phase"], first["written"], first["seconds"]) == ("Succeeded", 1198, 94.04)
    assert (second["phase"], second["attempt"], second["ended_at"]) == ("Running", 2, None)
    assert re.search(r"Running, try 2 +- +- +- +- +v1", serving.run("runs").output)


def test_one_run_is_shown_with_what_led_to_it_and_followed(rolling) -> None:
    rows = json.loads(rolling.run("runs", "--json").stdout)["trainings"]
    name = next(row["run"] for row in rows if row["version"] == "v2")
    document = json.loads(rolling.run("runs", name[:-2], "--json").stdout)
    reasons = [event["reason"] for event in document["lineage"]]
    assert reasons[0] == "DriftDetected"
    assert "StepStarted" in reasons
    shown = rolling.run("runs", name).output
    assert "against v1; version v2" in shown
    assert "DriftDetected" in shown


def test_runners_up_are_named_in_the_list_and_shown_with_their_gates(serving) -> None:
    serving.world.runners_up = (True, False)
    serving.world.left_out = {"own": "its file is too large"}
    clock = MemoryClock(datetime(2013, 3, 1, tzinfo=UTC))
    pipelines = MemoryPipelines(clock, serving.world.registry, serving.world._train)
    trigger = Trigger(TriggerKind.MANUAL, clock.now(), "a person")
    request = TrainingRequest(RunName("flights-train-1"), SystemName(SYSTEM), trigger, VersionName("v1"))
    run_to_end(pipelines, serving.world.store, request, clock.now, lambda status: True)
    assert "runners-up v3, v4" in serving.run("runs").output
    [row] = [
        row
        for row in json.loads(serving.run("runs", "--json").stdout)["trainings"]
        if row["run"] == request.run
    ]
    assert row["runners_up"] == [
        {"version": "v3", "candidate": "trees-1", "gates_passed": True, "missed": ""},
        {
            "version": "v4",
            "candidate": "trees-2",
            "gates_passed": False,
            "missed": "rocAuc 0.7 against v1: missed",
        },
    ]
    assert row["left_out"] == {"own": "its file is too large"}
    shown = serving.run("runs", request.run).output
    assert "runner-up v3 (trees-1), gates passed" in shown
    assert "runner-up v4 (trees-2), gates not passed: rocAuc 0.7 against v1: missed" in shown


def test_what_the_run_wrote_is_shown_with_candidates_and_choice(rolling) -> None:
    name = json.loads(rolling.run("runs", "--json").stdout)["trainings"][0]["run"]
    folder = rolling.state.runs(SystemName(SYSTEM)) / name
    folder.mkdir(parents=True, exist_ok=True)
    began, ended = (datetime(2026, 1, 1, 12, 0, second, tzinfo=UTC) for second in (0, 42))
    steps = (StepProgress("extract", RunPhase.SUCCEEDED, began, ended, "5,000 rows"),)
    status = RunStatus(
        RunPhase.SUCCEEDED,
        "",
        steps,
        candidates={"trees": {"rocAuc": 0.71234}, "own": {}},
        chosen=("trees",),
        failed={"own": "mymodels:make: no licence"},
        warnings=("trees: did not converge",),
    )
    (folder / "status.json").write_text(json.dumps(to_json(status)))
    output = rolling.run("runs", name).output
    for words in ("extract", "42 s", "5,000 rows", "rocAuc", "0.7123", "chosen: trees", "did not converge"):
        assert words in output
    assert "candidate own failed: mymodels:make: no licence" in output
    shown = json.loads(rolling.run("runs", name, "--json").stdout)
    assert shown["chosen"] == "trees"
    assert shown["failed_candidates"] == {"own": "mymodels:make: no licence"}
    assert "1 candidate failed, 1 warning" in rolling.run("runs").output


def test_runs_stand_in_order_of_time_and_the_newest_is_called_last(rolling) -> None:
    rows = json.loads(rolling.run("runs", "--json").stdout)["trainings"]
    assert [row["version"] for row in rows] == ["v1", "v2"]
    shown = rolling.run("runs").output
    assert shown.index(rows[0]["run"]) < shown.index(rows[1]["run"])
    assert json.loads(rolling.run("runs", "last", "--json").stdout)["run"] == rows[1]["run"]


def test_a_training_of_older_data_that_was_started_later_is_the_last(rolling) -> None:
    clock = MemoryClock(datetime(2014, 1, 1, tzinfo=UTC))
    pipelines = MemoryPipelines(clock, rolling.world.registry, rolling.world._train)
    trigger = Trigger(TriggerKind.MANUAL, datetime(2012, 1, 1, tzinfo=UTC), "a person")
    request = TrainingRequest(RunName("flights-0-older"), SystemName(SYSTEM), trigger, None)
    run_to_end(pipelines, rolling.world.store, request, clock.now, lambda status: True)
    assert json.loads(rolling.run("runs", "last", "--json").stdout)["run"] == "flights-0-older"


def test_before_the_first_training_there_is_no_last(machine) -> None:
    result = machine.run("runs", "last")
    assert result.exit_code == 1
    assert "runs: none yet" in result.output


def test_the_log_of_the_last_run_is_that_written_last(serving) -> None:
    for name, second in (("flights-b", 1), ("flights-a", 2)):
        log = serving.state.runs(SystemName(SYSTEM)) / name / "run.log"
        log.parent.mkdir()
        log.write_text(f"{name}\n")
        os.utime(log, (second, second))
    (serving.state.logs / "v1.log").write_text("a process\n")
    assert serving.run("logs", "last").output == "flights-a\n"


def test_unknown_run_is_answered_with_those_there_are(serving) -> None:
    result = serving.run("runs", "nothing")
    assert result.exit_code == 1
    assert "run 'nothing': not there; runs: flights-" in result.output


def test_run_without_a_loop_is_kept_and_done_once(serving) -> None:
    clock = MemoryClock(datetime(2013, 3, 1, tzinfo=UTC))
    pipelines = MemoryPipelines(clock, serving.world.registry, serving.world._train)
    moment = clock.now()
    request = TrainingRequest(
        RunName("flights-train-1"), SystemName(SYSTEM), Trigger(TriggerKind.MANUAL, moment, "a person"), None
    )
    store = serving.world.store
    first = run_to_end(pipelines, store, request, clock.now, lambda status: True)
    again = run_to_end(pipelines, store, request, clock.now, lambda status: True)
    assert first.status.phase is again.status.phase is RunPhase.SUCCEEDED
    assert [version.name for version in serving.world.registry.versions()] == ["v1", "v2"]
    rows = json.loads(serving.run("runs", "--json").stdout)["trainings"]
    assert [row["trigger"] for row in rows if row["run"] == "flights-train-1"] == ["Manual"]
    reasons = [event.reason for _, event in store.events(SYSTEM) if event.name == "flights-train-1"]
    assert reasons == ["TrainingSucceeded"]


def test_a_run_without_a_loop_names_the_runners_up_that_it_registered(serving) -> None:
    serving.world.runners_up = (True,)
    clock = MemoryClock(datetime(2013, 3, 1, tzinfo=UTC))
    pipelines = MemoryPipelines(clock, serving.world.registry, serving.world._train)
    trigger = Trigger(TriggerKind.MANUAL, clock.now(), "a person")
    request = TrainingRequest(RunName("flights-train-1"), SystemName(SYSTEM), trigger, None)
    run_to_end(pipelines, serving.world.store, request, clock.now, lambda status: True)
    [told] = [event for _, event in serving.world.store.events(SYSTEM) if event.name == request.run]
    assert told.message == "v2 as of 2013-03-01, not served; runner-up v3 (trees-1)"


def test_logs_are_listed_and_shown_from_the_end(serving) -> None:
    (serving.state.logs / "v1.log").write_text("".join(f"line {number}\n" for number in range(100)))
    assert "v1" in serving.run("logs").output
    assert serving.run("logs", "v1", "--lines", "2").output == "line 98\nline 99\n"
    assert json.loads(serving.run("logs", "v1", "--lines", "1", "--json").stdout)["lines"] == ["line 99"]


def test_log_of_a_run_is_found_by_the_beginning_of_its_name(serving) -> None:
    folder = serving.state.runs(SystemName(SYSTEM)) / "flights-abc"
    folder.mkdir()
    (folder / "run.log").write_text("trained\n")
    assert serving.run("logs", "flights-a").output == "trained\n"


def test_unknown_log_is_answered_with_those_there_are(serving) -> None:
    (serving.state.logs / "envoy.log").write_text("")
    result = serving.run("logs", "nothing")
    assert result.exit_code == 1
    assert "logs: envoy" in result.output


def test_long_log_is_not_read_whole(tmp_path) -> None:
    log = tmp_path / "long.log"
    log.write_bytes(b"x" * 99 + b"\n" + b"y" * 300_000 + b"\nlast\n")
    assert _tail(log, 1)[0] == "last\n"
    assert _tail(log, 0)[0] == ""
    assert _tail(log, 3)[0].startswith("x" * 99)


def test_followed_log_is_read_on_after_it_was_emptied(tmp_path) -> None:
    log = tmp_path / "v1.log"
    log.write_text("before\n")
    growth = _growth(log, log.stat().st_size)
    threading.Timer(0.1, lambda: log.write_text("new\n")).start()
    assert next(growth) == "new\n"


def test_log_without_a_directory_is_an_empty_list(tmp_path) -> None:
    result = CliRunner().invoke(app, ["logs", "--state", str(tmp_path / "none")])
    assert (result.exit_code, "no logs" in result.output) == (0, True)

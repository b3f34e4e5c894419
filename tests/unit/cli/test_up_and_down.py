"""What `up` refuses or hands over, and that `down` leaves nothing behind, whatever it finds."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from simulation.world import SYSTEM
from typer.testing import CliRunner

from capstan.adapters.processes.table import MARK
from capstan.cli.changes_shown import told_changes
from capstan.cli.main import app
from capstan.cli.place import Machine
from capstan.cli.stored_system import StoredSystem
from capstan.embedded.layout import StateDir
from capstan.embedded.live import changed_file, note_live
from capstan.ports.store import Kind
from capstan.spec import parse

HOLDER = """
import signal, sys, time
from pathlib import Path
from capstan.embedded.layout import StateDir
with StateDir(Path(sys.argv[1])).exclusively():
    signal.signal(signal.SIGTERM, {handler})
    print("holds", flush=True)
    time.sleep(60)
"""


def holder(state: StateDir, handler: str = "lambda *_: sys.exit(0)") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(handler=handler), str(state.root)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


@pytest.fixture
def file(serving, tmp_path):
    path = tmp_path / "system.yaml"
    path.write_text(json.dumps(serving.document))
    return path


@pytest.fixture
def system(serving, tmp_path):
    return parse(copy.deepcopy(serving.document), base_dir=tmp_path)


def test_changed_file_is_handed_to_the_running_supervisor(serving, file, system) -> None:
    note_live(serving.state, system)
    serving.document["spec"]["retraining"]["cooldown"] = "7d"
    file.write_text(json.dumps(serving.document))
    with serving.state.exclusively():
        result = serving.run("up", str(file))
    assert result.exit_code == 0, result.output
    assert "generation 2 is stored" in result.output
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    assert (record.generation, record.spec["spec"]["retraining"]["cooldown"]) == (2, "7d")
    assert orjson.loads(serving.state.live.read_bytes())["base_dir"] == str(file.parent)


def test_what_follows_of_a_changed_file_is_told_and_what_does_not(serving, file, system) -> None:
    note_live(serving.state, system)
    serving.document["spec"]["retraining"]["cooldown"] = "7d"
    serving.document["spec"]["features"].append({"name": "carrier", "categorical": {}})
    file.write_text(json.dumps(serving.document))
    with serving.state.exclusively():
        told = serving.run("up", str(file), "--page-port", "7999").output
    assert "~ retraining.cooldown: 14d -> 7d" in told
    assert "the champion v1 is not touched; only a new training learns by it" in told
    assert "--page-port is not followed: a running system keeps its ports" in told
    assert "--gateway-port" not in told
    with serving.state.exclusively():
        again = serving.run("up", str(file)).output
    assert "what follows" not in again
    assert "not followed" not in again


def test_a_file_that_was_changed_while_nothing_ran_is_told_before_it_goes_on(serving, file) -> None:
    serving.document["spec"]["retraining"]["cooldown"] = "7d"
    file.write_text(json.dumps(serving.document))
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = serving.run("up", str(file), "--page-port", str(server.getsockname()[1])).output
    assert "the file was changed since the system last ran" in told
    assert "~ retraining.cooldown: 14d -> 7d" in told


def test_a_stored_file_that_nobody_can_read_any_more_is_replaced_in_silence(serving, system) -> None:
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    broken = {**record.spec, "spec": {**record.spec["spec"], "rollout": {"steps": [{"dance": {}}]}}}
    record = serving.world.store.put(replace(record, spec=broken))
    stored = StoredSystem(Machine(serving.state), serving.world.store, record)
    assert told_changes(stored, system) == []


def test_same_file_is_not_handed_over(serving, file, system) -> None:
    note_live(serving.state, system)
    with serving.state.exclusively():
        serving.run("up", str(file))
        result = serving.run("up", str(file))
    assert "runs it already, the file says the same" in result.output


def test_wrong_file_never_reaches_a_running_supervisor(serving, file, system) -> None:
    note_live(serving.state, system)
    serving.document["spec"]["retraining"]["triggers"] = [{"schedule": {"cron": "0 25 * * *"}}]
    file.write_text(json.dumps(serving.document))
    with serving.state.exclusively():
        result = serving.run("up", str(file))
    assert result.exit_code == 1
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    assert record.generation == 1


def test_replay_is_not_disturbed(serving, file) -> None:
    with serving.state.exclusively():
        result = serving.run("up", str(file))
    assert result.exit_code == 1
    assert "runs a replay here; stop it with `capstan down`" in result.output


def test_loop_sees_the_file_that_was_handed_over(serving, system, tmp_path) -> None:
    class Local:
        store, name, state = serving.world.store, SYSTEM, serving.state

    Local.system = system  # type: ignore[attr-defined]
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    from capstan.embedded.wiring import spec_document

    record = serving.world.store.put(replace(record, spec=spec_document(system)))
    assert changed_file(Local) is None  # type: ignore[arg-type]
    changed = copy.deepcopy(serving.document)
    changed["spec"]["retraining"]["cooldown"] = "7d"
    note_live(serving.state, parse(changed, base_dir=tmp_path / "other"))
    serving.world.store.put(replace(record, spec=changed))
    seen = changed_file(Local)  # type: ignore[arg-type]
    assert seen is not None
    assert (seen.spec.retraining.cooldown.days, seen.base_dir) == (7, tmp_path / "other")


def test_taken_port_is_refused_before_anything_starts(serving, file) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = serving.run("up", str(file), "--page-port", str(server.getsockname()[1]))
    assert result.exit_code == 1
    assert "--page-port" in result.output
    assert serving.state.holder() is None
    assert not serving.state.live.exists()


def test_down_stops_the_supervisor_and_again_is_fine(serving) -> None:
    process = holder(serving.state)
    result = serving.run("down")
    assert (result.exit_code, process.wait(5)) == (0, 0)
    assert f"process {process.pid} and all that it ran: stopped" in result.output
    again = serving.run("down")
    assert (again.exit_code, again.output) == (0, "nothing was running\n")


def test_supervisor_that_does_not_stop_in_time_is_killed_and_told(serving) -> None:
    process = holder(serving.state, "signal.SIG_IGN")
    result = serving.run("down", "--timeout", "1", "--json")
    assert process.wait(5) == -signal.SIGKILL
    assert json.loads(result.stdout)["killed"] is True


def test_down_ends_what_a_killed_supervisor_left(serving) -> None:
    serving.state.processes.mkdir(parents=True, exist_ok=True)
    marked = {**os.environ, MARK: f"{serving.state.processes.resolve()}//v1/digest"}
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=marked, start_new_session=True
    )
    run = serving.state.runs(SYSTEM) / "flights-abc"
    run.mkdir()
    training = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    from capstan.adapters.kubeflow.run_folder import RunFolder
    from capstan.domain.training import RunPhase, RunStatus

    RunFolder(run).note_process(training.pid)
    RunFolder(run).write_status(RunStatus(RunPhase.RUNNING))
    time.sleep(0.2)
    result = serving.run("down", "--json")
    assert json.loads(result.stdout)["orphans"] == ["v1", "flights-abc"]
    assert left.wait(5) != 0
    assert training.wait(5) != 0
    # A training that was interrupted begins again; it has not failed.
    assert RunFolder(run).read_status() is None


def test_down_where_nothing_ever_ran(tmp_path, machine) -> None:
    machine.state = StateDir(tmp_path / "elsewhere")
    result = machine.run("down")
    assert (result.exit_code, "nothing ever ran" in result.output) == (0, True)
    assert not machine.state.root.exists()


def test_deletion_asks_first(serving) -> None:
    assert serving.run("down", "--delete", input="n\n").exit_code == 1
    record = serving.world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    assert record.deleted_at is None


def test_deletion_without_a_supervisor_is_carried_out_by_the_next(serving) -> None:
    result = serving.run("down", "--delete", "--yes", "--json")
    assert (result.exit_code, json.loads(result.stdout)["deleted"]) == (0, False)
    serving.world.settle()
    assert serving.world.store.get(Kind.SYSTEM, SYSTEM) is None


@pytest.mark.parametrize("command", ["up", "plan"])
def test_a_file_that_needs_a_cluster_is_refused_here(tmp_path: Path, command: str) -> None:
    flights = Path(__file__).parents[1] / "spec/flight_delays.yaml"
    file = tmp_path / "system.yaml"
    file.write_text(
        flights.read_text().replace("provider: Envoy", "provider: Istio").replace(", stickyBy: tailnum", "")
    )
    result = CliRunner().invoke(app, [command, str(file), "--state", str(tmp_path / "state")])
    assert result.exit_code == 1
    assert "serving.traffic.provider: 'Istio' only works in a cluster; write Envoy" in result.output
    assert not (tmp_path / "state").exists()

"""Parts of a running system that are killed, frozen, forged, poisoned or changed: what users and people see."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import joblib
import orjson
import pytest
from embedded.loop_process import windows
from embedded.running import Running, left_behind
from embedded.scenario import NAME, capstan, command, ports, write_variant

from capstan.domain.training import RunPhase
from capstan.embedded.layout import StateDir
from capstan.embedded.replay.client import Prediction
from capstan.engine import commands

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def running(
    world: Path, copy_of: Callable[[str], StateDir], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    never = {"retraining": {"cooldown": "300d", "budget": {"runs": 1, "per": "300d"}}}
    file = write_variant(tmp_path_factory.mktemp("survival"), world, never)
    system = Running(file, copy_of("survival-state"), share=0.3)
    try:
        system.start()
        yield system
    finally:
        system.stop()


def send(running: Running, number: int) -> list[Prediction]:
    """The next requests again, as of now."""
    moment = running.clock.now().isoformat().replace("+00:00", "Z")
    return [
        Prediction(running.traffic.bodies[row], running.traffic.keys[row], moment) for row in range(number)
    ]


def unaccounted(running: Running) -> int:
    running.local.collector.flush()
    stats = running.local.collector.stats()
    return running.local.gateway.completed_predictions() - stats.answered - stats.lost


def restarted(running: Running, process: str, old: int) -> bool:
    status = running.local.processes.status()[process]
    return status.pid not in (None, old) and status.phase.value.lower() == "running"


def test_a_killed_monitor_counts_nothing_twice_and_leaves_nothing_out(running: Running) -> None:
    """FAULTS 20: killed in the midst of a window and at its end."""
    running.days(2)
    os.kill(running.pid("monitor"), signal.SIGKILL)
    running.days(2)
    os.kill(running.pid("monitor"), signal.SIGKILL)
    running.days(1)
    decided = [window for window in windows(running.state) if window["rows"]]
    assert [window["number"] for window in decided] == [0]
    sent = running.traffic.requests_between(
        running.scope.start, running.scope.start + (running.clock.now() - running.scope.start) * 0.8
    )
    assert decided[0]["rows"] == len(sent)
    told = [event.message for event in running.events() if event.reason == "ProcessDied"]
    assert any("monitor" in message for message in told), told


def test_a_frozen_collector_does_not_slow_answers_and_gets_everything_afterwards(running: Running) -> None:
    """FAULTS 17."""
    before = running.local.collector.stats()
    pid = running.pid("collector")
    os.kill(pid, signal.SIGSTOP)
    try:
        answered = running.client.send(send(running, 400))
        slowest = max(running.ask(row).elapsed.total_seconds() for row in range(20))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (answered.sent, answered.failed) == (400, 0), answered.failures
    assert slowest < 2
    running.eventually(lambda: unaccounted(running) == 0, 30)
    after = running.local.collector.stats()
    assert after.answered - before.answered == 420
    assert after.lost == before.lost


@pytest.mark.parametrize("part", ["envoy", "prometheus", "alertmanager", "collector"])
def test_a_killed_part_is_started_again_told_of_and_goes_on(running: Running, part: str) -> None:
    """FAULTS 35."""
    pid, before = running.pid(part), running.last_event
    os.kill(pid, signal.SIGKILL)
    running.eventually(lambda: restarted(running, part, pid), 60)
    told = {event.reason: event.message for event in running.events(after=before)}
    assert "SIGKILL" in told["ProcessDied"]
    assert part in told["ProcessRestarted"]
    running.eventually(lambda: running.ask().status_code == 200, 30)
    assert running.client.send(send(running, 100)).failed == 0
    assert running.ask().headers["x-capstan-version"] == running.champion.name
    running.eventually(lambda: unaccounted(running) == 0, 30)


class Bomb:
    """Unpickling it leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_changed_model_file_is_never_unpickled_and_the_champion_keeps_serving(
    running: Running, tmp_path: Path
) -> None:
    """FAULTS 22, 23: foreign bytes put where a registered version was."""
    champion, before = running.champion, running.last_event
    model = shutil.copytree(running.model_of(champion), tmp_path / "model")
    (model / "note.txt").write_text("another version of the same model")
    commands.issue(running.local.store, NAME, "pause")
    version = running.inject(model, "tampered")
    made = running.local.registry.version(version)
    assert made is not None
    stored = running.model_of(made) / "pipeline.joblib"
    stored.chmod(0o600)
    joblib.dump(Bomb(tmp_path / "exploded"), stored)
    commands.issue(running.local.store, NAME, "resume")
    running.eventually(lambda: "RolledBack" in [event.reason for event in running.events(after=before)])
    told = {event.reason: event.message for event in running.events(after=before)}
    assert "its content hashes to" in told["ChallengerRefused"]
    assert not (tmp_path / "exploded").exists()
    assert running.champion == champion
    assert running.client.send(send(running, 50)).failed == 0
    assert version not in running.local.versions.readiness()


POISON = {
    "a number that is none": (b'{"distance": NaN}', "distance"),
    "infinity by overflow": (b'{"distance": 1e999}', "distance"),
    "text for a number": (b'{"distance": "far"}', "distance"),
    "a list for a number": (b'{"distance": [1]}', "distance"),
    "beyond the range of the checks": (b'{"distance": -1}', "distance"),
    "a value that is not allowed": (b'{"origin": "LHR"}', "origin"),
    "no json": (b"\xff\xfe{", "body"),
    "a thousand levels": (b'{"distance": ' + b"[" * 1000 + b"]" * 1000 + b"}", "distance"),
}


@pytest.mark.parametrize("kind", POISON)
def test_poison_is_refused_by_field_and_hurts_nothing(running: Running, kind: str) -> None:
    """FAULTS 21: through the gateway, on top of an else good row."""
    text, field = POISON[kind]
    row = running.traffic.bodies[0]
    body = row[:-1] + b"," + text[1:] if text.startswith(b'{"') else text
    answer = httpx.post(
        f"{running.local.addresses.gateway}/predict",
        content=body,
        headers={"content-type": "application/json"},
        timeout=6,
        trust_env=False,
    )
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["field"] == field
    assert error["rule"]
    assert running.ask().status_code == 200


def test_ten_megabytes_are_refused_and_hurt_nothing(running: Running) -> None:
    """FAULTS 21."""
    body = running.traffic.bodies[0][:-1] + b', "note": "' + b"x" * 10_000_000 + b'"}'
    answer = httpx.post(
        f"{running.local.addresses.gateway}/predict", content=body, timeout=20, trust_env=False
    )
    assert answer.status_code == 413
    assert running.ask().status_code == 200


def test_a_forged_or_replayed_webhook_starts_nothing_and_is_counted(running: Running) -> None:
    """FAULTS 28, 33."""
    page = running.local.addresses.page
    alert = {
        "status": "firing",
        "labels": {"alertname": "DriftDetected", "system": NAME, "version": running.champion.name},
        "annotations": {"summary": "forged", "as_of": "2013-02-05T00:00:00Z"},
    }
    body = orjson.dumps({"alerts": [alert]})
    before = running.last_event

    def post(token: str | None) -> int:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.post(
            f"{page}/alerts", content=body, headers=headers, timeout=5, trust_env=False
        ).status_code

    assert {post(None), post(""), post("wrong"), post(running.state.token("page"))} <= {401, 403}
    for _ in range(5):
        assert post(running.state.token("webhook")) in (200, 202, 204), "an authentic one, replayed"
    running.supervisor.look()
    assert [event.reason for event in running.events(after=before)] == []
    assert running.state_now.run is None


def test_feedback_needs_its_own_token(running: Running) -> None:
    gateway = running.local.addresses.gateway
    body = {"labels": [{"id": running.traffic.entity_ids[0], "label": True}]}
    for token in ("none", running.state.token("page"), "guess"):
        answer = httpx.post(
            f"{gateway}/feedback", json=body, headers={"authorization": f"Bearer {token}"}, trust_env=False
        )
        assert answer.status_code in (401, 403)
    good = {"authorization": f"Bearer {running.state.token('feedback')}"}
    assert httpx.post(f"{gateway}/feedback", json=body, headers=good, trust_env=False).status_code == 200


def test_a_store_that_is_locked_for_a_while_delays_the_loop_and_loses_nothing(running: Running) -> None:
    """FAULTS 34."""
    other = sqlite3.connect(running.state.store, isolation_level=None)
    other.execute("begin immediate")
    before = running.last_event
    commands_sent: list[str] = []

    def pause() -> None:
        commands.issue(running.local.store, NAME, "pause")
        commands_sent.append("pause")

    writer = threading.Thread(target=pause)
    writer.start()
    assert running.client.send(send(running, 50)).failed == 0, "serving needs no store"
    time.sleep(1.0)
    assert commands_sent == []
    other.execute("rollback")
    other.close()
    writer.join(30)
    running.supervisor.look()
    commands.issue(running.local.store, NAME, "resume")
    running.supervisor.look()
    assert [event.reason for event in running.events(after=before)] == ["Paused", "Resumed"]


def test_a_training_waits_for_a_locked_registry_and_registers_once(running: Running) -> None:
    """FAULTS 24, 25: nobody can read or write MLflow's database while the run wants to register."""
    known, before = len(running.local.registry.versions()), running.last_event
    commands.issue(running.local.store, NAME, "retrain")

    def steps() -> dict[str, RunPhase]:
        request = running.state_now.run
        status = running.local.runs.status(request.run) if request else None
        return {step.name: step.phase for step in status.steps} if status else {}

    with running.charges.suspended():
        running.eventually(lambda: "package" in steps(), 120)
        other = sqlite3.connect(running.state.mlflow_database, isolation_level=None)
        other.execute("begin exclusive")
        deadline = time.monotonic() + 60
        while steps().get("register") is not RunPhase.RUNNING:
            assert time.monotonic() < deadline, steps()
            time.sleep(0.1)
        assert running.client.send(send(running, 100)).failed == 0, "serving needs no registry"
        time.sleep(4)
        assert steps()["register"] is RunPhase.RUNNING, "it is tried again"
        other.execute("rollback")
        other.close()
        running.eventually(
            lambda: "TrainingSucceeded" in [event.reason for event in running.events(after=before)], 120
        )
    assert len(running.local.registry.versions()) == known + 1
    told = [event.reason for event in running.events(after=before)]
    assert told.count("TrainingSucceeded") == 1
    assert "TrainingFailed" not in told
    running.eventually(lambda: running.state_now.rollout is not None or "NotPromoted" in told, 30)
    if running.state_now.rollout is not None:
        commands.issue(running.local.store, NAME, "abort")
        running.eventually(lambda: running.state_now.rollout is None)


@pytest.mark.parametrize("option", ["--gateway-port", "--page-port"])
def test_a_taken_port_is_a_clear_error_and_leaves_nothing(
    world: Path, copy_of: Callable[[str], StateDir], option: str
) -> None:
    """FAULTS 35."""
    state = copy_of("taken-port")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = dict(zip(*[iter(ports())] * 2, strict=True)) | {option: port}
        words = [word for pair in options.items() for word in pair]
        done = capstan("replay", world / "system.yaml", "--state", state.root, "--resume", *words)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} is in use" in done.stderr
    assert option in done.stderr
    assert "Traceback" not in done.stderr
    assert not left_behind(state.root)


def test_a_full_disk_is_a_clear_error_and_the_replay_goes_on_when_there_is_room(
    world: Path, trained: Path, tmp_path: Path
) -> None:
    """FAULTS 34: the state is on a small file system of its own, which fills up in the midst of the replay."""
    replay = " ".join(
        command("replay", world / "system.yaml", "--state", tmp_path / "disk" / ".capstan", "--resume")
    )
    options = f"{' '.join(ports())} --sample 0.4 --until 2013-02-04"
    script = f"""
        mkdir disk && mount -t tmpfs -o size=150m tmpfs disk && cp -r {trained} disk/.capstan || exit 90
        {replay} {options} > first.log 2>&1 &
        loop=$!
        for i in $(seq 1200); do grep -q replaying: first.log && break; sleep 0.1; done
        dd if=/dev/zero of=disk/filler bs=64k 2>/dev/null
        wait $loop; echo "first $?"
        rm disk/filler
        {replay} {options} --json > second.json 2> second.log; echo "second $?"
    """
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    first = (tmp_path / "first.log").read_text()
    assert done.stdout.split() == ["first", "1", "second", "0"], done.stdout + done.stderr + first
    assert "no room left" in first
    assert "Traceback" not in first
    report = orjson.loads((tmp_path / "second.json").read_bytes())
    assert report["failed_requests"] == 0
    assert math.isfinite(report["auc_managed"]["2013-02"])
    assert not left_behind(tmp_path)

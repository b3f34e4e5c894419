"""A tenth of the demo with all real parts: an alert leads to a training, and that to a promotion, by itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import orjson
import pytest
from embedded.loop_process import opened
from embedded.running import left_behind
from embedded.scenario import NAME, capstan, command, ports

from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.replay.report import Report
from capstan.embedded.replay.whole_replay import read_traffic, scope_of
from capstan.engine.story import lineage
from capstan.ports.store import Event, Kind
from capstan.spec import load

pytestmark = [pytest.mark.real, pytest.mark.slow]
ASKED_FOR = {
    "requests",
    "failed_requests",
    "payloads_lost",
    "payloads_unaccounted",
    "alerts",
    "retrainings",
    "promotions",
    "rollbacks",
    "auc_static",
    "auc_managed",
    "gain",
    "gain_interval",
    "decisions",
    "seconds",
}


def story(state: StateDir) -> list[Event]:
    with opened(state) as store:
        return [event for _, event in store.events(SystemName(NAME))]


def test_every_request_is_answered_and_accounted_for(world: Path, replayed: tuple[StateDir, Report]) -> None:
    _, report = replayed
    system = load(world / "system.yaml")
    assert report["requests"] == len(read_traffic(system, scope_of(system))) > 8_000
    assert report["failed_requests"] == 0, report["failures"]
    assert report["payloads_lost"] == 0
    assert report["payloads_unaccounted"] == 0
    assert report["latency_p99_seconds"] is not None
    assert 0 < report["latency_p99_seconds"] < 5
    assert report["payloads_stored"] > report["requests"], "the shadow's copies are stored too"


def test_the_report_on_disk_says_what_was_printed(replayed: tuple[StateDir, Report]) -> None:
    state, report = replayed
    assert orjson.loads(state.report(SystemName(NAME)).read_bytes()) == report
    assert report.keys() >= ASKED_FOR
    assert report["auc_static"].keys() == report["auc_managed"].keys() == {"2013-02"}
    for value in (*report["auc_static"].values(), *report["auc_managed"].values()):
        assert value is not None
        assert 0.5 < value < 0.9
    assert report["gain_interval"] is not None
    low, high = report["gain_interval"]
    assert report["gain"] is not None
    assert low <= report["gain"] <= high
    assert 0 < report["seconds"] < 600


def test_one_alert_leads_through_one_training_to_one_promotion(replayed: tuple[StateDir, Report]) -> None:
    state, report = replayed
    assert (report["retrainings"], report["promotions"], report["rollbacks"]) == (1, 1, 0)
    assert report["alerts"] >= 1
    told = [decision["reason"] for decision in report["decisions"]]
    order = [
        "DriftDetected",
        "TrainingSucceeded",
        "RolloutStarted",
        "StepPassed",
        "Promoted",
    ]
    after_the_alert = told[told.index("DriftDetected") :]
    assert "FirstDeployed" in told[: told.index("DriftDetected")]
    places = [after_the_alert.index(reason) for reason in order]
    assert places == sorted(places), told
    passed = [decision["message"] for decision in report["decisions"] if decision["reason"] == "StepPassed"]
    assert [message.partition(":")[0] for message in passed] == [
        "step 1 (shadow 100 %)",
        "step 2 (canary 25 %)",
        "step 3 (canary 50 %)",
    ]
    assert "7 blocks" in passed[0]
    with opened(state) as store:
        runs = store.list(Kind.RUN, SystemName(NAME))
    assert len(runs) == 2, "the first training and one for the alert, however often it was notified"


def test_the_promotion_can_be_walked_back_to_the_alert(replayed: tuple[StateDir, Report]) -> None:
    state, _ = replayed
    events = story(state)
    alert = next(event for event in events if event.reason == "DriftDetected")
    walked = lineage(events, "alert", alert.details["alert"])
    reasons = [event.reason for event in walked]
    for reason in (
        "DriftDetected",
        "TrainingRequested",
        "TrainingSucceeded",
        "RolloutRequested",
        "StepPassed",
        "Promoted",
    ):
        assert reason in reasons
    promoted = next(event for event in walked if event.reason == "Promoted")
    assert promoted.details["challenger"] == "v2"
    assert promoted in lineage(events, "version", "v2")
    assert alert in lineage(events, "rollout", promoted.details["rollout"])


def test_the_registry_agrees_with_the_story(replayed: tuple[StateDir, Report]) -> None:
    state, report = replayed
    registry = MlflowRegistry(
        SystemName(NAME),
        tracking_uri=state.tracking_uri,
        artifact_root=state.mlflow_artifacts,
    )
    assert registry.aliases() == {"champion": "v2"}
    assert [version.name for version in registry.versions()] == ["v1", "v2"]
    assert [version["digest"] for version in report["versions"]] == [v.digest for v in registry.versions()]


def test_ctrl_c_stops_cleanly_resume_goes_on_and_a_second_run_begins_anew(
    world: Path, copy_of: Callable[[str], StateDir]
) -> None:
    state, file = copy_of("interrupted"), world / "system.yaml"
    free_ports = ports()
    options = (file, "--state", state.root, *free_ports, "--sample", "0.5", "--until", "2013-02-06")
    with subprocess.Popen(
        command("replay", *options, "--resume"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "1000"},
    ) as interrupted:
        assert interrupted.stdout is not None
        for line in interrupted.stdout:
            if "replaying:" in line:
                break
        interrupted.send_signal(signal.SIGINT)
        rest = interrupted.stdout.read()
        assert interrupted.wait(60) == 130, rest
    named = shlex.split(rest.partition("go on with: ")[2])
    assert named[:2] == ["capstan", "replay"], rest
    assert not left_behind(state.root), "Ctrl-C leaves nothing running"
    position = datetime.fromisoformat(orjson.loads(state.journal.read_bytes())["position"])
    assert datetime(2013, 2, 1, tzinfo=UTC) < position < datetime(2013, 2, 6, tzinfo=UTC)

    resumed = capstan(*named[1:], "--json")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    report = orjson.loads(resumed.stdout)
    system = load(file)
    scope = scope_of(system, end=date(2013, 2, 6), share=0.5)
    assert report["failed_requests"] == 0, report["failures"]
    assert report["payloads_unaccounted"] == 0
    assert report["payloads_stored"] >= len(read_traffic(system, scope))
    assert not left_behind(state.root)

    anew = capstan("replay", *options[:-1], "2013-02-02", "--json")
    assert anew.returncode == 0, anew.stdout + anew.stderr
    report = orjson.loads(anew.stdout)
    assert report["requests"] == len(read_traffic(system, scope_of(system, end=date(2013, 2, 2), share=0.5)))
    assert [version["name"] for version in report["versions"]] == ["v1"]
    assert [d["reason"] for d in report["decisions"]][:2] == ["TrainingRequested", "TrainingStarted"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{free_ports[1]}/", trust_env=False)

"""Every payload is accounted for in a real cluster: pods of collector, monitor and producers die, and counts add up."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from cluster.recorded_prometheus import RecordedPrometheus
from cluster.recorded_system import (
    PER_SECOND,
    WINDOW,
    RecordedSystem,
    eventually,
    recorded_system,
    watched_bento,
)

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.objects.alerting import rules
from capstan.domain.versions import VersionName

pytestmark = pytest.mark.slow
IMAGE = os.environ.get("CAPSTAN_TEST_PYTHON_IMAGE", "capstan-python:test")


@pytest.fixture(scope="module")
def recorded(
    kube: KubeClient, new_namespace: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> RecordedSystem:
    tag, digest, content = watched_bento(tmp_path_factory.mktemp("watched"))
    system = RecordedSystem(kube, new_namespace(), IMAGE, (tag, digest))
    system.start({f"bentos/{tag.replace(':', '/')}.tar": content})
    return system


def test_nothing_acknowledged_is_lost_or_counted_twice_when_a_collector_dies_under_load(
    recorded: RecordedSystem,
) -> None:
    recorded.produce("steady", payloads=PER_SECOND * 60)
    eventually(lambda: recorded.stored() > 100, recorded)
    recorded.kill("collector")
    before = recorded.stored()
    eventually(lambda: recorded.stored() > before + 200, recorded)
    recorded.delete_by_force("collector")
    told = recorded.told_by("steady")
    assert (told["produced"], told["lost"]) == (PER_SECOND * 60, 0)
    eventually(lambda: recorded.stored() >= told["produced"], recorded)
    stats = recorded.stats()
    assert stats is not None
    assert stats["boots"][told["boot"]] == {
        "system": "recorded", "version": "v1", "produced": told["produced"], "stored": told["produced"], "lost": 0,
        "missing": 0, "state": "ended",
    }  # fmt: skip
    assert (stats["stored"], stats["lost"], stats["missing"]) == (told["produced"], 0, 0)
    rows = (told["produced"], told["produced"])
    eventually(lambda: recorded.rows(told["boot"]) == rows, recorded)


def test_a_killed_model_leaves_a_gap_that_is_seen_and_a_deleted_one_leaves_none(
    recorded: RecordedSystem,
) -> None:
    before = recorded.stats()
    assert before is not None
    recorded.produce("deleted", payloads=10**6)
    recorded.produce("killed", payloads=18_000, per_second=0)
    boot = recorded.told_by("killed")["boot"]
    eventually(lambda: recorded.stored() > before["stored"] + 1000, recorded)
    recorded.kube.delete("Pod", "deleted", recorded.namespace)
    eventually(lambda: _states(recorded).count("ended") == 2, recorded)
    eventually(lambda: _states(recorded).count("silent") == 1, recorded)
    stats = recorded.stats()
    assert stats is not None
    killed = stats["boots"][boot]
    assert killed["produced"] == 18_000
    assert killed["missing"] == killed["produced"] - killed["stored"] > 0
    assert (stats["missing"], stats["lost"]) == (killed["missing"], 0)
    ended = [one for one in stats["boots"].values() if one["state"] == "ended"]
    assert all(one["produced"] == one["stored"] for one in ended)


def test_a_killed_monitor_decides_each_window_once_and_its_drift_becomes_an_alert(
    recorded: RecordedSystem,
) -> None:
    prometheus = RecordedPrometheus(recorded, rules(recorded_system(), recorded.names))
    prometheus.start()
    since = datetime.now(UTC)
    with recorded.monitor() as monitor:
        monitor.watch(VersionName("v1"), since=since)
        monitor.watch(VersionName("v1"), since=since)
    recorded.produce("drifting", payloads=PER_SECOND * 200, shift=12, calm_seconds=45)
    eventually(lambda: len(recorded.windows()) >= 1, recorded)
    recorded.kill("monitor")
    eventually(lambda: len(recorded.windows()) >= 2, recorded)
    recorded.delete_by_force("monitor")
    alert = prometheus.fired("DriftDetected", seconds=180)
    windows = recorded.windows()
    starts = [datetime.fromisoformat(window["start"]) for window in windows]
    assert starts[0] == since
    assert all(later - former == WINDOW for former, later in pairwise(starts))
    assert alert["labels"]["namespace"] == recorded.namespace
    assert (alert["labels"]["system"], alert["labels"]["version"]) == ("recorded", "v1")
    assert "distance" in alert["annotations"]["summary"]
    drifted = [window for window in windows if window["drift_alert"]]
    assert float(alert["annotations"]["as_of"]) in [
        pytest.approx(datetime.fromisoformat(window["end"]).timestamp(), abs=1) for window in drifted
    ]
    targets = prometheus.targets()
    assert {path: health for path, (health, _) in targets.items()} == {
        ":8081/metrics": "up",
        ":8082/metrics": "up",
    }
    for _, labels in targets.values():
        assert (labels["job"], labels["system"], labels["namespace"]) == (
            "capstan",
            "recorded",
            recorded.namespace,
        )


def _states(recorded: RecordedSystem) -> list[str]:
    stats = recorded.stats()
    return [boot["state"] for boot in stats["boots"].values()] if stats else []

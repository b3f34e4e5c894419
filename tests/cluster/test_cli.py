"""The commands on a real API server: applied, looked at, asked, pushed to and deleted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from simulation.world import SPEC, SYSTEM, World

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.store import KubeStore
from capstan.cluster.names import SystemNames
from capstan.cluster.pushing import push_pod
from capstan.cluster.settings import ClusterSettings, Images
from capstan.domain.versions import SystemName
from capstan.errors import NotFoundError
from capstan.ports.store import Event, Kind
from capstan.spec import parse

IMAGE = os.environ.get("CAPSTAN_TEST_PYTHON_IMAGE", "capstan-python:test")


class WorldStore(KubeStore):
    """The cluster's store, as a world in memory looks into it."""

    @property
    def _events(self) -> list[Event]:
        return [event for _, event in self.events()]


def capstan(*arguments: str, namespace: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "capstan", *arguments, "--context", ".", "--namespace", namespace]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    head = {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": SYSTEM}}
    path = tmp_path / "system.yaml"
    path.write_text(yaml.safe_dump({**head, "spec": SPEC}))
    return path


@pytest.fixture
def world(kube: KubeClient, namespace: str) -> World:
    """The real engine on the real API server; the other parts are in memory, and no operator is needed."""
    world = World()
    world.store = WorldStore(kube, namespace)  # type: ignore[assignment]
    return world


@contextmanager
def followed(world: World) -> Iterator[None]:
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(0.5):
            try:
                world.settle()
            except NotFoundError:
                continue

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_file_is_applied_looked_at_asked_and_deleted(
    kube: KubeClient, namespace: str, file: Path, world: World
) -> None:
    planned = capstan("plan", str(file), "--exit-code", namespace=namespace)
    assert planned.returncode == 2, planned.stderr
    assert "would be created" in planned.stdout
    applied = capstan("up", str(file), "--no-wait", namespace=namespace)
    # Whether an operator is there is the cluster's own matter; the object is stored either way.
    assert "created, generation 1" in applied.stdout, applied.stderr
    record = world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    world.store.put(replace(record, status={}))
    with followed(world):
        up = capstan("up", str(file), "--timeout", "120", namespace=namespace)
    if up.returncode:
        assert "no operator runs that would follow it" in up.stderr, up.stdout + up.stderr
    world.settle()
    status = json.loads(capstan("status", "--json", namespace=namespace).stdout)
    assert (status["phase"], status["champion"]["version"]) == ("Serving", "v1")
    again = capstan("plan", str(file), "--exit-code", namespace=namespace)
    assert again.returncode == 0, again.stdout
    runs = json.loads(capstan("runs", "--json", namespace=namespace).stdout)["trainings"]
    assert [(run["trigger"], run["phase"]) for run in runs] == [("Initial", "Succeeded")]
    asked = capstan("pause", "--no-wait", "--note", "a test", namespace=namespace)
    assert asked.returncode == 0, asked.stderr
    world.settle()
    assert json.loads(capstan("status", "--json", namespace=namespace).stdout)["phase"] == "Paused"
    refused = capstan("pause", "--json", namespace=namespace)
    assert (refused.returncode, json.loads(refused.stdout)["error"]) == (1, "NotAllowed")
    report = json.loads(capstan("report", "--json", namespace=namespace).stdout)
    assert {"FirstDeployed", "Paused"} <= {decision["reason"] for decision in report["decisions"]}
    with followed(world):
        deleted = capstan("down", "--delete", "--yes", "--json", namespace=namespace)
    assert json.loads(deleted.stdout) == {"deleted": True, "system": SYSTEM}, deleted.stderr
    assert kube.get("MLSystem", SYSTEM, namespace) is None


def test_doctor_tells_what_the_cluster_has(kube: KubeClient, namespace: str) -> None:
    result = capstan("doctor", "--json", namespace=namespace)
    rows = {row["what"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["Capstan's kinds"]["health"] == "OK"
    assert rows["your rights"]["health"] == "OK"
    assert rows["Seldon Core"]["found"].startswith("installed") == kube.serves("SeldonDeployment")
    assert {
        "operator",
        "leader",
        "storage",
        "Istio",
        "Kubeflow Pipelines",
        "Prometheus operator",
    } <= rows.keys()


def test_doctor_tells_what_the_user_may_not_do(kube: KubeClient, namespace: str, tmp_path: Path) -> None:
    """As a ServiceAccount without any right."""
    token = subprocess.run(
        ["kubectl", "-n", namespace, "create", "token", "default"], capture_output=True, text=True, check=True
    ).stdout.strip()
    config = yaml.safe_load(
        subprocess.run(
            ["kubectl", "config", "view", "--raw", "--minify"], capture_output=True, text=True, check=True
        ).stdout
    )
    config["users"][0]["user"] = {"token": token}
    nobody = tmp_path / "kubeconfig"
    nobody.write_text(yaml.safe_dump(config))
    env = {**os.environ, "KUBECONFIG": str(nobody)}
    result = capstan("doctor", "--json", namespace=namespace, env=env)
    rows = {row["what"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["your rights"]["health"] == "warning"
    assert "you may not get mlsystems (see systems)" in rows["your rights"]["found"]
    refused = capstan("status", namespace=namespace, env=env)
    assert refused.returncode == 1
    assert "forbidden" in refused.stderr


def test_all_rendered_objects_are_taken_by_the_api_server(
    kube: KubeClient, namespace: str, file: Path
) -> None:
    rendered = subprocess.run(
        [sys.executable, "-m", "capstan", "render", str(file), "-n", namespace, "--json"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    items = [one for one in json.loads(rendered)["items"] if kube.serves(one["kind"])]
    assert len(items) > 15
    done = subprocess.run(
        ["kubectl", "apply", "--server-side", "--dry-run=server", "-f", "-"],
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, "an object breaks Pod Security `restricted`"


DATA = "flight_id,distance\n" + "".join(f"{number},{number}\n" for number in range(200_000))


def test_pushed_files_arrive_whole_in_the_volume(kube: KubeClient, namespace: str, tmp_path: Path) -> None:
    head = {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": SYSTEM}}
    sources = [{"name": "flights", "csv": {"path": "data/flights.csv"}}]
    spec = {**SPEC, "data": {**SPEC["data"], "sources": sources}}
    (tmp_path / "system.yaml").write_text(yaml.safe_dump({**head, "spec": spec}))
    missing = capstan("push", str(tmp_path / "system.yaml"), namespace=namespace)
    assert missing.returncode == 1
    assert "data.sources[0].csv.path: 'data/flights.csv' is not in" in missing.stderr
    (tmp_path / "data").mkdir()
    (tmp_path / "data/flights.csv").write_text(DATA)
    for _ in range(2):
        pushed = capstan("push", str(tmp_path / "system.yaml"), "--image", IMAGE, namespace=namespace)
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        assert "1 file is in the data volume of" in pushed.stdout
    assert size_of(kube, namespace, "/data/data/flights.csv") == str(len(DATA))


def size_of(kube: KubeClient, namespace: str, path: str) -> str:
    """Of a file of the volume, as another pod sees it."""
    head = {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": SYSTEM}}
    system = parse({**head, "spec": SPEC}, base_dir=Path())
    names = SystemNames(namespace, SystemName(SYSTEM))
    document = push_pod(system, names, ClusterSettings(images=Images(python=IMAGE)))
    document["metadata"]["name"] = "reader"
    document["spec"]["containers"][0]["command"] = [
        "python",
        "-c",
        f"import os; print(os.path.getsize({path!r}))",
    ]
    kube.create(document)
    deadline = time.monotonic() + 120
    while (found := kube.get("Pod", "reader", namespace)) and found["status"].get("phase") != "Succeeded":
        assert time.monotonic() < deadline, found["status"]
        time.sleep(0.5)
    return kube.pod_log("reader", namespace).strip()


def test_logs_are_listed_and_shown(kube: KubeClient, namespace: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "flights-v1-a",
            "namespace": namespace,
            "labels": {"capstan.dev/system": SYSTEM, "capstan.dev/version": "v1"},
        },
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1034,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "model",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", "print('one'); print('two')"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    kube.create(pod)
    deadline = time.monotonic() + 120
    while (found := kube.get("Pod", "flights-v1-a", namespace)) and found["status"].get(
        "phase"
    ) != "Succeeded":
        assert time.monotonic() < deadline, found["status"]
        time.sleep(0.5)
    assert capstan("logs", "v1", namespace=namespace).stdout == "one\ntwo\n"
    assert capstan("logs", "v1", "--lines", "1", "-f", namespace=namespace).stdout == "two\n"
    assert json.loads(capstan("logs", "--json", namespace=namespace).stdout) == {
        "flights-v1-a": {"of": "v1", "state": "Succeeded"}
    }

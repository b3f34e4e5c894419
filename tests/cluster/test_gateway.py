"""Claims about the gateway of a system as it is in a cluster: real pods, Services and kube-proxy."""

from __future__ import annotations

import base64
import json
import math
import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.names import MODEL_PORT, SystemNames
from capstan.cluster.objects.access import access
from capstan.cluster.objects.gateway import config_map, gateway
from capstan.cluster.objects.pods import container, http_probe, pod
from capstan.cluster.settings import ClusterSettings, Images
from capstan.domain.versions import SystemName, VersionName
from capstan.ports.kube import Object
from capstan.spec import load

HERE = Path(__file__).parent / "gateway"
TAG = os.environ.get("TAG", "test")
SETTINGS = ClusterSettings(
    images=Images(
        operator=f"capstan-operator:{TAG}", gateway=f"capstan-gateway:{TAG}", pull_policy="IfNotPresent"
    )
)
SYSTEM = load(Path(__file__).parent / "loop" / "system.yaml")
"""Only its name and its traffic.provider matter here."""
RIGHTS = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "delete"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
]
"""Of the driver; the adapter itself needs configmaps get, patch and create, and pods list."""
TAKES_SECONDS = 420


@pytest.fixture(scope="module")
def names(new_namespace: Any) -> SystemNames:
    return SystemNames(new_namespace(), SystemName("flights"))


@pytest.fixture(scope="module")
def report(kube: KubeClient, names: SystemNames) -> dict[str, Any]:
    """What the driver told at its end."""
    token = secrets.token_urlsafe(16)
    for document in (
        *access(SYSTEM, names, SETTINGS, None),
        _secret(names, token),
        *gateway(SYSTEM, names, SETTINGS, None),
        *(each for number in (1, 2, 3) for each in _model(names, VersionName(f"v{number}"))),
        *_driver(names, token),
    ):
        _apply(kube, document)
    deadline = time.monotonic() + TAKES_SECONDS
    while (phase := _phase(kube, names)) not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, f"the driver is {phase}: {_log(kube, names)}"
        time.sleep(1)
    log = _log(kube, names)
    told = [line.removeprefix("REPORT ") for line in log.splitlines() if line.startswith("REPORT ")]
    assert told, log
    found: dict[str, Any] = json.loads(told[-1])
    assert phase == "Succeeded", log
    return found


def test_before_the_first_split_requests_are_refused_not_lost(report: dict[str, Any]) -> None:
    assert report["before"] == {"503": 5}


def test_shares_follow_the_weights_through_the_service(report: dict[str, Any]) -> None:
    assert report["shares"]["statuses"] == {"200": 2000}
    assert abs(report["shares"]["versions"]["v2"] - 500) < 4 * math.sqrt(2000 * 0.25 * 0.75)


def test_a_key_has_one_arm_whichever_pod_answers(report: dict[str, Any]) -> None:
    assert report["same arm on both pods"]


def test_counters_of_all_pods_are_added_up(report: dict[str, Any]) -> None:
    completed, failed, assigned = report["counted"]
    assert (completed, failed) == (2000 + 3 * 400, 0)
    assert assigned == completed


@pytest.mark.parametrize("change", ["versions change", "pod deleted", "rolled out", "old copy put back"])
def test_no_request_is_lost_while(report: dict[str, Any], change: str) -> None:
    answers = report[change]
    assert set(answers["statuses"]) == {"200"}, answers
    assert answers["statuses"]["200"] > 300


def test_pods_that_start_obey_the_same_split(report: dict[str, Any]) -> None:
    assert report["after the deletion"]
    assert report["after the rollout"]


def test_an_edit_by_hand_is_seen_and_put_back(report: dict[str, Any]) -> None:
    assert report["edited by hand: seen"]
    assert report["edited by hand: put back"]


def test_an_old_copy_of_the_whole_config_map_is_seen_and_put_back_during_a_canary(
    report: dict[str, Any],
) -> None:
    assert report["old copy: seen"]
    assert report["old copy: put back"]
    assert report["old copy: number goes on"]


def test_applying_the_config_map_itself_keeps_the_adapters_data(
    kube: KubeClient, names: SystemNames, report: dict[str, Any]
) -> None:
    before = kube.get("ConfigMap", names.gateway, names.namespace)
    assert before is not None
    assert set(before["data"]) == {"clusters.json", "routes.json", "generation"}
    kube.apply(config_map(names, None))
    after = kube.get("ConfigMap", names.gateway, names.namespace)
    assert after is not None
    assert after["data"] == before["data"]


def test_one_pod_is_always_left_by_drains_and_upgrades(
    kube: KubeClient, names: SystemNames, report: dict[str, Any]
) -> None:
    budget = kube.get("PodDisruptionBudget", names.gateway, names.namespace)
    assert budget is not None
    assert budget["status"]["disruptionsAllowed"] == 1
    assert budget["status"]["desiredHealthy"] == 1


def _apply(kube: KubeClient, document: Object) -> None:
    if document["kind"] in ("Role", "RoleBinding"):  # Capstan handles none itself
        subprocess.run(["kubectl", "apply", "-f", "-"], input=json.dumps(document), text=True, check=True)
    else:
        kube.apply(document)


def _secret(names: SystemNames, token: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(names.tokens, names.labels("account"), None),
        "data": {"internal": base64.b64encode(token.encode()).decode()},
    }


def _model(names: SystemNames, version: VersionName) -> list[Object]:
    """A Deployment and a Service called as the real ones are, of a service that only says its version."""
    labels = names.version_labels(version)
    script = {"name": "script", "configMap": {"name": f"model-{version}"}}
    serve = container(
        "model",
        SETTINGS.images.gateway,
        SETTINGS.images,
        ("python", "/script/model.py"),
        env=[{"name": "CAPSTAN_VERSION", "value": str(version)}],
        ports={"http": MODEL_PORT},
        mounts=[{"name": "script", "mountPath": "/script"}],
        resources={"requests": {"cpu": "20m", "memory": "32Mi"}},
        readinessProbe=http_probe("/v2/health/ready", "http", period_seconds=1),
    )
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": pod(names, SETTINGS, [serve], volumes=[script], grace_seconds=1),
        },
    }
    ports = [{"name": "http", "port": MODEL_PORT, "targetPort": "http", "protocol": "TCP"}]
    metadata = names.metadata(names.model(version), labels, None)
    return [
        _script(names, f"model-{version}", HERE / "model.py"),
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
    ]


def _driver(names: SystemNames, token: str) -> list[Object]:
    metadata = names.metadata("driver", {"app": "driver"}, None)
    run = container(
        "driver",
        SETTINGS.images.operator,
        SETTINGS.images,
        ("python", "/script/driver.py"),
        env=[{"name": "NAMESPACE", "value": names.namespace}, {"name": "TOKEN", "value": token}],
        mounts=[{"name": "script", "mountPath": "/script"}],
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}},
    )
    script = {"name": "script", "configMap": {"name": "driver"}}
    spec = {
        **pod(names, SETTINGS, [run], volumes=[script]),
        "restartPolicy": "Never",
        "serviceAccountName": "driver",
        "automountServiceAccountToken": True,
    }
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "driver", "namespace": names.namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": RIGHTS},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "driver"},
        },
        _script(names, "driver", HERE / "driver.py"),
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
    ]


def _script(names: SystemNames, name: str, file: Path) -> Object:
    metadata = names.metadata(name, {"app": "test"}, None)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {file.name: file.read_text()},
    }


def _phase(kube: KubeClient, names: SystemNames) -> str:
    found = kube.get("Pod", "driver", names.namespace)
    return str(found["status"].get("phase", "")) if found is not None else "gone"


def _log(kube: KubeClient, names: SystemNames) -> str:
    return kube.pod_log("driver", names.namespace, tail=200)

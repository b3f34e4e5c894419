"""A real Prometheus in a namespace, configured as charts/capstan-stack does, for the rules of one system."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.recorded_system import RecordedSystem
from cluster.toy_versions import wait_until
from ruamel.yaml import YAML

from capstan.cluster.objects.access import PROMETHEUS
from capstan.cluster.objects.pods import TMP_MOUNT, container, http_probe, pod
from capstan.ports.codec import to_yaml
from capstan.ports.kube import Object

IMAGE = os.environ.get("CAPSTAN_TEST_PROMETHEUS_IMAGE", "capstan-test-prometheus:test")
FILE = Path(__file__).parents[2] / "charts" / "capstan-stack" / "files" / "prometheus.yml"
NAME, PORT = "prometheus", 9090


def stack_config(namespace: str) -> dict[str, Any]:
    """The chart's file without its lines of templates, for the pods of one namespace."""
    text = re.sub(r"^.*\{\{.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    config: dict[str, Any] = YAML(typ="safe").load(text)
    del config["alerting"]
    for job in config["scrape_configs"]:
        for discovery in job["kubernetes_sd_configs"]:
            discovery["namespaces"] = {"names": [namespace]}
    return config


class RecordedPrometheus:
    """Finds the pods by the API server, scrapes them and evaluates the rules of their system."""

    def __init__(self, recorded: RecordedSystem, rules: Mapping[str, Any]) -> None:
        self._recorded = recorded
        self._files = {
            "prometheus.yml": to_yaml(stack_config(recorded.namespace)).decode(),
            "rules.yml": to_yaml(rules).decode(),
        }

    def start(self) -> None:
        recorded = self._recorded
        meta = {"name": NAME, "namespace": recorded.namespace, "labels": dict(PROMETHEUS)}
        main = container(
            NAME,
            IMAGE,
            recorded.settings.images,
            (
                "prometheus", "--config.file=/config/prometheus.yml", f"--storage.tsdb.path={TMP_MOUNT}/data",
            ),
            ports={"http": PORT},
            mounts=[
                {"name": "config", "mountPath": "/config"},
                {"name": "rules", "mountPath": "/etc/prometheus/rules"},
            ],
            readinessProbe=http_probe("/-/ready", "http"),
        )  # fmt: skip
        volumes = [
            {"name": volume, "configMap": {"name": NAME, "items": [{"key": key, "path": key}]}}
            for volume, key in (("config", "prometheus.yml"), ("rules", "rules.yml"))
        ]
        spec = {
            **pod(recorded.names, recorded.settings, [main], volumes=volumes),
            "serviceAccountName": NAME,
            "automountServiceAccountToken": True,
        }
        documents: list[Object] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": meta,
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
                "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": recorded.namespace}],
            },
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": self._files},
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        ]
        text = "\n---\n".join(json.dumps(document) for document in documents)
        subprocess.run(
            ["kubectl", "apply", "-f", "-"], input=text, text=True, check=True, capture_output=True
        )
        wait_until(lambda: self._ask("/api/v1/targets") is not None, recorded.story, 120)

    def fired(self, name: str, *, seconds: float) -> dict[str, Any]:
        """The alert, once it fires."""
        deadline = time.monotonic() + seconds
        while True:
            for alert in (self._ask("/api/v1/alerts") or {"alerts": []})["alerts"]:
                if alert["labels"]["alertname"] == name and alert["state"] == "firing":
                    return dict(alert)
            assert time.monotonic() < deadline, f"{self.targets()}\n{self._recorded.story()}"
            time.sleep(1)

    def targets(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Path and port of each target -> its health and labels."""
        found = (self._ask("/api/v1/targets") or {"activeTargets": []})["activeTargets"]
        return {
            re.sub(r"^https?://[^/]*(:\d+)", r"\1", one["scrapeUrl"]): (one["health"], one["labels"])
            for one in found
        }

    def _ask(self, path: str) -> Any:
        proxy = f"/api/v1/namespaces/{self._recorded.namespace}/pods/{NAME}:{PORT}/proxy{path}"
        done = subprocess.run(["kubectl", "get", "--raw", proxy], capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)["data"] if done.returncode == 0 else None

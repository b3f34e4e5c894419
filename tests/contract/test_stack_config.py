"""What a plain Prometheus and Alertmanager make of the stack's own configuration files.

Debian's Prometheus cannot ask an API server, so the pods are given as it would have found them: by the same labels.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster.recorded_prometheus import stack_config
from contract.test_alert_rules import Exporter, flights

from capstan.adapters.processes import programs as tools
from capstan.adapters.processes.ports_in_use import free_port
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.cluster.names import SystemNames
from capstan.cluster.objects.alerting import alerting
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import SystemName
from capstan.errors import UnavailableError
from capstan.ports.codec import to_yaml

FILES = Path(__file__).parents[2] / "charts" / "capstan-stack" / "files"
META = "__meta_kubernetes_pod_"


def pod_as_found(port: int, component: str, **changes: str) -> dict[str, Any]:
    """A target as discovery in Kubernetes gives it, for one port of a pod."""
    labels = {
        "__meta_kubernetes_namespace": "team-a",
        f"{META}name": f"flights-{component}-0",
        f"{META}phase": "Running",
        f"{META}container_init": "false",
        f"{META}container_port_number": "9999",
        f"{META}label_app_kubernetes_io_name": component,
        f"{META}label_capstan_dev_system": "flights",
        f"{META}annotation_prometheus_io_scrape": "true",
        f"{META}annotation_prometheus_io_port": str(port),
        f"{META}annotation_prometheus_io_path": f"/{component}",
        **{f"{META}{name}": value for name, value in changes.items()},
    }
    return {"targets": ["127.0.0.1:9999"], "labels": labels}


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    running = Exporter()
    running.text = b"".join(
        b"%b 1\n" % name for name in (b"capstan_up", b"envoy_cluster_upstream_rq_total", b"envoy_listener_x")
    )
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def series(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusQuery]:
    folder, port = tmp_path_factory.mktemp("stack"), exporter.server_port
    found = [
        pod_as_found(port, "model", label_capstan_dev_version="v3"),
        # Another port of the same pod, and containers that nobody scrapes.
        pod_as_found(port, "model", label_capstan_dev_version="v3", container_port_number="9998"),
        pod_as_found(port, "model", label_capstan_dev_version="v3", container_init="true", name="init"),
        pod_as_found(port, "training", phase="Succeeded", name="ended"),
        pod_as_found(port, "training", annotation_prometheus_io_scrape="", name="unscraped"),
        pod_as_found(port, "gateway"),
        pod_as_found(port, "collector"),
    ]
    (folder / "pods.json").write_text(json.dumps(found))
    config = stack_config("team-a")
    config["global"] = {"scrape_interval": "250ms", "scrape_timeout": "250ms"}
    job = config["scrape_configs"][0]
    del job["kubernetes_sd_configs"]
    job["file_sd_configs"] = [{"files": [str(folder / "pods.json")]}]
    config["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_bytes(to_yaml(config))
    address = f"127.0.0.1:{free_port()}"
    argv = [
        str(tools.find("prometheus")), f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    process = subprocess.Popen(argv)
    query = PrometheusQuery(f"http://{address}")
    deadline = time.monotonic() + 60
    while True:
        try:
            if len(query.instant("up")) >= 3:
                break
        except UnavailableError:
            pass
        assert process.poll() is None, "Prometheus refuses the configuration"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield query
    process.kill()
    process.wait(timeout=30)


@pytest.mark.real
def test_pods_are_found_once_and_labelled_by_what_they_are(
    series: PrometheusQuery, exporter: Exporter
) -> None:
    found = {sample.labels["pod"]: dict(sample.labels) for sample in series.instant("up == 1")}
    common = {
        "__name__": "up", "namespace": "team-a", "system": "flights", "instance": f"127.0.0.1:{exporter.server_port}",
    }  # fmt: skip
    expected = {
        "flights-model-0": {**common, "pod": "flights-model-0", "job": "capstan", "version": "v3"},
        "flights-gateway-0": {**common, "pod": "flights-gateway-0", "job": "envoy"},
        "flights-collector-0": {**common, "pod": "flights-collector-0", "job": "capstan"},
    }
    # A comparison drops the name.
    assert {pod: {"__name__": "up", **labels} for pod, labels in found.items()} == expected
    assert len(series.instant("up")) == 3


@pytest.mark.real
def test_of_envoy_only_what_is_read_is_kept(series: PrometheusQuery) -> None:
    names = {
        job: {
            sample.labels["__name__"] for sample in series.instant(f'{{job="{job}",__name__!~"up|scrape.*"}}')
        }
        for job in ("envoy", "capstan")
    }
    assert names["envoy"] == {"envoy_cluster_upstream_rq_total"}
    assert "capstan_up" in names["capstan"]


def test_the_prometheus_operator_is_told_the_same_relabelings() -> None:
    plain = stack_config("team-a")["scrape_configs"][0]
    names = SystemNames("team-a", SystemName("flights"))
    (monitor,) = [
        one for one in alerting(flights(), names, ClusterSettings(), None) if one["kind"] == "PodMonitor"
    ]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    told = [_plain(rule) for rule in endpoint["relabelings"]]
    for rule in plain["relabel_configs"]:
        # That operator sets namespace and pod itself, and leaves ended pods out.
        if rule.get("target_label") in ("namespace", "pod") or "_phase" in str(rule["source_labels"]):
            continue
        assert rule in told
    assert [_plain(rule) for rule in endpoint["metricRelabelings"]] == plain["metric_relabel_configs"]
    assert endpoint["honorLabels"] is plain["honor_labels"]


@pytest.mark.real
def test_alertmanager_takes_its_file_and_groups_by_namespace(tmp_path: Path) -> None:
    text = (FILES / "alertmanager.yml").read_text().replace("{{ .Release.Namespace }}", "capstan-system")
    assert "{{" not in text
    file = tmp_path / "alertmanager.yml"
    file.write_text(text)
    address = f"127.0.0.1:{free_port()}"
    program = tools.find("alertmanager")
    argv = [
        str(program), f"--config.file={file}", f"--storage.path={tmp_path}/data",
        f"--web.listen-address={address}", "--cluster.listen-address=",
    ]  # fmt: skip
    process = subprocess.Popen(argv, cwd=tools.working_folder(program))
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, "Alertmanager refuses the configuration"
            assert time.monotonic() < deadline
            try:
                status = httpx.get(f"http://{address}/api/v2/status").json()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert "namespace" in status["config"]["original"]
        assert "http://capstan-operator.capstan-system.svc:8088/alerts" in status["config"]["original"]
    finally:
        process.kill()
        process.wait(timeout=30)


def _plain(rule: dict[str, Any]) -> dict[str, Any]:
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(key, key): value for key, value in rule.items()}

"""What the record of a system and its alerts look like as objects."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.toy_versions import toy_system

from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.alerting import alerting
from capstan.cluster.objects.recording import executor_log_url, recording, tokens
from capstan.cluster.settings import ClusterSettings, Images
from capstan.domain.versions import SystemName
from capstan.monitoring.monitor import MonitorConfig
from capstan.recording.collector.server import CollectorConfig
from capstan.spec import MLSystem, parse

GOLDEN = Path(__file__).parent / "objects"
NAMES = SystemNames("team", SystemName("toy"))
OWNER = Owner("toy", "uid-1")
SETTINGS = ClusterSettings(
    images=Images(python="capstan-python:1"),
    artifacts="s3://capstan?endpoint_override=object-storage.capstan-system.svc:9000&scheme=http",
    artifact_keys=Path("/keys"),
)


def rendered(system: MLSystem | None = None, settings: ClusterSettings = SETTINGS) -> list[Any]:
    system = system or toy_system()
    return [
        tokens(NAMES, OWNER, {"internal": "one", "feedback": "two", "executor": "three"}),
        *recording(system, NAMES, settings, OWNER),
    ]


def of_kind(kind: str, name: str, documents: list[Any] | None = None) -> Any:
    (found,) = [
        one
        for one in documents or rendered()
        if one["kind"] == kind and one["metadata"]["name"] == f"toy-{name}"
    ]
    return found


@pytest.mark.parametrize("name", ["recording", "alerting"])
def test_objects_are_as_reviewed(name: str) -> None:
    """After a wanted change: REWRITE_OBJECTS=1, then read the diff."""
    documents = rendered() if name == "recording" else alerting(toy_system(), NAMES, SETTINGS, OWNER)
    text = yaml.safe_dump_all(documents, sort_keys=False, width=110)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("REWRITE_OBJECTS"):
        file.write_text(text)
    assert file.read_text() == text


def test_the_processes_understand_what_they_are_given() -> None:
    data = of_kind("ConfigMap", "record")["data"]
    collector = CollectorConfig.model_validate_json(data["collector.json"])
    monitor = MonitorConfig.model_validate_json(data["monitor.json"])
    assert collector.sync
    assert monitor.folder == collector.systems / "toy"
    assert parse(data["spec.json"], base_dir=Path()) == toy_system()
    paths = {mount["mountPath"] for mount in _container("collector")["volumeMounts"]}
    assert all(any(str(path).startswith(mount) for mount in paths) for path in collector.tokens.values())


def test_an_edited_file_changes_the_config_map_and_restarts_nobody() -> None:
    document = toy_system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["monitoring"] = {"drift": {"consecutive": 5}}
    edited = rendered(parse(document, base_dir=Path()))
    for name in ("collector", "monitor"):
        assert of_kind("Deployment", name, edited) == of_kind("Deployment", name)
    assert of_kind("ConfigMap", "record", edited) != of_kind("ConfigMap", "record")
    other = rendered(settings=SETTINGS.model_copy(update={"sync_record": False}))
    assert of_kind("Deployment", "collector", other) != of_kind("Deployment", "collector")


def test_a_webhooks_secret_is_mounted_and_may_be_missing() -> None:
    def webhook(sender: str, key: str) -> dict[str, Any]:
        return {"webhook": {"sender": sender, "secretFrom": {"secretKeyRef": {"name": "ci", "key": key}}}}

    document = toy_system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    triggers = [webhook("airflow", "one"), {"all": {"of": [{"drift": {}}, webhook("etl", "two")]}}]
    document["spec"]["retraining"] = {"triggers": triggers}
    system = parse({"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", **document}, base_dir=Path())
    objects = rendered(system)
    spec = of_kind("Deployment", "collector", objects)["spec"]["template"]["spec"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "secrets"]
    items = [{"key": key, "path": f"ci/{key}"} for key in ("one", "two")]
    assert volume["projected"]["sources"] == [{"secret": {"name": "ci", "items": items, "optional": True}}]
    [mount] = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "secrets"]
    data = of_kind("ConfigMap", "record", objects)["data"]
    collector = CollectorConfig.model_validate_json(data["collector.json"])
    assert str(collector.secrets) == mount["mountPath"]
    assert "kubectl create secret generic {name}" in collector.secrets_made_by
    assert "secrets" not in json.dumps(of_kind("Deployment", "monitor", objects))


@pytest.mark.parametrize("component", ["collector", "monitor"])
def test_one_process_writes_and_only_its_own_death_restarts_it(component: str) -> None:
    deployment = of_kind("Deployment", component)
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    container = _container(component)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/livez"
    assert of_kind("PodDisruptionBudget", component)["spec"]["maxUnavailable"] == 1


def test_the_monitor_runs_where_the_volume_is() -> None:
    spec = of_kind("Deployment", "monitor")["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == NAMES.selector("collector")
    claims = {
        of_kind("Deployment", name)["spec"]["template"]["spec"]["volumes"][1]["persistentVolumeClaim"][
            "claimName"
        ]
        for name in ("collector", "monitor")
    }
    assert claims == {"toy-record"}


def test_the_executor_is_told_an_address_that_says_what_it_cannot() -> None:
    assert (
        executor_log_url(NAMES, "three", shadow=True)
        == "http://toy-collector.team.svc:8081/seldon/three/shadow"
    )


def test_short_windows_are_looked_at_often_and_closed_soon() -> None:
    document = toy_system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["monitoring"] = {"window": {"duration": "20s", "minRows": 10}}
    data = of_kind("ConfigMap", "record", rendered(parse(document, base_dir=Path())))["data"]
    short, usual = (
        json.loads(data["monitor.json"]),
        json.loads(of_kind("ConfigMap", "record")["data"]["monitor.json"]),
    )
    assert (short["interval_seconds"], short["grace_seconds"]) == (5, 15)
    assert (usual["interval_seconds"], usual["grace_seconds"]) == (60, 60)


def _container(component: str) -> Any:
    (container,) = of_kind("Deployment", component)["spec"]["template"]["spec"]["containers"]
    return container

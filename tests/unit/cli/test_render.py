"""`capstan render` prints what the operator would apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.cluster.settings import ClusterSettings

FLIGHTS = str(Path(__file__).parents[1] / "spec/flight_delays.yaml")


def rendered(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["render", FLIGHTS, *arguments])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def names(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["kind"], one["metadata"]["name"]) for one in objects}


def test_all_objects_are_printed_in_the_namespace_that_is_named() -> None:
    objects = rendered("-n", "ml")
    assert {one["metadata"]["namespace"] for one in objects} == {"ml"}
    assert {
        ("Deployment", "flight-delays-gateway"),
        ("PersistentVolumeClaim", "flight-delays-data"),
        ("Deployment", "flight-delays-v1"),
        ("PrometheusRule", "flight-delays-capstan"),
        ("Secret", "flight-delays-tokens"),
    } <= names(objects)
    assert "Job" in {one["kind"] for one in objects}


def test_json_is_a_list_that_kubectl_reads() -> None:
    result = CliRunner().invoke(app, ["render", FLIGHTS, "--json"])
    document = json.loads(result.stdout)
    assert (document["kind"], document["apiVersion"]) == ("List", "v1")
    assert names(document["items"]) == names(rendered())


def test_settings_of_the_operator_are_followed(tmp_path: Path) -> None:
    settings = ClusterSettings.model_validate(
        {"images": {"gateway": "my/gateway:1"}, "rules": {"namespace": "stack", "name": "rules"}}
    )
    file = tmp_path / "settings.json"
    file.write_text(settings.model_dump_json())
    objects = rendered("--settings", str(file))
    (gateway,) = [one for one in objects if names([one]) == {("Deployment", "flight-delays-gateway")}]
    images = {container["image"] for container in gateway["spec"]["template"]["spec"]["containers"]}
    assert "my/gateway:1" in images
    assert "PrometheusRule" not in {one["kind"] for one in objects}


def test_no_secret_is_printed() -> None:
    (tokens,) = [one for one in rendered() if one["kind"] == "Secret"]
    assert len(set(tokens["data"].values())) == 1


def test_a_wrong_file_is_told_by_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(Path(FLIGHTS).read_text().replace("weight: 25", "weight: 140"))
    result = CliRunner().invoke(app, ["render", str(file)])
    assert result.exit_code == 1
    assert "rollout.steps[1].canary.weight: 140 is above 99" in result.output

"""The charts render to what was reviewed, use every value they have, and take no value they do not have."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.charts.rendering import CASES, CHARTS, helm, objects, pods, render
from ruamel.yaml import YAML

from capstan.cluster.settings import ClusterSettings
from capstan_operator.rights import as_yaml
from capstan_page.rendering import as_yaml as as_page_yaml
from capstan_page.rights import CLUSTER, NAMESPACED
from capstan_page.settings import PageSettings

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name for path in CHARTS.iterdir())


@pytest.mark.parametrize("chart", NAMES)
def test_helm_finds_no_fault(chart: str) -> None:
    helm("lint", "--strict", str(CHARTS / chart))


@pytest.mark.parametrize("case", CASES)
def test_a_chart_renders_to_what_was_reviewed(case: str) -> None:
    """After a wanted change: REWRITE_CHARTS=1, then read the difference."""
    golden, text = GOLDEN / f"{case}.yaml", render(case)
    if os.environ.get("REWRITE_CHARTS"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("case", [case for case, (chart, _) in CASES.items() if chart == "capstan"])
def test_the_operator_can_read_its_settings(case: str) -> None:
    [text] = [
        document["data"]["settings.json"]
        for document in objects(render(case))
        if document["kind"] == "ConfigMap" and "settings.json" in document["data"]
    ]
    stated = ClusterSettings.model_validate_json(text)
    assert stated.master_key is not None


def test_the_chart_knows_every_setting_of_the_operator() -> None:
    settings: set[str] = set()
    for case, (chart, _) in CASES.items():
        if chart == "capstan":
            settings |= {
                name
                for document in objects(render(case))
                if document["kind"] == "ConfigMap" and "settings.json" in document["data"]
                for name in json.loads(document["data"]["settings.json"])
            }
    assert settings == set(ClusterSettings.model_fields)


def test_the_roles_are_the_operators_own_list() -> None:
    assert (CHARTS / "capstan/files/rights.yaml").read_text() == as_yaml(), "run: make charts"


def page_settings(case: str) -> list[PageSettings]:
    return [
        PageSettings.model_validate_json(document["data"]["page.json"])
        for document in objects(render(case))
        if document["kind"] == "ConfigMap" and "page.json" in document["data"]
    ]


def test_the_page_can_read_its_settings_and_is_not_there_where_nobody_wants_it() -> None:
    [plain] = page_settings("operator")
    assert plain == PageSettings(session_key=plain.session_key)
    assert plain.session_key is not None
    [full] = page_settings("page-behind-a-proxy")
    assert full.prefix == "/capstan"
    assert full.proxy.addresses == ("10.0.12.0/24",)
    assert full.links.kfp == "https://kfp.example.com"
    assert page_settings("operator-in-two-namespaces") == []


def test_the_page_mounts_no_key_that_opens_more_than_reading() -> None:
    [spec] = [spec for name, spec in pods(objects(render("operator"))) if "page" in name]
    secrets = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    assert [[item["key"] for item in secret["items"]] for secret in secrets] == [["reading", "sessions"]]


def test_the_page_may_read_and_review_and_nothing_else() -> None:
    assert (CHARTS / "capstan/files/page-rights.yaml").read_text() == as_page_yaml(
        {"namespaced": NAMESPACED, "cluster": CLUSTER}
    ), "run: make charts"
    for right in NAMESPACED:
        assert set(right.verbs) <= {"get", "list", "watch"}
        assert "secrets" not in right.resources
    assert {resource for right in CLUSTER for resource in right.resources} == {
        "tokenreviews",
        "subjectaccessreviews",
    }


def _leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        for name, value in values.items():
            yield from _leaves(value, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_is_used(chart: str) -> None:
    values = YAML(typ="safe").load((CHARTS / chart / "values.yaml").read_text())
    files = [*(CHARTS / chart / "templates").rglob("*"), *(CHARTS / chart / "files").glob("*.yml")]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    used = set(re.findall(r"\.Values\.([\w.]+)", text))
    # What is handed on whole: resources, and the storage of a part, which `stack.set` takes apart.
    for whole in [name for name in used if name.split(".")[-1] in ("resources", "storage")]:
        used |= {f"{whole}.{name}" for name in re.findall(r"\.storage\.(\w+)", text)}
    unused = [
        ".".join(leaf)
        for leaf in _leaves(values)
        if ".".join(leaf) not in used
        and not any(name.endswith("resources") and ".".join(leaf).startswith(name) for name in used)
    ]
    assert not unused


@pytest.mark.parametrize("chart", NAMES)
def test_a_misspelt_value_is_refused(chart: str) -> None:
    values = YAML(typ="safe").load((CHARTS / chart / "values.yaml").read_text())
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    done = subprocess.run(
        ["helm", "template", str(CHARTS / chart), "--set", "networkPolicy.enabld=true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "enabld" in done.stderr


def test_without_the_stack_the_addresses_must_be_named() -> None:
    done = subprocess.run(
        ["helm", "template", str(CHARTS / "capstan"), "--set", "stack=false"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "name an MLflow server" in done.stderr
        or "name an Alertmanager" in done.stderr
        or "name a Prometheus" in done.stderr
    )


@pytest.mark.parametrize("case", CASES)
def test_containers_write_to_volumes_only_and_have_limits(case: str) -> None:
    for name, spec in pods(objects(render(case))):
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert "memory" in container["resources"]["limits"], name
            assert container["resources"]["requests"]["cpu"], name

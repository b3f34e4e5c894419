"""The definitions in the chart are what the grammar and the domain say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capstan.cluster import crds
from capstan.cluster.crd_forms import in_words
from capstan.domain.rollout import RolloutPhase
from capstan.domain.training import RunPhase
from capstan.engine.summary import PHASES
from capstan.ports.store import Kind
from capstan.spec import schema

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/capstan/crds"


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{path}[]")


def schema_of(name: str) -> dict[str, Any]:
    (version,) = crds.definitions()[name]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


FILES = ("mlsystems.yaml", "trainingruns.yaml", "modelrollouts.yaml")


def test_the_chart_holds_what_the_grammar_says() -> None:
    assert crds.differing(CHART) == [], f"run: python -m capstan.cluster.crds --write {CHART}"


def test_a_changed_a_missing_and_a_foreign_file_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crds.main(["--write", str(tmp_path)]) == 0
    assert crds.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "mlsystems.yaml").write_text("kind: Other\n")
    (tmp_path / "trainingruns.yaml").unlink()
    (tmp_path / "others.yaml").touch()
    assert crds.main(["--check", str(tmp_path)]) == 1
    assert (
        "mlsystems.yaml, others.yaml, trainingruns.yaml: not what the grammar says" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", FILES)
def test_every_field_of_a_spec_and_status_is_described(name: str) -> None:
    for part in ("spec", "status"):
        for path, node in nodes(schema_of(name)["properties"][part]):
            if not path.endswith("[]"):
                assert len(node.get("description", "")) > 8, f"{part}{path}"


@pytest.mark.parametrize("name", FILES)
def test_schemas_are_structural_and_without_keys_of_our_own(name: str) -> None:
    for path, node in nodes(schema_of(name)):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "const", "title", "examples"} & node.keys(), path
        assert not [key for key in node if key.startswith("x-capstan")], path
        # A rule of the API server sees no field whose type is not said, nor a list of such.
        assert isinstance(node.get("type"), str) or node.get("x-kubernetes-int-or-string"), path


def test_lists_that_rules_walk_are_bounded() -> None:
    """An API server refuses a rule whose cost it cannot bound."""
    for path, node in nodes(schema_of("mlsystems.yaml")["properties"]["spec"]):
        if node.get("type") == "array":
            assert "maxItems" in node, path


def empty_parts(value: Any, name: str) -> Iterator[str]:
    """Names of the empty lists and maps in a value."""
    if value in ({}, []):
        yield name
    parts = value.items() if isinstance(value, dict) else []
    items = [(name, item) for item in value] if isinstance(value, list) else []
    for below, part in (*parts, *items):
        yield from empty_parts(part, below)


def test_a_default_that_says_nothing_is_not_written_into_objects() -> None:
    """But for lists that rules go through, and members of unions, which say something by being there."""
    spec = schema_of("mlsystems.yaml")["properties"]["spec"]
    defaults = [(path.rpartition(".")[2], node["default"]) for path, node in nodes(spec) if "default" in node]
    assert len(defaults) > 50
    empty = {part for name, value in defaults for part in empty_parts(value, name)}
    assert empty == {"gates", "analyses", "keys", "mostFrequent", "drift", "quality"}


def test_defaults_are_written_out_to_their_depths() -> None:
    """Rules are asked about a default before its own defaults are filled in."""
    rollout = schema_of("mlsystems.yaml")["properties"]["spec"]["properties"]["rollout"]
    assert rollout["default"]["guardrails"]["latencyP99"] == {"maxRatio": 1.5, "floor": "50ms"}
    assert rollout["default"]["steps"][1]["canary"]["analyses"] == []


def test_a_union_is_a_rule_that_names_its_keys() -> None:
    steps = schema_of("mlsystems.yaml")["properties"]["spec"]["properties"]["rollout"]["properties"]["steps"]
    messages = [rule["message"] for rule in steps["items"]["x-kubernetes-validations"]]
    assert "keep exactly one of shadow, interleave, canary, pause, experiment, bandit" in messages


def test_columns_short_names_and_category_are_there() -> None:
    for name, columns in {
        "mlsystems.yaml": ["Phase", "Ready", "Champion", "Challenger", "Weight", "Drift", "Message", "Age"],
        "trainingruns.yaml": [
            *("Phase", "Trigger", "Version", "Candidate", "System", "TriggerReason", "Message", "Age"),
        ],
        "modelrollouts.yaml": ["Phase", "Step", "Weight", "Challenger", "System", "Message", "Age"],
    }.items():
        spec = crds.definitions()[name]["spec"]
        (version,) = spec["versions"]
        assert [column["name"] for column in version["additionalPrinterColumns"]] == columns
        assert spec["names"]["categories"] == ["capstan"]
        assert version["subresources"] == {"status": {}}


def test_the_loops_own_memory_is_one_text_that_no_reader_has_to_pass() -> None:
    for name in FILES:
        status = schema_of(name)["properties"]["status"]["properties"]
        assert status["memory"]["type"] == "string"
        assert "state" not in status
        assert "outbox" not in status


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


def test_no_form_is_told_as_a_bare_regex() -> None:
    for name in FILES:
        found = [node for node in _nodes(schema_of(name)) if isinstance(node.get("pattern"), str)]
        # Rules on quantities, which may be numbers, cost more than an API server allows.
        assert [node for node in found if not node.get("x-kubernetes-int-or-string")] == []


def test_every_default_of_a_text_is_long_enough() -> None:
    for name in FILES:
        for node in _nodes(schema_of(name)):
            if isinstance(node.get("default"), str):
                assert len(node["default"]) >= node.get("minLength", 0), node


def test_every_form_of_the_file_is_a_rule_that_shows_the_value_and_the_way_out() -> None:
    forms = {node["pattern"] for node in _nodes(schema()) if isinstance(node.get("pattern"), str)}
    assert len(forms) >= 9
    for form in forms:
        (rule,) = in_words({"type": "string", "pattern": form})["x-kubernetes-validations"]
        assert "self" in rule["messageExpression"]
        assert rule["message"].startswith("write ")
        assert "^" not in rule["message"]


def test_every_text_that_a_rule_matches_has_a_bound() -> None:
    """An API server counts what a rule may cost by the longest text there may be, and refuses what costs too much."""
    for node in _nodes(schema_of("mlsystems.yaml")):
        rules = node.get("x-kubernetes-validations") or ()
        if node.get("type") == "string" and any("matches" in rule["rule"] for rule in rules):
            assert node["maxLength"] <= 253


@pytest.mark.parametrize(("kind", "file"), zip(Kind, crds.definitions(), strict=True))
def test_explain_names_every_phase_with_its_meaning(kind: Kind, file: str) -> None:
    phase = schema_of(file)["properties"]["status"]["properties"]["phase"]
    assert phase["enum"] == [str(word) for word in PHASES[kind]]
    for word, meaning in PHASES[kind].items():
        assert f"{word}: {meaning}." in phase["description"]
    states = {Kind.RUN: RunPhase, Kind.ROLLOUT: RolloutPhase}.get(kind, ())
    assert {str(state) for state in states} <= set(phase["enum"])

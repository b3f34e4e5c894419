"""The grammar exports as a schema that Kubernetes takes, and every field is documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from capstan.spec import MLSystem, load, parse, schema
from capstan.spec.fields import FieldDoc, all_fields
from capstan.spec.grammar import SpecModel
from capstan.spec.reference import reference

FLIGHTS = Path(__file__).parent / "flight_delays.yaml"
ROOT = Path(__file__).parents[3]


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{path}[]")


def test_schema_is_structural() -> None:
    for path, node in nodes(schema()):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "const", "title", "$defs"} & node.keys(), path
        # Kubernetes lets a node be of several types only under one of these names.
        several = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
        assert isinstance(node.get("type"), str) or several, path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert (
            not isinstance(node.get("exclusiveMinimum", True), int | float)
            or node.get("exclusiveMinimum", True) is True
        )


def test_unions_list_their_keys_and_named_lists_are_list_maps() -> None:
    by_path = dict(nodes(schema()))
    step = by_path[".spec.rollout.steps[]"]
    assert step["x-capstan-one-of"] == ["shadow", "interleave", "canary", "pause", "experiment", "bandit"]
    assert set(step["x-capstan-one-of"]) == set(step["properties"])
    assert by_path[".spec.data.sources"]["x-kubernetes-list-map-keys"] == ["name"]
    assert "x-kubernetes-list-type" not in by_path[".spec.rollout.steps"]


def test_defaults_of_the_schema_are_those_of_the_models() -> None:
    """An API server writes defaults into the object: the system must stay the same."""
    system = load(FLIGHTS)
    data = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for section in ("rollout", "training", "monitoring", "retraining", "serving", "evaluation"):
        del data["spec"][section]
    filled = defaulted(data, schema())
    assert filled["spec"]["rollout"]["guardrails"]["latencyP99"] == {"maxRatio": 1.5, "floor": "50ms"}
    assert filled["spec"]["monitoring"]["quality"]["minCoverage"] == "80%"
    again = parse(filled, base_dir=system.base_dir)
    assert again == parse(data, base_dir=system.base_dir)
    assert again.spec.rollout.steps[0].chosen.analyses == ("quality",)


def defaulted(value: Any, node: dict[str, Any]) -> Any:
    """What an API server does with defaults."""
    if isinstance(value, list):
        return [defaulted(item, node["items"]) for item in value]
    if not isinstance(value, dict) or "properties" not in node:
        return value
    filled = dict(value)
    for name, child in node["properties"].items():
        if name not in filled and "default" in child:
            filled[name] = child["default"]
        if name in filled:
            filled[name] = defaulted(filled[name], child)
    return filled


@pytest.mark.parametrize("doc", all_fields().values(), ids=all_fields().keys())
def test_every_field_is_explained_with_an_example(doc: FieldDoc) -> None:
    assert len(doc.description) > 8
    assert not doc.description[0].islower()
    assert doc.description.endswith(".")
    assert doc.example.startswith(f"{doc.name}: ")


def examples() -> Iterator[Any]:
    for model in [MLSystem, *models(SpecModel)]:
        for name, field in model.model_fields.items():
            # These show their shape only; whole ones would be as long as a file.
            if (model.__name__, name) not in {
                ("MLSystem", "spec"),
                ("MLSystemSpec", "data"),
                ("Etl", "spec"),
            }:
                yield pytest.param(model, name, (field.examples or [None])[0], id=f"{model.__name__}.{name}")


def models(base: type[SpecModel]) -> list[type[SpecModel]]:
    return [model for child in base.__subclasses__() for model in (child, *models(child))]


@pytest.mark.parametrize(("model", "name", "example"), examples())
def test_every_example_can_be_written(model: type[SpecModel], name: str, example: Any) -> None:
    field = model.model_fields[name]
    try:
        model.model_validate({field.alias: example}, by_alias=True, by_name=False)
    except ValidationError as error:
        about_the_example = [e for e in error.errors() if e["loc"][:1] == (field.alias,)]
        assert about_the_example == []


def test_reference_page_is_up_to_date() -> None:
    page = ROOT / "platform/docs/spec.md"
    assert page.read_text() == reference(), f"run: python -m capstan.spec.reference > {page}"

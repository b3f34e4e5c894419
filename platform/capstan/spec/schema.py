"""The grammar as one JSON schema that Kubernetes accepts as structural: no references, no alternatives of type."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from capstan.spec.grammar import OneOf, SpecModel
from capstan.spec.system import MLSystem
from capstan.spec.units import SHARE_PATTERN, format_bytes, format_duration, format_share


class _Schema(GenerateJsonSchema):
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if "default" in schema:
            default = schema["default"]
        elif "default_factory" in schema and not schema.get("default_factory_takes_data"):
            default = schema["default_factory"]()  # type: ignore[call-arg]
        else:
            return inner
        # None means "not given": a structural schema says so by leaving the key out.
        if default is None:
            return inner
        return (
            {"allOf": [inner], "default": _plain(default, inner)}
            if "$ref" in inner
            else {
                **inner,
                "default": _plain(default, inner),
            }
        )

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        # The order of the file is the order to read it in.
        return value

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _plain(value: Any, inner: JsonSchemaValue) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, tuple):
        return [_plain(item, {}) for item in value]
    if isinstance(value, float) and inner.get("pattern") == SHARE_PATTERN:
        return format_share(value)
    if isinstance(value, int) and inner.get("x-kubernetes-int-or-string"):
        return format_bytes(value)
    if hasattr(value, "total_seconds"):
        return format_duration(value)
    return value


@cache
def schema() -> dict[str, Any]:
    """JSON schema of a whole MLSystem: `type`, `properties`, `required`, defaults, descriptions, examples.

    Unions are objects whose keys exclude each other: `x-capstan-one-of` lists the keys, so that a CRD can say it as
    a CEL rule. Lists whose items have a name are marked as list-maps.
    """
    raw = MLSystem.model_json_schema(by_alias=True, schema_generator=_Schema, mode="validation")
    definitions = raw.pop("$defs")
    unions = {model.__name__: model for model in _subclasses(OneOf)}
    result: dict[str, Any] = _inline(raw, definitions, unions)
    return result


def _subclasses(base: type[SpecModel]) -> list[type[Any]]:
    return [model for child in base.__subclasses__() for model in (child, *_subclasses(child))]


def _inline(node: Any, definitions: dict[str, Any], unions: dict[str, type[OneOf]]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions, unions) for item in node]
    if not isinstance(node, dict):
        return node
    if "allOf" in node:
        (only,) = node["allOf"]
        node = {**only, **{key: value for key, value in node.items() if key != "allOf"}}
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        target = {**definitions[name]}
        if name in unions:
            aliases = [unions[name].model_fields[member].alias for member in unions[name].members]
            target["x-capstan-one-of"] = aliases
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    result = {
        key: {name: _inline(child, definitions, unions) for name, child in value.items()}
        if key == "properties"
        else value
        if key in ("default", "examples", "enum", "required")
        else _inline(value, definitions, unions)
        for key, value in node.items()
        if key != "title"
    }
    if "const" in result:
        result["enum"] = [result.pop("const")]
    # Structural schemas know minimum + exclusiveMinimum: true (OpenAPI v3.0) instead of a number.
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in result:
            result[bound.lower()] = result[f"exclusive{bound}"]
            result[f"exclusive{bound}"] = True
    if result.get("type") == "array" and "name" in result["items"].get("required", []):
        result["x-kubernetes-list-type"] = "map"
        result["x-kubernetes-list-map-keys"] = ["name"]
    # A key that is not known is refused by the API server's strict field validation; beside `properties` a structural
    # schema may not say additionalProperties: false.
    is_free = result.get("x-kubernetes-preserve-unknown-fields") or "properties" in result
    if is_free or result.get("additionalProperties") is False:
        result.pop("additionalProperties", None)
    return result

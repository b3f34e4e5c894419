"""Structural schemas of the custom resources: of the file from its grammar, of runs and rollouts from the domain.

A structural schema has no references and no alternatives of type. What is said in the docstrings of the dataclasses is
what `kubectl explain` teaches.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from pydantic._internal._docs_extraction import extract_docstrings_from_cls
from pydantic.alias_generators import to_camel

from capstan.adapters.kubernetes.codec import fields_of, is_optional, plain_type
from capstan.adapters.kubernetes.compressed_state import FIELD
from capstan.cluster.crd_forms import in_words
from capstan.domain.rollout import RolloutRequest
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger
from capstan.domain.versions import ModelVersion
from capstan.spec import schema
from capstan.spec.grammar import SYSTEM_NAME_PATTERN, SYSTEM_NAME_RULE
from capstan.spec.rules import rules_for_an_api_server
from capstan.spec.writing import in_one_line

Schema = dict[str, Any]

_EXAMPLES_ARE_PROSE = 200
"""Most characters of an example in a description. `kubectl explain` leaves out longer ones; the reference shows
them.
"""

_WORDS: Mapping[type[Any], Mapping[str, str]] = {
    TrainingRequest: {
        "run": "Name of the run, made from the system, its champion and the attempt.",
        "system": "Name of the MLSystem.",
        "trigger": "What asked for the training.",
        "seed": "Seed of all randomness in the training.",
    },
    RolloutRequest: {
        "name": "Name of the rollout, made from the system, both versions and the attempt.",
        "system": "Name of the MLSystem.",
        "cause": "Why there is a rollout: the first deployment, a challenger, or a person's way back.",
        "challenger": "The version that is rolled out.",
    },
    Trigger: {
        "kind": "What it was.",
        "as_of": "Moment (event time) up to which data may be read.",
        "reason": "Why, in words.",
    },
    ModelVersion: {
        "name": "Name of the version, the registry's number behind a v.",
        "digest": "Identity of its bytes: sha256 of the Bento's sorted file hashes.",
        "run": "The training run that made it.",
    },
}
"""Descriptions of fields whose names explain themselves in code, but not in `kubectl explain`."""


_READ_BY_RULES = frozenset({"gates", "analyses", "keys"})
"""Parts that rules read. They must be present even when they are empty."""


def system_spec() -> Schema:
    """Schema of an MLSystem's `spec`, with the rules across fields."""
    root: Schema = _structural(schema()["properties"]["spec"])
    _fill_defaults(root)
    _leave_out_empty(root)
    for path, rule in rules_for_an_api_server():
        _say(_node(root, path), rule)
    return root


def system_name() -> Schema:
    """Schema of `metadata`: a name short enough for the names made from it; `system_name_rule` says the rest."""
    name = schema()["properties"]["metadata"]["properties"]["name"]
    return {"type": "object", "properties": {"name": {key: name[key] for key in ("type", "maxLength")}}}


def system_name_rule() -> Schema:
    """Rule of the whole object, where alone CEL sees the name; the schema's own `pattern` would be told as a bare
    regex.
    """
    return {
        "rule": f"self.metadata.name.matches('{SYSTEM_NAME_PATTERN}')",
        "message": f"metadata.name: write {SYSTEM_NAME_RULE}",
    }


def request_spec(cls: type[Any]) -> Schema:
    """Schema of the `spec` of a run or a rollout: the dataclass, in camelCase; it never changes."""
    node = _of_type(cls)
    _say(node, {"rule": "self == oldSelf", "message": "what was asked for never changes; a new one is made"})
    return node


def _structural(node: Any) -> Any:
    """The grammar's schema without Capstan's own keys; the example stands in the description."""
    if isinstance(node, list):
        return [_structural(item) for item in node]
    if not isinstance(node, dict):
        return node
    result: Schema = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: _field(name, child) for name, child in value.items()}
        elif key in ("default", "enum", "required"):
            result[key] = value
        elif key != "examples" and not key.startswith("x-capstan-"):
            result[key] = _structural(value)
    result = in_words(result)
    if keys := node.get("x-capstan-one-of"):
        _say(
            result,
            {
                "rule": f"[{', '.join(f'has(self.{key})' for key in keys)}].filter(given, given).size() == 1",
                "message": f"keep exactly one of {', '.join(keys)}",
            },
        )
    return result


def _field(name: str, child: Schema) -> Schema:
    result: Schema = _structural(child)
    if child.get("examples"):
        example = in_one_line({name: child["examples"][0]})[1:-1]
        if len(example) <= _EXAMPLES_ARE_PROSE:
            result["description"] = f"{result['description']} Example: `{example}`."
    return result


def _fill_defaults(node: Schema) -> None:
    """Write defaults out to their depths: an API server asks the rules about a default before it fills in its parts."""
    for child in [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]:
        _fill_defaults(child)
    if "default" in node:
        node["default"] = filled(node["default"], node)


def _leave_out_empty(node: Schema) -> None:
    """Drop defaults that say nothing: the server would write them into every object, a line of `describe` each."""
    for name, child in node.get("properties", {}).items():
        if "default" in child:
            child["default"] = _saying(child["default"], child)
        # What is inside is dropped last: above it, a part is known by its own default for one that may be missing.
        is_empty = name not in _READ_BY_RULES and child.get("default") in ({}, [])
        _leave_out_empty(child)
        if is_empty:
            del child["default"]
    if "items" in node:
        _leave_out_empty(node["items"])


def _saying(value: Any, node: Schema) -> Any:
    """The default without its empty parts that may be missing; `drift: {}` of a union says something and stays."""
    if isinstance(value, list):
        return [_saying(item, node["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    known = node.get("properties", {})
    parts = {name: _saying(part, known.get(name, {})) for name, part in value.items()}
    return {
        name: part
        for name, part in parts.items()
        if part not in ({}, []) or name in _READ_BY_RULES or "default" not in known.get(name, {})
    }


def filled(value: Any, node: Schema) -> Any:
    if isinstance(value, list):
        return [filled(item, node["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    known = node.get("properties", {})
    missing = {
        name: child["default"] for name, child in known.items() if "default" in child and name not in value
    }
    return {name: filled(part, known.get(name, {})) for name, part in {**value, **missing}.items()}


def _say(node: Schema, rule: Mapping[str, str]) -> None:
    node.setdefault("x-kubernetes-validations", []).append(dict(rule))


def _node(root: Schema, path: str) -> Schema:
    node = root
    for part in path.split(".") if path else ():
        node = node["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            node = node["items"]
    return node


_PLAIN: Mapping[type[Any], Schema] = {
    str: {"type": "string", "maxLength": 10_000},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}


def _of_type(hint: Any) -> Schema:
    plain = plain_type(hint)
    if plain in _PLAIN:
        return dict(_PLAIN[plain])
    if dataclasses.is_dataclass(plain):
        return _of_dataclass(typing.cast(type[Any], plain))
    inside = typing.get_args(plain)
    if len(inside) == 2 and inside[1] is not ...:
        return {"type": "object", "additionalProperties": _of_type(inside[1]), "maxProperties": 1000}
    if inside:
        return {"type": "array", "items": _of_type(inside[0]), "maxItems": 1000}
    if issubclass(plain, Enum):
        return {"type": "string", "enum": [member.value for member in plain]}
    raise TypeError(f"{hint!r} has no structural schema")


def _of_dataclass(cls: type[Any]) -> Schema:
    words = {**extract_docstrings_from_cls(cls, use_inspect=True), **_WORDS.get(cls, {})}
    required, properties = [], {}
    for field in dataclasses.fields(cls):
        hint = fields_of(cls)[field.name]
        node = _of_type(hint)
        text = words.get(field.name) or node.get("description", "")
        has_default = (
            dataclasses.MISSING not in (field.default,) or field.default_factory is not dataclasses.MISSING
        )
        if not has_default and not is_optional(hint):
            required.append(to_camel(field.name))
        properties[to_camel(field.name)] = {
            "description": " ".join(text.split()),
            **_without(node, "description"),
        }
    document: Schema = {
        "description": " ".join((cls.__doc__ or "").split()),
        "type": "object",
        "properties": properties,
    }
    return {**document, "required": required} if required else document


def _without(node: Schema, key: str) -> Schema:
    return {name: value for name, value in node.items() if name != key}


def status(columns: Mapping[str, Schema], phases: Mapping[str, str]) -> Schema:
    """Schema of a `status`: its own columns, conditions, and the loop's memory, which is one text."""
    return {
        "description": "What was seen and decided; written by Capstan alone.",
        "type": "object",
        "properties": {
            "observedGeneration": {
                "description": "The generation of the spec that this status speaks about.",
                "type": "integer",
                "format": "int64",
            },
            "phase": {
                "description": "One word for what happens now. "
                + " ".join(f"{phase}: {meaning}." for phase, meaning in phases.items()),
                "type": "string",
                "enum": [str(phase) for phase in phases],
            },
            **columns,
            "conditions": _CONDITIONS,
            FIELD: {
                "description": "The loop's own memory, compressed: its state, and the decisions that are being told to "
                "the story. Not an interface; `base64 -d | gunzip` shows it.",
                "type": "string",
            },
        },
    }


_CONDITIONS: Schema = {
    "description": (
        "What holds, in the usual words: Ready, Progressing, Degraded, TrafficSynced, EvidenceSufficient, Watched, and "
        "Reconciling and Stalled as kstatus reads them."
    ),
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": {"description": "What is spoken about.", "type": "string", "maxLength": 316},
            "status": {
                "description": "Whether it holds.",
                "type": "string",
                "enum": ["True", "False", "Unknown"],
            },
            "reason": {"description": "Why, in one word.", "type": "string", "maxLength": 1024},
            "message": {"description": "Why, in words.", "type": "string", "maxLength": 32_768},
            "lastTransitionTime": {
                "description": "When it last changed.",
                "type": "string",
                "format": "date-time",
            },
            "observedGeneration": {
                "description": "The generation of the spec that it speaks about.",
                "type": "integer",
                "format": "int64",
            },
        },
    },
}

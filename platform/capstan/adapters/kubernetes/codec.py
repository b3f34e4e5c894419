"""Domain values as the specs of custom resources: camelCase keys outside, the dataclasses' own names inside.

Keys of a mapping are words of the user (names of metrics, say) and stay as they are; only the names of fields change.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from capstan.domain.rollout import RolloutRequest
from capstan.domain.training import TrainingRequest
from capstan.ports.codec import from_json, to_json
from capstan.ports.store import Kind

SPECS: Mapping[Kind, type[Any]] = {Kind.RUN: TrainingRequest, Kind.ROLLOUT: RolloutRequest}
"""Dataclass of the spec of each kind; an MLSystem's spec is the file's own."""
_known_fields: dict[Any, Mapping[str, Any]] = {}


def to_spec(kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """The object's spec from a record's; None is left out, as an API server would do."""
    if kind not in SPECS:
        return typing.cast(dict[str, Any], data["spec"] if "apiVersion" in data else dict(data))
    result: dict[str, Any] = _keyed(SPECS[kind], data, _as_it_is, to_camel)
    return result


def from_spec(kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The record's spec from an object's; raises pydantic.ValidationError if it does not fit."""
    if kind not in SPECS:
        return dict(spec)
    cls = SPECS[kind]
    # The data goes through the dataclass, which fills in defaults: equal requests are then equal data.
    found = {name: None for name, hint in fields_of(cls).items() if is_optional(hint)}
    result: dict[str, Any] = to_json(from_json(cls, {**found, **_keyed(cls, spec, to_camel, _as_it_is)}))
    return result


def fields_of(cls: Any) -> Mapping[str, Any]:
    """The types of a dataclass' fields, by name."""
    if cls not in _known_fields:
        hints = typing.get_type_hints(cls)
        _known_fields[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _known_fields[cls]


def plain_type(hint: Any) -> Any:
    """The type behind NewType and `| None`."""
    while True:
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            (hint,) = [part for part in typing.get_args(hint) if part is not types.NoneType]
        else:
            return hint


def is_optional(hint: Any) -> bool:
    return types.NoneType in typing.get_args(hint)


def _keyed(hint: Any, data: Any, read: Callable[[str], str], written: Callable[[str], str]) -> Any:
    """`data` with the fields' names changed from how they are read to how they are written; None is left out."""
    plain = plain_type(hint)
    if dataclasses.is_dataclass(plain) and isinstance(data, Mapping):
        known = fields_of(plain)
        found = {name: data[read(name)] for name in known if data.get(read(name)) is not None}
        return {written(name): _keyed(known[name], value, read, written) for name, value in found.items()}
    inside = typing.get_args(plain)
    if isinstance(data, list | tuple) and inside:
        return [_keyed(inside[0], item, read, written) for item in data]
    if isinstance(data, Mapping) and len(inside) == 2:
        return {key: _keyed(inside[1], value, read, written) for key, value in data.items()}
    return data


def _as_it_is(name: str) -> str:
    return name

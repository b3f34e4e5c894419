"""Domain values as JSON and back, and plain data as YAML: the same for every store and child process."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter
from ruamel.yaml import YAML

T = TypeVar("T")
_adapters: dict[object, TypeAdapter[Any]] = {}


def _adapter(cls: Any) -> TypeAdapter[Any]:
    """Building an adapter costs a millisecond, using it a microsecond: keep them."""
    if cls not in _adapters:
        _adapters[cls] = TypeAdapter(cls)
    return _adapters[cls]


def to_json(value: object) -> Any:
    """The value as JSON-able data: dataclasses become objects, datetimes RFC 3339, enums their values."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_json(cls: type[T], data: Any) -> T:
    """The value back from `to_json`'s data; raises pydantic.ValidationError if it does not fit `cls`."""
    result: T = _adapter(cls).validate_python(data)
    return result


def to_yaml(document: Mapping[str, Any]) -> bytes:
    """Plain data as YAML in blocks, without folded lines."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.width = 4096
    buffer = io.BytesIO()
    yaml.dump(dict(document), buffer)
    return buffer.getvalue()

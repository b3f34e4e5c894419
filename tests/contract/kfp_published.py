"""KFP's published API, as its generated models tell it: what a request and an answer may hold."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import kfp_server_api as published


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def check(model: str, data: Any, where: str = "") -> Any:
    """Refuse what the published model does not have; returns the data."""
    primitive = {"str": str, "int": int, "bool": bool, "object": dict, "datetime": str}.get(model)
    if primitive is not None:
        if not isinstance(data, primitive):
            raise RefusedError(400, f"{where}: {data!r} is no {model}")
        return data
    for pattern, inner in ((r"list\[(.+)\]", list), (r"dict\(str, (.+)\)", dict)):
        if found := re.fullmatch(pattern, model):
            if not isinstance(data, inner):
                raise RefusedError(400, f"{where}: {data!r} is no {model}")
            values = data.values() if isinstance(data, dict) else data
            for value in values:
                if found[1] != "object":
                    check(found[1], value, f"{where}[]")
            return data
    known: Any = getattr(published, model)
    if not known.openapi_types:
        allowed = [value for name, value in vars(known).items() if name.isupper() and isinstance(value, str)]
        if data not in allowed:
            raise RefusedError(400, f"{where}: {data!r} is none of {allowed}")
        return data
    names = {written: name for name, written in known.attribute_map.items()}
    for name, value in check("object", data, where).items():
        if name not in names:
            raise RefusedError(400, f'{where}: unknown field "{name}"')
        check(known.openapi_types[names[name]], value, f"{where}.{name}")
    return data


def parameters_of(operation: Callable[..., Any]) -> set[str]:
    """What the published client can pass to the operation."""
    return set(re.findall(r":param (\w+):", inspect.getdoc(operation) or ""))

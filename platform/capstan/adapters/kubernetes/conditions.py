"""Conditions in the status of objects."""

from __future__ import annotations

from capstan.ports.kube import Object


def true_condition(document: Object, kind: str) -> Object:
    """The condition of this type if it is true; else empty."""
    for condition in (document.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            found: Object = condition
            return found
    return {}


def holds(document: Object, kind: str) -> bool:
    """Whether the condition of this type is true."""
    return bool(true_condition(document, kind))

"""The file's grammar: what an ML system may be told, checked before anything runs."""

from __future__ import annotations

from capstan.spec.loading import load, parse
from capstan.spec.schema import schema
from capstan.spec.system import API_VERSION, MLSystem, MLSystemSpec
from capstan.spec.units import Duration, Quantity, Share

__all__ = [
    "API_VERSION",
    "Duration",
    "MLSystem",
    "MLSystemSpec",
    "Quantity",
    "Share",
    "load",
    "parse",
    "schema",
]

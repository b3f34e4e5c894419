"""The loop's memory in the status of a custom resource: state and outbox as one compressed text.

One write of the status still stores state, outbox, conditions and columns together, under one version of the object.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from capstan.errors import CapstanError
from capstan.ports.kube import Object

FIELD = "memory"
"""Field of a status; `base64 -d | gunzip` shows the JSON in it."""
_KEYS = ("state", "outbox")


def to_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """The object's status from a record's."""
    kept = {key: status[key] for key in _KEYS if key in status}
    shown = {key: value for key, value in status.items() if key not in _KEYS}
    if not kept:
        return shown
    # The time of writing is left out, so that the same memory is the same text.
    packed = gzip.compress(orjson.dumps(kept), mtime=0)
    return {**shown, FIELD: base64.b64encode(packed).decode()}


def from_status(document: Object) -> dict[str, Any]:
    """The record's status from an object's; raises CapstanError if somebody has damaged its memory."""
    status = dict(document.get("status") or {})
    packed = status.pop(FIELD, None)
    if not packed:
        return status
    try:
        kept = orjson.loads(gzip.decompress(base64.b64decode(packed, validate=True)))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        meta = document["metadata"]
        raise CapstanError(
            f"{document.get('kind')} {meta['name']}: status.{FIELD} is not what Capstan wrote; restore the object's "
            "status from a backup, or delete the system and apply it again"
        ) from error
    return {**status, **kept}


def state_of(document: Object) -> dict[str, Any]:
    """The stored state; empty while there is none. Raises CapstanError as `from_status`."""
    state: dict[str, Any] = from_status(document).get("state") or {}
    return state

"""What a watch tells becomes a look at a system; nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capstan.adapters.kubernetes.compressed_state import state_of
from capstan.cluster.names import SYSTEM_LABEL
from capstan.cluster.watching.cache import WatchedKube
from capstan.cluster.watching.watches import Observe
from capstan.errors import CapstanError
from capstan.ports.kube import Object

Told = Callable[[tuple[str, str], bool], None]
"""((namespace, system), whether somebody waits for it)."""


def telling(cache: WatchedKube, told: Told) -> Observe:
    """Takes over what a watch tells, and tells of what was news."""

    def note(kind: str, event: str | None, document: Object) -> None:
        before = _asked(cache, kind, document)
        if cache.observe(kind, event, document):
            key = key_of(kind, document)
            if key is not None:
                told(key, kind == "MLSystem" and _asked(cache, kind, document) != before)

    return note


def _asked(cache: WatchedKube, kind: str, document: Object) -> tuple[Any, ...] | None:
    """Digest of what somebody wants of a system: its spec, its commands and its deletion. The loop's own writes
    change none of them.
    """
    if kind != "MLSystem":
        return None
    meta = document["metadata"]
    kept = cache.get(kind, meta["name"], meta.get("namespace"))
    if kept is None:
        return None
    try:
        commands = state_of(kept).get("command_count")
    except CapstanError:
        # Damaged memory is told by the look itself.
        commands = None
    return kept["metadata"].get("generation"), commands, "deletionTimestamp" in kept["metadata"]


def key_of(kind: str, document: Object) -> tuple[str, str] | None:
    """(namespace, system) that the object belongs to; None if it does not say."""
    meta = document["metadata"]
    system = meta["name"] if kind == "MLSystem" else (meta.get("labels") or {}).get(SYSTEM_LABEL)
    return (str(meta["namespace"]), str(system)) if system and meta.get("namespace") else None

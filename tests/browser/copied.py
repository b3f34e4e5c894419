"""A scene's system as the objects of a cluster, under another name: what a page there reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from browser import flights

from capstan.adapters.kubernetes.codec import to_spec
from capstan.adapters.kubernetes.compressed_state import to_status
from capstan.adapters.kubernetes.store import API_VERSION, SYSTEM_LABEL, story_labels, story_name
from capstan.domain.versions import SystemName
from capstan.ports.kube import Object
from capstan.ports.store import Kind


def documents(scene: flights.Scene, name: str, namespace: str) -> Iterator[Object]:
    """The objects of a copy of the scene's system under another name, its status in each."""
    store, old = scene.world.store, flights.SYSTEM

    def renamed(value: Any) -> Any:
        return json.loads(
            json.dumps(value, default=str).replace(f'"{old}"', f'"{name}"').replace(f"{old}-", f"{name}-")
        )

    for kind in (Kind.SYSTEM, Kind.RUN, Kind.ROLLOUT):
        for record in store.list(kind, SystemName(old)):
            meta: dict[str, Any] = {"name": renamed(record.name), "namespace": namespace}
            if kind is not Kind.SYSTEM:
                meta["labels"] = {SYSTEM_LABEL: name}
                meta["name"] = record.name.replace(old, name)
            yield {
                "apiVersion": API_VERSION,
                "kind": kind.value,
                "metadata": meta,
                "spec": to_spec(kind, renamed(record.spec)),
                "status": to_status(renamed(record.status)),
            }
    lines = {
        f"{number:08d}": json.dumps(
            renamed(
                {
                    "at": event.at.isoformat(),
                    "kind": event.kind.value,
                    "name": event.name,
                    "reason": event.reason,
                    "message": event.message,
                    "details": event.details,
                }
            )
        )
        for number, event in store.events(SystemName(old))
    }
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": story_name(SystemName(name), 1),
            "namespace": namespace,
            "labels": {**story_labels(SystemName(name)), "capstan.dev/chapter": "1"},
        },
        "data": lines,
    }

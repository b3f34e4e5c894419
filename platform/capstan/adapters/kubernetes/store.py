"""Records as custom resources of one namespace: specs, the status subresource, and stories in ConfigMaps.

The MLSystem's spec belongs to the user or to GitOps: it is written only by a `put` that changes it, which the loop
never does. A status is written when it differs, under the object's resourceVersion, so who is outdated gets a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from capstan.adapters.kubernetes.client import RESOURCES
from capstan.adapters.kubernetes.codec import from_spec, to_spec
from capstan.adapters.kubernetes.compressed_state import from_status, to_status
from capstan.adapters.kubernetes.story import KubeStory, post
from capstan.domain.versions import SystemName
from capstan.errors import ConflictError, NotFoundError
from capstan.ports.kube import Kube, Object
from capstan.ports.store import Event, Kind, Record

API_VERSION = RESOURCES[Kind.SYSTEM].api_version
FINALIZER = "capstan.dev/loop"
SYSTEM_LABEL = "capstan.dev/system"
_LABELS: Mapping[str, str] = {
    "app.kubernetes.io/part-of": "capstan",
    "app.kubernetes.io/managed-by": "capstan-operator",
}
_ATTEMPTS = 20


def story_name(system: SystemName, number: int) -> str:
    return f"{system}-story-{number}"


def story_labels(system: SystemName) -> Mapping[str, str]:
    return {
        **_LABELS,
        "app.kubernetes.io/name": "story",
        "app.kubernetes.io/instance": str(system),
        SYSTEM_LABEL: str(system),
    }


class KubeStore:
    """The Store of one namespace; threads share it, and several processes may write through their own.

    A system's object keeps the finalizer `capstan.dev/loop` from `adopt`, or from its creation by `put`, until
    `delete`. Runs and rollouts belong to their system and go with it. Of a story the last 50 chapters of 100 events are
    kept; numbers rise within the story of one system, so `events` of all systems is for reading, not for following.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        *,
        labels: Callable[[SystemName], Mapping[str, str]] = story_labels,
        story: Callable[[SystemName, int], str] = story_name,
    ) -> None:
        """`labels` and `story`: labels and names of the ConfigMaps with a system's story."""
        self._kube = kube
        self._namespace = namespace
        self._story = KubeStory(kube, namespace, self._owner, labels=labels, name=story)

    # -- records

    def get(self, kind: Kind, name: str) -> Record | None:
        found = self._kube.get(kind.value, name, self._namespace)
        return _record(kind, found) if found is not None else None

    def list(self, kind: Kind, system: SystemName | None = None) -> Sequence[Record]:
        if kind is Kind.SYSTEM and system is not None:
            found = self.get(kind, system)
            return [found] if found is not None else []
        labels = {SYSTEM_LABEL: str(system)} if system is not None else None
        records = [
            _record(kind, document)
            for document in self._kube.list(kind.value, self._namespace, labels=labels)
        ]
        return sorted(records, key=lambda record: record.name)

    def put(self, record: Record) -> Record:
        live = self._kube.get(record.kind.value, record.name, self._namespace)
        if record.resource_version == 0:
            if live is not None:
                raise _conflict(record, _version(live))
            live = self._kube.create(self._new(record))
        elif live is None or _version(live) != record.resource_version:
            raise _conflict(record, _version(live) if live is not None else 0)
        if record.deleted_at is not None and "deletionTimestamp" not in live["metadata"]:
            live = self._ask_for_deletion(record, live)
        spec = to_spec(record.kind, record.spec)
        if from_spec(record.kind, live["spec"]) != from_spec(record.kind, spec):
            live = self._kube.replace({**live, "spec": spec})
        if from_status(live) != record.status:
            live = self._kube.replace({**live, "status": to_status(record.status)}, sub="status")
        return _record(record.kind, live)

    def delete(self, kind: Kind, name: str) -> None:
        for _ in range(_ATTEMPTS):
            live = self._kube.get(kind.value, name, self._namespace)
            if live is None:
                return
            if "deletionTimestamp" not in live["metadata"]:
                self._kube.delete(kind.value, name, self._namespace)
                live = self._kube.get(kind.value, name, self._namespace)
            if live is None or FINALIZER not in (live["metadata"].get("finalizers") or ()):
                return
            try:
                self._set_finalizer(kind, live, held=False)
            except ConflictError:
                continue
            except NotFoundError:
                return
            return
        raise ConflictError(f"{kind} {name} changes too often to be deleted; read it again")

    def adopt(self, name: str) -> None:
        """Hold the system with the finalizer, so that its deletion waits for the loop. Raises NotFoundError."""
        for _ in range(_ATTEMPTS):
            live = self._kube.get(Kind.SYSTEM.value, name, self._namespace)
            if live is None:
                raise NotFoundError(f"no system {name!r} in namespace {self._namespace}")
            meta = live["metadata"]
            if FINALIZER in (meta.get("finalizers") or ()) or "deletionTimestamp" in meta:
                return
            try:
                self._set_finalizer(Kind.SYSTEM, live, held=True)
            except ConflictError:
                continue
            return
        raise ConflictError(f"{name} changes too often to be adopted; read it again")

    # -- story

    def record_event(self, event: Event, *, once: str = "") -> None:
        system = SystemName(event.system or "none")
        if self._story.append(system, event, once):
            post(self._kube, self._namespace, event, once, api_version=API_VERSION, system=system)

    def events(self, system: SystemName | None = None, *, after: int = 0) -> Sequence[tuple[int, Event]]:
        return self._story.events(system, after)

    # -- objects

    def _new(self, record: Record) -> Object:
        meta: Object = {"name": record.name, "namespace": self._namespace}
        if record.kind is Kind.SYSTEM:
            meta["finalizers"] = [FINALIZER]
        else:
            meta["labels"] = {**_LABELS, SYSTEM_LABEL: str(record.system)}
            owner = self._owner(record.system)
            if owner is not None:
                meta["ownerReferences"] = [owner]
        return {
            "apiVersion": API_VERSION,
            "kind": record.kind.value,
            "metadata": meta,
            "spec": to_spec(record.kind, record.spec),
        }

    def _owner(self, system: SystemName) -> Mapping[str, Any] | None:
        found = self._kube.get(Kind.SYSTEM.value, system, self._namespace)
        if found is None:
            return None
        return {
            "apiVersion": API_VERSION,
            "kind": Kind.SYSTEM.value,
            "name": str(system),
            "uid": found["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def _ask_for_deletion(self, record: Record, live: Object) -> Object:
        self._kube.delete(record.kind.value, record.name, self._namespace)
        return self._kube.get(record.kind.value, record.name, self._namespace) or live

    def _set_finalizer(self, kind: Kind, live: Object, *, held: bool) -> None:
        meta = live["metadata"]
        others = [one for one in meta.get("finalizers") or () if one != FINALIZER]
        # The version that was read goes along, because a merge patch replaces the whole list.
        change = {
            "metadata": {
                "resourceVersion": meta["resourceVersion"],
                "finalizers": [*others, FINALIZER] if held else others,
            }
        }
        self._kube.patch(kind.value, meta["name"], self._namespace, change)


def _record(kind: Kind, document: Object) -> Record:
    meta = document["metadata"]
    deleted = meta.get("deletionTimestamp")
    system = meta["name"] if kind is Kind.SYSTEM else (meta.get("labels") or {}).get(SYSTEM_LABEL)
    try:
        spec = from_spec(kind, document.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise NotFoundError(
            f"{kind} {meta['name']} was not made by Capstan: spec.{where}: {first['msg']}"
        ) from error
    return Record(
        kind=kind,
        name=meta["name"],
        system=SystemName(str(system or spec.get("system", ""))),
        spec=spec,
        status=from_status(document),
        generation=int(meta.get("generation", 1)),
        resource_version=_version(document),
        deleted_at=datetime.fromisoformat(deleted) if deleted else None,
    )


def _version(document: Object) -> int:
    # By contract a version is opaque; in every API server it is a rising number.
    return int(document["metadata"]["resourceVersion"])


def _conflict(record: Record, found: int) -> ConflictError:
    return ConflictError(
        f"{record.kind} {record.name}: stored version {found}, yours {record.resource_version}; read it again"
    )

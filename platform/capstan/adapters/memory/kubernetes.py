"""An API server in memory, for simulations: versions, conflicts, generations, finalizers, owners and owned fields.

What real ones do beyond that (schemas, defaults, rights) is left to tests on a real one.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from capstan.adapters.kubernetes.client import RESOURCES, resource_of
from capstan.adapters.memory.loop import Faults
from capstan.errors import CapstanError, ConflictError, ExistsError, NotFoundError
from capstan.ports.kube import EXISTS, FIELD_MANAGER, Object

Place: TypeAlias = tuple[str, str, str]
"""(kind, namespace, name)."""
Watcher: TypeAlias = Callable[[str, str, Object], None]
"""(kind, ADDED | MODIFIED | DELETED, object)."""


class MemoryKube:
    """The `Kube` of a simulation."""

    def __init__(self, *, without: Sequence[str] = ()) -> None:
        """`without`: kinds that this cluster does not know."""
        self.faults = Faults("Kubernetes")
        self.calls: Counter[tuple[str, str]] = Counter()
        """Number of calls by method and kind."""
        self.watchers: list[Watcher] = []
        self.refusals: dict[str, str] = {}
        """Kind -> why an admission webhook or a quota takes no object of it."""
        self.person = "somebody"
        """Who asks."""
        self._without = frozenset(without)
        self._objects: dict[Place, Object] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    # -- Kube

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        self._meet("get", kind)
        with self._lock:
            return copy.deepcopy(self._objects.get((kind, namespace or "", name)))

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        self._meet("list", kind)
        with self._lock:
            return [
                copy.deepcopy(document)
                for place, document in sorted(self._objects.items(), key=lambda item: item[0])
                if place[0] == kind
                and namespace in (None, place[1])
                and _fits(document["metadata"].get("labels") or {}, labels or {})
            ]

    def pages(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        size: int = 500,
    ) -> Iterator[Sequence[Object]]:
        """As KubeClient's."""
        found = self.list(kind, namespace, labels=labels)
        for first in range(0, max(len(found), 1), size):
            yield found[first : first + size]

    def create(self, document: Object) -> Object:
        self._meet("create", document["kind"])
        self._admit(document["kind"])
        if document["kind"] == "SelfSubjectReview":
            # Answered and not stored, as a real one does.
            return {**copy.deepcopy(document), "status": {"userInfo": {"username": self.person}}}
        with self._lock:
            place = _place(document)
            if place in self._objects:
                raise ExistsError(f"{' '.join(place)} exists")
            return self._store(place, copy.deepcopy(document), "ADDED")

    def replace(self, document: Object, *, sub: str | None = None) -> Object:
        self._meet("replace", document["kind"])
        with self._lock:
            place, live = _place(document), self._live(_place(document))
            if document["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
                raise ConflictError(f"{' '.join(place)} has changed; read it again")
            changed = copy.deepcopy(live)
            if sub == "status":
                changed["status"] = copy.deepcopy(document.get("status") or {})
            else:
                changed = {**copy.deepcopy(document), "status": live.get("status", {})}
                changed["metadata"] = {**live["metadata"], **copy.deepcopy(document["metadata"])}
            return self._store(place, changed, "MODIFIED")

    def apply(self, document: Object, *, manager: str = FIELD_MANAGER) -> Object:
        self._meet("apply", document["kind"])
        self._admit(document["kind"])
        with self._lock:
            place = _place(document)
            live = self._objects.get(place)
            changed = _merged(live or {}, document)
            owned = [{"manager": manager, "operation": "Apply", "fieldsV1": _fields(document)}]
            changed["metadata"]["managedFields"] = owned
            return self._store(place, changed, "MODIFIED" if live else "ADDED")

    def patch(
        self, kind: str, name: str, namespace: str | None, change: Object, *, sub: str | None = None
    ) -> Object:
        self._meet("patch", kind)
        with self._lock:
            place = (kind, namespace or "", name)
            live = self._live(place)
            wanted = (change.get("metadata") or {}).get("resourceVersion")
            if wanted not in (None, live["metadata"]["resourceVersion"]):
                raise ConflictError(f"{' '.join(place)} has changed; read it again")
            if sub == "status":
                change = {"status": change.get("status") or {}}
            return self._store(place, _patched(live, change), "MODIFIED")

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        self._meet("delete", kind)
        with self._lock:
            place = (kind, namespace or "", name)
            live = self._objects.get(place)
            if live is None:
                return
            if live["metadata"].get("finalizers"):
                if "deletionTimestamp" not in live["metadata"]:
                    self.mark_deleted(kind, name, namespace)
                return
            self._remove(place)

    def pod_log(self, name: str, namespace: str, *, container: str | None = None, tail: int = 100) -> str:  # noqa: ARG002
        self._meet("get", "Pod")
        return ""

    def serves(self, kind: str) -> bool:
        return kind in RESOURCES and kind not in self._without

    # -- what others do

    def mark_deleted(
        self, kind: str, name: str, namespace: str | None, at: str = "2030-01-01T00:00:00Z"
    ) -> None:
        """Somebody asks for the end of an object that a finalizer holds."""
        self.edit(kind, name, namespace, {"metadata": {"deletionTimestamp": at}})

    def edit(self, kind: str, name: str, namespace: str | None, change: Object) -> Object:
        """Somebody else changes the object; what Capstan owned of it and was changed is no longer its own."""
        with self._lock:
            place = (kind, namespace or "", name)
            live = self._live(place)
            changed = _patched(live, change)
            for entry in changed["metadata"].get("managedFields") or ():
                entry["fieldsV1"] = _kept_fields(entry["fieldsV1"], live, changed)
            return self._store(place, changed, "MODIFIED")

    def objects(self, kind: str | None = None) -> Sequence[Place]:
        """All that is there."""
        with self._lock:
            return sorted(place for place in self._objects if kind in (None, place[0]))

    # -- inside

    def _meet(self, method: str, kind: str) -> None:
        with self._lock:
            self.calls[method, kind] += 1
        self.faults.meet(method)

    def _admit(self, kind: str) -> None:
        if kind in self.refusals:
            raise CapstanError(f"the API server refuses {kind}: {self.refusals[kind]}")

    def _live(self, place: Place) -> Object:
        live = self._objects.get(place)
        if live is None:
            raise NotFoundError(f"no {' '.join(place)}")
        return live

    def _store(self, place: Place, document: Object, event: str) -> Object:
        live = self._objects.get(place)
        meta = document.setdefault("metadata", {})
        if live is not None and _same(live, document):
            return copy.deepcopy(live)
        number = next(self._numbers)
        meta["resourceVersion"] = str(number)
        meta.setdefault("uid", f"uid-{number}")
        changed = live is None or live.get("spec") != document.get("spec")
        generation = int(live["metadata"].get("generation", 1)) if live is not None else 0
        meta["generation"] = generation + 1 if changed else generation
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            self._objects[place] = document
            self._remove(place)
            return copy.deepcopy(document)
        self._objects[place] = document
        self._tell(place[0], event, document)
        return copy.deepcopy(document)

    def _remove(self, place: Place) -> None:
        gone = self._objects.pop(place)
        gone["metadata"]["resourceVersion"] = str(next(self._numbers))
        self._tell(place[0], "DELETED", gone)
        uid = gone["metadata"].get("uid")
        for other, document in list(self._objects.items()):
            owners = document["metadata"].get("ownerReferences") or ()
            if other in self._objects and any(owner.get("uid") == uid for owner in owners):
                self._remove(other)

    def _tell(self, kind: str, event: str, document: Object) -> None:
        for watcher in self.watchers:
            watcher(kind, event, copy.deepcopy(document))


def _place(document: Object) -> Place:
    resource_of(document)
    meta = document["metadata"]
    return str(document["kind"]), str(meta.get("namespace", "")), str(meta["name"])


def _same(one: Object, other: Object) -> bool:
    volatile = ("resourceVersion", "generation")
    metas = [{k: v for k, v in each["metadata"].items() if k not in volatile} for each in (one, other)]
    return metas[0] == metas[1] and {**one, "metadata": 0} == {**other, "metadata": 0}


def _fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(key in labels and value in (EXISTS, labels[key]) for key, value in wanted.items())


def _merged(live: Any, wanted: Any) -> Any:
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return copy.deepcopy(wanted)
    return {
        **copy.deepcopy(live),
        **{key: _merged(live.get(key), value) for key, value in wanted.items()},
    }


def _patched(live: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = copy.deepcopy(live) if isinstance(live, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _patched(result.get(key), value)
    return result


_NOT_OWNED = frozenset({"apiVersion", "kind", "name", "namespace", "resourceVersion", "uid", "managedFields"})


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"f:{key}": _fields(value) if isinstance(value, dict) else {}
        for key, value in document.items()
        if key not in _NOT_OWNED
    }


def _kept_fields(fields: Mapping[str, Any], before: Any, after: Any) -> dict[str, Any]:
    return {
        name: _kept_fields(below, was, now) if below else {}
        for name, below, was, now in _pairs(fields, before, after)
        if (below and isinstance(now, dict)) or was == now
    }


def _pairs(fields: Mapping[str, Any], before: Any, after: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    for name, below in fields.items():
        key = name.removeprefix("f:")
        yield name, below, (before or {}).get(key), (after or {}).get(key)

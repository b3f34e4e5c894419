"""The watched objects in memory, as a `Kube`: reading them costs no call, all else and every write is one.

Objects are kept as compressed bytes: a fraction of what dictionaries take, and nobody can change what another reads.
Own writes are taken over at once, so that a loop reads what it has just written; the watch's echo of them is no news.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from capstan.cluster.names import SYSTEM_LABEL
from capstan.errors import ConflictError, UnavailableError
from capstan.ports.kube import EXISTS, FIELD_MANAGER, Kube, Object

PAGE = 100
"""Number of objects in one page when a kind is listed."""
_GRAVE_SECONDS = 600.0
"""Seconds for which a deletion is remembered. A watch that lags tells nothing older than this."""
_NOISE = ("managedFields", "selfLink")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class WatchedKind:
    """How the objects of one kind are kept."""

    labelled: bool = True
    """True: only objects with the label `capstan.dev/system` are watched."""
    content: bool = True
    """False: only what `facts` tells is kept, and reads go to the API server."""
    optional: bool = False
    """True: a cluster may lack the kind."""


WATCHED: Mapping[str, WatchedKind] = {
    "MLSystem": WatchedKind(labelled=False),
    "TrainingRun": WatchedKind(labelled=False),
    "ModelRollout": WatchedKind(labelled=False),
    "Deployment": WatchedKind(),
    "Pod": WatchedKind(),
    "Job": WatchedKind(),
    "ConfigMap": WatchedKind(),
    "SeldonDeployment": WatchedKind(optional=True),
    "Service": WatchedKind(content=False),
    "NetworkPolicy": WatchedKind(content=False),
    "PodDisruptionBudget": WatchedKind(content=False),
}
"""What the operator watches, as far as the cluster knows it; `watches.py` tells kopf the same."""
_SERVES_SECONDS = 60.0
"""Seconds for which a cached answer about a missing kind is trusted."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What is known of a watched object without reading it."""

    uid: str
    version: int
    annotations: Mapping[str, str]
    owned: str
    """Digest of the set of fields that Capstan owns: shrinks when somebody else changes or removes one of them."""
    has_others: bool
    """Whether somebody else has written into its spec or data."""
    is_deleted: bool
    """Whether its deletion was asked for."""


@dataclass(slots=True)
class _KnownObject:
    facts: ObjectFacts
    labels: Mapping[str, str]
    content: bytes
    """Empty where only `facts` is kept."""
    at: float


@dataclass
class _Shelf:
    """All objects of one kind."""

    watch: WatchedKind
    objects: dict[tuple[str, str], _KnownObject] = field(default_factory=dict)
    by_system: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(namespace, system) -> names."""
    graves: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """Version and time at which an object was deleted. News of an older version is stale."""
    deletions: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    """uid of each object that this operator deleted, with the time."""
    is_listed: bool = False


class Server(Kube, Protocol):
    """The API server behind the cache."""

    def pages(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        size: int = 500,
    ) -> Iterator[Sequence[Object]]: ...


class WatchedKube:
    """A `Kube` that answers from memory where it can; threads share it."""

    def __init__(
        self,
        client: Server,
        *,
        may_write: Callable[[], bool] = lambda: True,
        watched: Mapping[str, WatchedKind] = WATCHED,
        namespaces: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`may_write` is asked before every write: an operator that has lost the Lease must not finish what it
        began.

        Only objects of these namespaces are watched; empty: of all.
        """
        self._client = client
        self._may_write = may_write
        self._namespaces = frozenset(namespaces)
        self._clock = clock
        self._lock = threading.RLock()
        self._served: dict[str, tuple[bool, float]] = {}
        self._shelves: dict[str, _Shelf] = {}
        self.begin(watched)

    def begin(self, watched: Mapping[str, WatchedKind]) -> None:
        """Begin with no objects of these kinds in memory; all other kinds are read from the API server."""
        with self._lock:
            self._shelves = {kind: _Shelf(watch) for kind, watch in watched.items()}

    # -- what the watch tells

    def observe(self, kind: str, event: str | None, document: Object) -> bool:
        """Take over what a watch tells; True if it is news: neither known nor an echo of an own write."""
        shelf = self._shelves[kind]
        with self._lock:
            if event == "DELETED":
                return self._bury(shelf, document)
            return self._put(shelf, document)

    def resync(self, kind: str) -> list[tuple[str, str]]:
        """List the kind afresh and drop what is gone; returns (namespace, system) of all that was news.

        A watch that starts again by listing does not tell which objects were deleted meanwhile.
        """
        shelf = self._shelves[kind]
        began = self._clock()
        labels = {SYSTEM_LABEL: EXISTS} if shelf.watch.labelled else None
        scopes: list[str | None] = [*sorted(self._namespaces)] or [None]
        present: set[tuple[str, str]] = set()
        news: list[tuple[str, str]] = []
        for namespace in scopes:
            for page in self._client.pages(kind, namespace, labels=labels, size=PAGE):
                present.update(_place(document) for document in page)
                with self._lock:
                    news += [_owner(kind, document) for document in page if self._put(shelf, document)]
        with self._lock:
            for place, kept in list(shelf.objects.items()):
                if place not in present and kept.at < began:
                    self._drop(shelf, place)
                    system = kept.labels.get(SYSTEM_LABEL, "") if kind != "MLSystem" else place[1]
                    news.append((place[0], system))
            shelf.is_listed = True
        return news

    @property
    def unlisted(self) -> list[str]:
        """Kinds that were not listed yet. Nothing should be looked at before all were."""
        return [kind for kind, shelf in self._shelves.items() if not shelf.is_listed]

    def facts(self, kind: str, namespace: str, name: str) -> ObjectFacts | None:
        """What is known of a watched object; None: it does not exist."""
        with self._lock:
            kept = self._shelves[kind].objects.get((namespace, name))
            return kept.facts if kept is not None else None

    def was_deleted_here(self, kind: str, namespace: str, name: str, uid: str) -> bool:
        """Whether this operator deleted the object recently."""
        with self._lock:
            found = self._shelves[kind].deletions.get((namespace, name))
            return found is not None and found[0] == uid

    def is_watched(self, kind: str) -> bool:
        return kind in self._shelves

    def count(self) -> dict[str, int]:
        """How many objects of each kind are known."""
        with self._lock:
            return {kind: len(shelf.objects) for kind, shelf in self._shelves.items()}

    def places(self, kind: str) -> list[tuple[str, str]]:
        """(namespace, name) of all known objects of the kind."""
        with self._lock:
            return list(self._shelves[kind].objects)

    def versions(self, kind: str, namespace: str, system: str) -> tuple[tuple[str, int], ...]:
        """Names and versions of a system's known objects, without reading them: equal while nothing has changed."""
        with self._lock:
            shelf = self._shelves.get(kind)
            if shelf is None:
                return ()
            names = shelf.by_system.get((namespace, system), ())
            return tuple((name, shelf.objects[namespace, name].facts.version) for name in sorted(names))

    def walk(self, kind: str) -> list[Object]:
        """All known objects of the kind."""
        with self._lock:
            contents = [kept.content for kept in self._shelves[kind].objects.values()]
        return [_unpacked(content) for content in contents]

    # -- Kube: reading

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        shelf = self._readable(kind)
        if shelf is None or not self._covers(namespace):
            return self._client.get(kind, name, namespace)
        with self._lock:
            kept = shelf.objects.get((str(namespace), name))
        if kept is None and shelf.watch.labelled:
            # An object without the label is not watched, but it may exist.
            return self._client.get(kind, name, namespace)
        return _unpacked(kept.content) if kept is not None else None

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        shelf, labels = self._readable(kind), labels or {}
        if (
            shelf is None
            or not self._lists(namespace)
            or (shelf.watch.labelled and SYSTEM_LABEL not in labels)
        ):
            # Unlabelled objects are not watched, so the memory may lack some.
            return self._client.list(kind, namespace, labels=labels)
        with self._lock:
            found = [kept for _, kept in self._candidates(shelf, namespace, labels) if _fits(kept, labels)]
        return [_unpacked(kept.content) for kept in found]

    def pod_log(self, name: str, namespace: str, *, container: str | None = None, tail: int = 100) -> str:
        return self._client.pod_log(name, namespace, container=container, tail=tail)

    def serves(self, kind: str) -> bool:
        known = self._served.get(kind)
        if known is None or self._clock() - known[1] > _SERVES_SECONDS:
            known = self._served[kind] = (self._client.serves(kind), self._clock())
        return known[0]

    # -- Kube: writing

    def create(self, document: Object) -> Object:
        self._require_leave()
        return self._written(str(document["kind"]), self._client.create(document))

    def replace(self, document: Object, *, sub: str | None = None) -> Object:
        self._require_leave()
        kind, meta = str(document["kind"]), document["metadata"]
        try:
            return self._written(kind, self._client.replace(document, sub=sub))
        except ConflictError:
            # The watch may lag. Without a read past it, the next try would conflict again.
            self._refresh(kind, meta["name"], meta.get("namespace"))
            raise

    def apply(self, document: Object, *, manager: str = FIELD_MANAGER) -> Object:
        self._require_leave()
        return self._written(str(document["kind"]), self._client.apply(document, manager=manager))

    def patch(
        self, kind: str, name: str, namespace: str | None, change: Object, *, sub: str | None = None
    ) -> Object:
        self._require_leave()
        try:
            return self._written(kind, self._client.patch(kind, name, namespace, change, sub=sub))
        except ConflictError:
            self._refresh(kind, name, namespace)
            raise

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        self._require_leave()
        if kind in self._shelves and namespace is not None:
            self._note_deletion(self._shelves[kind], (namespace, name))
        self._client.delete(kind, name, namespace)
        if kind in self._shelves and namespace is not None:
            # A finalizer or a grace period may keep it for a while. One read tells at once; the watch would lag.
            self._refresh(kind, name, namespace)

    # -- inside

    def _require_leave(self) -> None:
        if not self._may_write():
            raise UnavailableError("the Lease", "this operator no longer holds it and writes nothing more")

    def _covers(self, namespace: str | None) -> bool:
        return namespace is not None and (not self._namespaces or namespace in self._namespaces)

    def _lists(self, namespace: str | None) -> bool:
        return not self._namespaces if namespace is None else self._covers(namespace)

    def _readable(self, kind: str) -> _Shelf | None:
        shelf = self._shelves.get(kind)
        return shelf if shelf is not None and shelf.is_listed and shelf.watch.content else None

    def _candidates(
        self, shelf: _Shelf, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[tuple[tuple[str, str], _KnownObject]]:
        system = labels.get(SYSTEM_LABEL, EXISTS)
        if namespace is not None and system != EXISTS:
            names = shelf.by_system.get((namespace, system), ())
            return [((namespace, name), shelf.objects[namespace, name]) for name in sorted(names)]
        return [
            (place, kept)
            for place, kept in sorted(shelf.objects.items(), key=lambda item: item[0])
            if namespace in (None, place[0])
        ]

    def _written(self, kind: str, stored: Object) -> Object:
        shelf = self._shelves.get(kind)
        if (
            shelf is not None
            and stored.get("kind", kind) == kind
            and "namespace" in stored.get("metadata", {})
        ):
            with self._lock:
                if not shelf.watch.labelled or SYSTEM_LABEL in stored["metadata"].get("labels", {}):
                    self._put(shelf, stored)
        return stored

    def _refresh(self, kind: str, name: str, namespace: str | None) -> None:
        shelf = self._shelves.get(kind)
        if shelf is None or namespace is None:
            return
        began = self._clock()
        found = self._client.get(kind, name, namespace)
        with self._lock:
            if found is not None:
                self._written(kind, {"kind": kind, **found})
                return
            kept = shelf.objects.get((namespace, name))
            if kept is not None and kept.at <= began:
                self._drop(shelf, (namespace, name))

    def _put(self, shelf: _Shelf, document: Object) -> bool:
        place, version = _place(document), _version(document)
        grave = shelf.graves.get(place)
        if grave is not None:
            if version <= grave[0]:
                return False
            del shelf.graves[place]
        known = shelf.objects.get(place)
        if known is not None and version <= known.facts.version:
            return False
        labels = _interned(document["metadata"].get("labels") or {})
        content = _packed(_without_noise(document)) if shelf.watch.content else b""
        if known is not None:
            self._unfile(shelf, place, known)
        shelf.objects[place] = _KnownObject(_facts(document, version), labels, content, self._clock())
        system = labels.get(SYSTEM_LABEL)
        if system is not None:
            shelf.by_system.setdefault((place[0], system), set()).add(place[1])
        return True

    def _bury(self, shelf: _Shelf, document: Object) -> bool:
        place, version = _place(document), _version(document)
        known = shelf.objects.get(place)
        if known is not None and known.facts.version > version:
            return False
        self._dig(shelf, place, version)
        if known is None:
            return False
        self._unfile(shelf, place, known)
        del shelf.objects[place]
        return True

    def _drop(self, shelf: _Shelf, place: tuple[str, str]) -> None:
        kept = shelf.objects.pop(place)
        self._unfile(shelf, place, kept)
        self._dig(shelf, place, kept.facts.version)

    def _dig(self, shelf: _Shelf, place: tuple[str, str], version: int) -> None:
        now = self._clock()
        shelf.graves[place] = (version, now)
        while shelf.graves:
            oldest = next(iter(shelf.graves))
            if now - shelf.graves[oldest][1] < _GRAVE_SECONDS:
                break
            del shelf.graves[oldest]

    def _note_deletion(self, shelf: _Shelf, place: tuple[str, str]) -> None:
        now = self._clock()
        with self._lock:
            kept = shelf.objects.get(place)
            if kept is not None:
                shelf.deletions.pop(place, None)
                shelf.deletions[place] = (kept.facts.uid, now)
            while shelf.deletions:
                oldest = next(iter(shelf.deletions))
                if now - shelf.deletions[oldest][1] < _GRAVE_SECONDS:
                    break
                del shelf.deletions[oldest]

    @staticmethod
    def _unfile(shelf: _Shelf, place: tuple[str, str], kept: _KnownObject) -> None:
        owner = (place[0], kept.labels.get(SYSTEM_LABEL, ""))
        names = shelf.by_system.get(owner)
        if names is not None:
            names.discard(place[1])
            if not names:
                del shelf.by_system[owner]


def _place(document: Object) -> tuple[str, str]:
    meta = document["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])


def _owner(kind: str, document: Object) -> tuple[str, str]:
    meta = document["metadata"]
    name = meta["name"] if kind == "MLSystem" else (meta.get("labels") or {}).get(SYSTEM_LABEL, "")
    return str(meta.get("namespace", "")), str(name)


def _version(document: Object) -> int:
    # By contract a version is opaque; in every API server it is a rising number. Nothing else orders two sources.
    text = str(document["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdigit() else 0


def _fits(kept: _KnownObject, labels: Mapping[str, str]) -> bool:
    return all(
        key in kept.labels if value == EXISTS else kept.labels.get(key) == value
        for key, value in labels.items()
    )


def _interned(labels: Mapping[str, str]) -> Mapping[str, str]:
    """One copy of each word, since the same few words stand on all objects of a system."""
    return {sys.intern(key): sys.intern(value) for key, value in labels.items()}


def _packed(document: Object) -> bytes:
    return zlib.compress(orjson.dumps(document), 1)


def _unpacked(content: bytes) -> Object:
    document: Object = orjson.loads(zlib.decompress(content))
    return document


def _without_noise(document: Object) -> Object:
    meta = {key: value for key, value in document["metadata"].items() if key not in _NOISE}
    if _LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {
            key: value for key, value in meta["annotations"].items() if key != _LAST_APPLIED
        }
    return {**document, "metadata": meta}


def _facts(document: Object, version: int) -> ObjectFacts:
    meta = document["metadata"]
    entries: Sequence[Mapping[str, Any]] = meta.get("managedFields") or ()
    owned = [entry.get("fieldsV1") for entry in entries if _is_ours(entry)]
    others = any(
        not str(entry.get("manager", "")).startswith(FIELD_MANAGER)
        and not entry.get("subresource")
        and _TAMPERED & (entry.get("fieldsV1") or {}).keys()
        for entry in entries
    )
    annotations = {
        key: str(value)
        for key, value in (meta.get("annotations") or {}).items()
        if key.startswith("capstan.dev/")
    }
    return ObjectFacts(
        uid=str(meta.get("uid", "")),
        version=version,
        annotations=annotations,
        owned=hashlib.sha256(orjson.dumps(owned, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16],
        has_others=others,
        is_deleted="deletionTimestamp" in meta,
    )


_TAMPERED = frozenset({"f:spec", "f:data"})


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (
        entry.get("manager") == FIELD_MANAGER
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    )

"""The story of a system in ConfigMaps, its chapters; and the same as Events, for `kubectl describe`.

Events of the API server are gone after an hour and may be dropped, so the chapters are the record: one key per event,
appended under the ConfigMap's version, so that two writers cannot both write the next number.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from capstan.adapters.kubernetes.events import event_object, reference
from capstan.domain.reasons import facts_of
from capstan.domain.versions import SystemName
from capstan.errors import CapstanError, ConflictError, NotFoundError
from capstan.ports.kube import Kube, Object
from capstan.ports.seals import sealed
from capstan.ports.store import Event, Kind

EVENTS_PER_CHAPTER = 100
CHAPTERS_KEPT = 50
"""Number of chapters that are kept, some 5,000 events: years of a usual system. A new one removes the oldest."""
_BYTES_PER_CHAPTER = 600_000
"""Most bytes of a chapter; a ConfigMap holds 1 MiB."""
_LONGEST_MESSAGE = 16_000
_ATTEMPTS = 20
_COMPONENT = "capstan"
_NUMBER_LABEL = "capstan.dev/chapter"
_CLOSED = "capstan.dev/closed"
"""Annotation of a chapter after which another one begins."""

OwnerOf = Callable[[SystemName], "Mapping[str, Any] | None"]
"""Function that gives the owner reference to the system; None: there is no such system."""


@dataclass
class _StoryMemory:
    """What a writer remembers of one story, so that a repeat costs no call."""

    chapter: str = ""
    """Name of the chapter that is being written; empty: there is none."""
    version: str = ""
    is_closed: bool = False
    number: int = 0
    """Number of the newest chapter."""
    events: int = 0
    size: int = 0
    last: int = 0
    """Number of the last event."""
    seal: str = ""
    """Of the last event; empty: there is none."""
    keys: set[bytes] = field(default_factory=set)
    """Digests of the keys of events that are told once."""
    owner: Mapping[str, Any] | None = None


class KubeStory:
    """Appends to stories and reads them; threads share it, and so may several processes."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        owner_of: OwnerOf,
        *,
        labels: Callable[[SystemName], Mapping[str, str]],
        name: Callable[[SystemName, int], str],
    ) -> None:
        """`labels` find the chapters of a system, `name` is that of its chapter with this number."""
        self._kube = kube
        self._namespace = namespace
        self._owner_of = owner_of
        self._labels = labels
        self._name = name
        self._stories: dict[SystemName, _StoryMemory] = {}
        self._locks: dict[SystemName, threading.Lock] = {}
        self._lock = threading.Lock()

    def append(self, system: SystemName, event: Event, once: str) -> bool:
        """Append the event; False if this `once` was told before. Raises ConflictError if others write all the
        time.
        """
        key = _digest(once) if once else None
        with self._lock:
            lock = self._locks.setdefault(system, threading.Lock())
        with lock:
            for _ in range(_ATTEMPTS):
                told = self._stories.get(system) or self._read(system)
                if key is not None and key in told.keys:
                    return False
                if told.owner != self._owner_of(system):
                    # The system was deleted and made anew. Events in the old chapters would be deleted with them.
                    told = self._read(system)
                try:
                    self._write(system, told, event, once)
                except (ConflictError, NotFoundError):
                    # Somebody else wrote, or the chapter is gone, so the memory of it is outdated.
                    self._stories.pop(system, None)
                    continue
                if key is not None:
                    told.keys.add(key)
                return True
        raise ConflictError(f"the story of {system} changes too often to be told; read it again")

    def events(self, system: SystemName | None, after: int) -> list[tuple[int, Event]]:
        """Events above `after`, in order; those of all systems by their time."""
        owner = self._owner_of(system) if system is not None else None
        found = [
            (int(number), _event(json.loads(text)))
            for chapter in self._chapters(system)
            if not _is_of_another(chapter, owner)
            for number, text in (chapter.get("data") or {}).items()
            if int(number) > after
        ]
        if system is not None:
            return sorted(found, key=lambda told: told[0])
        return sorted(found, key=lambda told: (told[1].at, told[0]))

    def _chapters(self, system: SystemName | None) -> Sequence[Object]:
        if system is not None:
            return self._kube.list("ConfigMap", self._namespace, labels=self._labels(system))
        labels = {
            key: value
            for key, value in self._labels(SystemName("")).items()
            if value and not key.endswith("/instance")
        }
        return self._kube.list("ConfigMap", self._namespace, labels=labels)

    def _read(self, system: SystemName) -> _StoryMemory:
        told = _StoryMemory(owner=self._owner_of(system))
        for chapter in sorted(self._chapters(system), key=_number_of):
            told.number = _number_of(chapter)
            if _is_of_another(chapter, told.owner):
                continue
            data = chapter.get("data") or {}
            told.chapter, told.version = chapter["metadata"]["name"], chapter["metadata"]["resourceVersion"]
            told.is_closed = _CLOSED in (chapter["metadata"].get("annotations") or {})
            told.events, told.size = len(data), sum(map(len, data.values()))
            if data:
                told.last = max([told.last, *map(int, data)])
                told.seal = str(json.loads(data[max(data, key=int)]).get("seal", ""))
            told.keys |= {_digest(once) for once in map(_once_of, data.values()) if once}
        self._stories[system] = told
        return told

    def _write(self, system: SystemName, told: _StoryMemory, event: Event, once: str) -> None:
        event = sealed(system, _as_stored(event), told.seal)
        text = _text(event, once)
        key = f"{told.last + 1:08d}"
        fits = told.events < EVENTS_PER_CHAPTER and told.size + len(text) < _BYTES_PER_CHAPTER
        if told.chapter and fits and not told.is_closed:
            change = {"metadata": {"resourceVersion": told.version}, "data": {key: text}}
            stored = self._kube.patch("ConfigMap", told.chapter, self._namespace, change)
            told.events, told.size = told.events + 1, told.size + len(text)
        else:
            if told.chapter and not told.is_closed:
                # Refused where another writer has added to it meanwhile: else two events would follow the same one.
                closing = {"metadata": {"resourceVersion": told.version, "annotations": {_CLOSED: "true"}}}
                closed = self._kube.patch("ConfigMap", told.chapter, self._namespace, closing)
                told.version, told.is_closed = closed["metadata"]["resourceVersion"], True
            stored = self._kube.create(self._chapter(system, told, {key: text}))
            told.is_closed = False
            told.number += 1
            told.chapter, told.events, told.size = stored["metadata"]["name"], 1, len(text)
            if told.number > CHAPTERS_KEPT:
                self._kube.delete(
                    "ConfigMap", self._name(system, told.number - CHAPTERS_KEPT), self._namespace
                )
        told.version = stored["metadata"]["resourceVersion"]
        told.last += 1
        told.seal = event.seal

    def _chapter(self, system: SystemName, told: _StoryMemory, data: Mapping[str, str]) -> Object:
        number = told.number + 1
        meta: Object = {
            "name": self._name(system, number),
            "namespace": self._namespace,
            "labels": {**self._labels(system), _NUMBER_LABEL: str(number)},
        }
        if told.owner is not None:
            meta["ownerReferences"] = [dict(told.owner)]
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(data)}


def post(
    kube: Kube, namespace: str, event: Event, once: str, *, api_version: str, system: SystemName | None = None
) -> None:
    """The same as an Event of the API server, told at most once; a failure is nobody's business but its reader's.

    What a person should look at is an Event of the `system` too: nobody describes each of its runs and rollouts.
    """
    _post(kube, namespace, event, once, api_version)
    if (
        system is not None
        and event.kind is not Kind.SYSTEM
        and facts_of(event.reason, event.details).is_warning
    ):
        message = f"{event.kind} {event.name}: {event.message}"
        of_system = replace(event, kind=Kind.SYSTEM, name=str(system), message=message)
        _post(kube, namespace, of_system, once, api_version)


def _post(kube: Kube, namespace: str, event: Event, once: str, api_version: str) -> None:
    said = once or json.dumps([event.at.isoformat(), event.reason, event.message], ensure_ascii=False)
    kind = event.kind.value
    try:
        found = kube.get(kind, event.name, namespace)
        uid = found["metadata"]["uid"] if found is not None else None
        kube.create(
            event_object(
                reference(api_version, kind, event.name, namespace, uid),
                event.reason,
                event.message,
                once=f"{event.kind}/{event.name}/{said}",
                at=event.at,
                component=_COMPONENT,
                warns=facts_of(event.reason, event.details).is_warning,
            )
        )
    except CapstanError:
        # The Event exists, is forbidden, or the server is away. The chapter is the record; the Event is a courtesy.
        return


def _is_of_another(chapter: Object, owner: Mapping[str, Any] | None) -> bool:
    """Whether the object belongs to a deleted system of this name, with which it will be deleted."""
    owners = [found["uid"] for found in chapter["metadata"].get("ownerReferences") or ()]
    return owner is not None and bool(owners) and owner["uid"] not in owners


def _number_of(chapter: Object) -> int:
    return int((chapter["metadata"].get("labels") or {}).get(_NUMBER_LABEL, 0))


def _as_stored(event: Event) -> Event:
    """The event as it will be read back, since that is what is sealed."""
    details = json.loads(json.dumps(event.details, ensure_ascii=False))
    return replace(event, message=event.message[:_LONGEST_MESSAGE], details=details)


def _text(event: Event, once: str) -> str:
    document = {
        "at": event.at.isoformat(),
        "kind": event.kind.value,
        "name": event.name,
        "reason": event.reason,
        "message": event.message,
        "details": event.details,
        "seal": event.seal,
        "restsOn": event.rests_on,
        **({"once": once} if once else {}),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _event(document: Mapping[str, Any]) -> Event:
    return Event(
        datetime.fromisoformat(document["at"]),
        Kind(document["kind"]),
        document["name"],
        document["reason"],
        document["message"],
        document["details"],
        str(document.get("seal", "")),
        str(document.get("restsOn", "")),
    )


def _once_of(text: str) -> str:
    return str(json.loads(text).get("once", ""))


def _digest(once: str) -> bytes:
    return hashlib.blake2b(once.encode(), digest_size=12).digest()

"""Notices what somebody else does to the objects of versions: edits, and deletions of them or of their Services.

Versions come and go, so unlike the fixed objects they are not rendered at every look. What Capstan owned of them when
they were last seen is remembered; where it shrinks, all versions are brought again to what the file asks for. A version
that somebody deletes is deployed again by the loop itself; here it is only told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from capstan.adapters.kubernetes.serving import is_of_seldon
from capstan.adapters.seldon.serving import KIND
from capstan.cluster.names import SystemNames
from capstan.cluster.watching.cache import ObjectFacts, WatchedKube

_COMPANIONS = ("Service", "PodDisruptionBudget")
"""Kinds that may stand beside a version's Deployment under the same name."""
_FIGHT_SECONDS = 5.0
"""Least seconds between two answers to somebody who writes the same field again and again."""
Place: TypeAlias = tuple[str, str]
"""(kind, name)."""


@dataclass
class _Remembered:
    uid: str
    owned: str
    is_missing: bool = False
    """Whether it was missing at the last look."""


@dataclass
class VersionMemory:
    """Memory of one system's versions between two looks."""

    objects: dict[Place, _Remembered] = field(default_factory=dict)
    settled_at: float = float("-inf")


class VersionObjects:
    """Puts back what somebody else changed in the objects of versions."""

    def __init__(self, kube: WatchedKube, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock

    def ensure(self, names: SystemNames, known: VersionMemory, settle: Callable[[], None]) -> tuple[str, ...]:
        """`Kind name` of what was put back; `settle` brings all versions to what the file asks for."""
        present = self._present(names)
        changed = [place for place, seen in present.items() if _is_changed(known.objects.get(place), seen)]
        lacking = self._lacking(names, known, present)
        is_late = self._clock() - known.settled_at >= _FIGHT_SECONDS
        if (changed or lacking or self._is_suspect(known, present)) and is_late:
            settle()
            known.settled_at = self._clock()
            present = self._present(names)
        elif changed or lacking:
            return ()
        back = [place for place, seen in present.items() if self._is_back(names, known, place, seen)]
        told = {*changed, *(place for place in lacking if place in known.objects), *back}
        self._remember(names, known, present)
        return tuple(f"{kind} {name}" for kind, name in sorted(told))

    def _present(self, names: SystemNames) -> Mapping[Place, ObjectFacts]:
        """Objects of versions that exist and are not being deleted."""
        found: dict[Place, ObjectFacts] = {}
        for kind in ("Deployment", KIND):
            if not self._kube.is_watched(kind):
                continue
            for document in self._kube.list(kind, names.namespace, labels=names.selector("model")):
                if not is_of_seldon(document):
                    for one in (kind, *(_COMPANIONS if kind == "Deployment" else ())):
                        self._add(found, one, names.namespace, str(document["metadata"]["name"]))
        return found

    def _add(self, found: dict[Place, ObjectFacts], kind: str, namespace: str, name: str) -> None:
        seen = self._kube.facts(kind, namespace, name)
        if seen is not None and not seen.is_deleted:
            found[kind, name] = seen

    def _lacking(
        self, names: SystemNames, known: VersionMemory, present: Mapping[Place, ObjectFacts]
    ) -> list[Place]:
        """Companions that somebody deleted while the Deployment stayed; every version has at least a Service."""
        return [
            (kind, name)
            for (anchor, name) in present
            if anchor == "Deployment"
            for kind in _COMPANIONS
            if (kind, name) not in present and self._is_missed(names, known, (kind, name))
        ]

    def _is_missed(self, names: SystemNames, known: VersionMemory, place: Place) -> bool:
        if place in known.objects:
            return self._is_foreign_loss(names, known, place)
        # It was never seen. Either it was deleted while no operator ran, or the version was not made to its end.
        return place[0] == "Service"

    def _is_foreign_loss(self, names: SystemNames, known: VersionMemory, place: Place) -> bool:
        before = known.objects.get(place)
        return before is not None and not self._kube.was_deleted_here(
            place[0], names.namespace, place[1], before.uid
        )

    @staticmethod
    def _is_suspect(known: VersionMemory, present: Mapping[Place, ObjectFacts]) -> bool:
        """Whether an object that is seen for the first time holds fields of others, written perhaps while no
        operator ran.
        """
        return any(seen.has_others and place not in known.objects for place, seen in present.items())

    def _is_back(self, names: SystemNames, known: VersionMemory, place: Place, seen: ObjectFacts) -> bool:
        """Whether somebody deleted it and the loop has deployed it again since."""
        before = known.objects.get(place)
        return (
            place[0] not in _COMPANIONS
            and before is not None
            and before.uid != seen.uid
            and self._is_foreign_loss(names, known, place)
        )

    def _remember(
        self, names: SystemNames, known: VersionMemory, present: Mapping[Place, ObjectFacts]
    ) -> None:
        for place, before in list(known.objects.items()):
            if place in present:
                continue
            # It is remembered for one more look, in which the loop deploys it again if it is needed.
            if before.is_missing or not self._is_foreign_loss(names, known, place):
                del known.objects[place]
            else:
                before.is_missing = True
        for place, seen in present.items():
            known.objects[place] = _Remembered(seen.uid, seen.owned)


def _is_changed(before: _Remembered | None, seen: ObjectFacts) -> bool:
    return before is not None and before.uid == seen.uid and before.owned != seen.owned

"""What the operator itself has to say about a system: conditions and Events that no engine writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from capstan.adapters.kubernetes.events import LONGEST_MESSAGE, event_object, reference
from capstan.domain.reasons import Reason
from capstan.engine.action_log import line
from capstan.errors import ConflictError
from capstan.ports.kube import Kube, Object

logger = logging.getLogger(__name__)

COMPONENT = "capstan-operator"
_MOST_SAID = 1000


class Teller:
    """Writes conditions when they change, and each Event once."""

    def __init__(self, kube: Kube, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._kube = kube
        self._now = now
        self._said: dict[str, None] = {}
        """Keys of announcements that need not be sent again. The API server refuses a second Event of one name,
        too.
        """

    def event(self, system: Object, reason: Reason, message: str, *, once: str = "") -> None:
        """An Event of the system; one with the same reason, message, generation and `once` is not written again."""
        meta, warns = system["metadata"], reason.facts.is_warning
        said = f"{meta['uid']}/{meta.get('generation')}/{reason}/{message}/{once}"
        if said in self._said:
            return
        self._said[said] = None
        while len(self._said) > _MOST_SAID:
            del self._said[next(iter(self._said))]
        facts = {"object": f"{system['kind']}/{meta['name']}", "reason": reason, "message": message}
        logger.log(logging.WARNING if warns else logging.INFO, "%s", line("told", meta["name"], facts))
        about = reference(system["apiVersion"], system["kind"], meta["name"], meta["namespace"], meta["uid"])
        document = event_object(
            about, reason, message, once=said, at=self._now(), component=COMPONENT, warns=warns
        )
        try:
            self._kube.create(document)
        except ConflictError:
            return

    def conditions(self, system: Object, phase: str, said: Mapping[str, tuple[bool, str, str]]) -> None:
        """Set these conditions, type -> (holds, reason, message), and leave the others."""
        status = system.get("status") or {}
        wanted = [dict(one) for one in status.get("conditions") or () if one["type"] not in said]
        before = {one["type"]: one for one in status.get("conditions") or ()}
        for kind, (holds, reason, message) in said.items():
            wanted.append(self._condition(kind, holds, reason, message, before.get(kind)))
        change: dict[str, Any] = {
            "observedGeneration": system["metadata"].get("generation", 1),
            "phase": phase,
            "message": next((message for _, _, message in said.values()), "")[:LONGEST_MESSAGE],
            "conditions": wanted,
        }
        if all(status.get(key) == value for key, value in change.items()):
            return
        meta = system["metadata"]
        self._kube.patch("MLSystem", meta["name"], meta["namespace"], {"status": change}, sub="status")

    def _condition(self, kind: str, holds: bool, reason: str, message: str, before: Any) -> dict[str, Any]:
        word = "True" if holds else "False"
        same = before is not None and before["status"] == word
        since = before["lastTransitionTime"] if same else self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "type": kind,
            "status": word,
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "lastTransitionTime": since,
        }

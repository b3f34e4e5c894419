"""All that is in the way of one system in a cluster: pods that do not start, missing alert rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from capstan.adapters.kubernetes.alerting import Alerting
from capstan.cluster.names import COMPONENT_LABEL, GRAPH_COMPONENT, PART_LABEL, RUN_LABEL, VERSION_LABEL
from capstan.domain.trouble import Trouble
from capstan.domain.versions import VersionName
from capstan.errors import CapstanError, UnavailableError
from capstan.ports.kube import Object

_ASK_AGAIN_SECONDS = 60.0
"""Seconds for which alert rules that were in force are taken to be so still."""
FIRST_RULES_SECONDS = 240.0
"""Seconds for which rules that are only written are no trouble: a mounted ConfigMap follows within a minute or
two.
"""
_PARTS = frozenset({"gateway", "collector", "monitor", "alertmanager"})


def part_of(document: Object) -> str:
    """What of a system a Deployment or pod belongs to, by its labels; empty: nothing that the system waits for."""
    labels = document["metadata"].get("labels") or {}
    component = str(labels.get(COMPONENT_LABEL, ""))
    if component in _PARTS:
        return component
    if component == "model":
        return str(labels.get(VERSION_LABEL, ""))
    if component == GRAPH_COMPONENT:
        return f"{GRAPH_COMPONENT} {labels.get(PART_LABEL, '')}".strip()
    return f"training {labels.get(RUN_LABEL, '')}".strip() if component == "training" else ""


@dataclass
class SystemTroubles:
    """Asked by the engine at each look; what costs a call outside the cache is asked seldom."""

    pods: Callable[[], Sequence[Trouble]]
    """What keeps its pods from starting."""
    versions: Callable[[], Mapping[VersionName, str]]
    """What the serving runtime itself says about versions that do not start."""
    alerting: Alerting
    clock: Callable[[], float] = time.monotonic
    _in_force_at: float = field(default=float("-inf"))
    _missing_since: float | None = None

    def __call__(self) -> tuple[Trouble, ...]:
        """Raises UnavailableError when the API server does not answer."""
        found = {trouble.part: trouble for trouble in self.pods()}
        for name, why in self.versions().items():
            found.setdefault(str(name), Trouble(str(name), "VersionNotStarting", why))
        rules = self._rules()
        if rules:
            found["alerting"] = Trouble("alerting", "AlertingIncomplete", rules)
        return tuple(found.values())

    def _rules(self) -> str:
        """What alert rules still lack; empty: nothing, or not for long enough to be told."""
        now = self.clock()
        if now - self._in_force_at < _ASK_AGAIN_SECONDS:
            return ""
        try:
            missing = self.alerting.ensure()
        except UnavailableError:
            raise
        except CapstanError as error:
            # Rules that are refused, or have no place, do not come into force by waiting.
            return str(error)
        if not missing:
            self._in_force_at, self._missing_since = now, None
            return ""
        if self._missing_since is None:
            self._missing_since = now
        return missing if now - self._missing_since >= FIRST_RULES_SECONDS else ""

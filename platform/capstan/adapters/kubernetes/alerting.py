"""Brings a system's alert rules to the Prometheus of a cluster, by whichever way that Prometheus takes them.

Nothing here waits: a mounted ConfigMap follows its object within a minute or two, so each look asks once, asks
Prometheus to read again if need be, and says what is still missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.errors import CapstanError, NotFoundError, UnavailableError
from capstan.ports.kube import Kube, Object

RELOAD_SECONDS = 5.0
"""Least seconds between two requests to read the rules again, whichever system asks."""
CHECK_SECONDS = 300.0
"""Seconds for which rules seen in force are taken to be so: a Prometheus may be installed anew."""
APPLY_AGAIN_SECONDS = 1800.0
"""Seconds after which the objects are applied again: nobody watches them, and somebody may have deleted them."""
KIND = "PrometheusRule"
CONFIG_MAP_BYTES = 1_000_000
"""Most bytes of the ConfigMap with all rules, some two hundred systems; the API server takes none above 1 MiB."""


class Alerting(Protocol):
    """Alert rules of one system."""

    def ensure(self) -> str:
        """Bring the rules there. Returns what is missing until they are in force; empty: nothing."""
        ...

    def remove(self) -> None:
        """Take away what does not go with the system by itself."""
        ...


class OperatorAlerting:
    """Alert rules as objects of the Prometheus operator, which are deleted with the system that owns them."""

    def __init__(
        self, kube: Kube, objects: Sequence[Object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`objects`: PrometheusRule, PodMonitor, AlertmanagerConfig."""
        self._kube = kube
        self._objects = list(objects)
        self._clock = clock
        self._applied = float("-inf")

    def ensure(self) -> str:
        """Apply them now and then; raises UnavailableError and what the API server refuses."""
        if self._clock() - self._applied < APPLY_AGAIN_SECONDS:
            return ""
        missing = [str(one["kind"]) for one in self._objects if not self._kube.serves(str(one["kind"]))]
        if KIND in missing:
            return (
                "no alert rules: the cluster has no PrometheusRule and the operator's settings name no ConfigMap "
                "for rules; install charts/capstan-stack or the Prometheus operator"
            )
        for document in self._objects:
            if document["kind"] not in missing:
                self._kube.apply(document)
        self._applied = self._clock()
        return ""

    def remove(self) -> None:
        """Do nothing: owned objects are deleted with their owner."""


class ToldPeople:
    """The Alertmanager that tells a system's people, beside what brings its rules into force."""

    def __init__(
        self,
        rules: Alerting,
        kube: Kube,
        namespace: str,
        objects: Sequence[Object],
        unwanted: Sequence[tuple[str, str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unwanted`: kind and name of what must not be there; no objects: nobody is to be told."""
        self._rules = rules
        self._kube = kube
        self._namespace = namespace
        self._objects = list(objects)
        self._unwanted = list(unwanted)
        self._clock = clock
        self._done = float("-inf")

    def ensure(self) -> str:
        """Apply the objects now and then, or take away what is unwanted; returns what people and rules still lack.

        Objects that are refused do not keep the rules away: trainings start whether or not anybody is told.
        """
        refused = ""
        if self._clock() - self._done >= APPLY_AGAIN_SECONDS:
            try:
                self._bring()
            except UnavailableError:
                raise
            except CapstanError as error:
                refused = f"nobody of monitoring.receivers is told: {error}"
        return "; ".join(filter(None, (refused, self._rules.ensure())))

    def _bring(self) -> None:
        for document in self._objects:
            self._kube.apply(document)
        for kind, name in self._unwanted:
            if self._kube.get(kind, name, self._namespace) is not None:
                self._kube.delete(kind, name, self._namespace)
        self._done = self._clock()

    def remove(self) -> None:
        """Take the rules away; the Alertmanager is deleted with the system that owns it."""
        self._rules.remove()


@dataclass(frozen=True)
class RuleFile:
    """One system's rules as a key of the ConfigMap that Prometheus mounts."""

    namespace: str
    config_map: str
    key: str
    content: str
    in_force: str
    """Query that has an answer when Prometheus evaluates exactly this content."""


class RuleReloader:
    """Asks one Prometheus to read its rules again, no more often than is useful; many systems share it."""

    def __init__(self, query: PrometheusQuery, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.query = query
        self._clock = clock
        self._asked = float("-inf")

    def reload(self) -> None:
        """Raises UnavailableError, also when Prometheus refuses a file."""
        if self._clock() - self._asked < RELOAD_SECONDS:
            return
        self._asked = self._clock()
        self.query.ask("POST", "/-/reload")


class MountedAlerting:
    """Alert rules as a key in the ConfigMap that a plain Prometheus mounts."""

    def __init__(
        self,
        kube: Kube,
        file: RuleFile,
        reloader: RuleReloader,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._file = file
        self._reloader = reloader
        self._clock = clock
        self._written = False
        self._seen = float("-inf")
        """Time at which Prometheus was last seen to evaluate these rules."""

    def ensure(self) -> str:
        """Write the key where Prometheus lacks its rules, and say so until it has them.

        Raises what the API server refuses; a Prometheus that is away is told, not raised.
        """
        if self._clock() - self._seen < CHECK_SECONDS:
            return ""
        try:
            if self._reloader.query.instant(self._file.in_force):
                self._seen = self._clock()
                # When the rules are gone from Prometheus, the key may be gone from the ConfigMap too.
                self._written = False
                return ""
        except UnavailableError as error:
            if not self._written:
                self._write()
            return f"alert rules are written, not yet in force: {error}"
        if not self._written:
            self._write()
        try:
            self._reloader.reload()
        except UnavailableError as error:
            return f"alert rules are written, not yet in force: {error}"
        return "alert rules are written; Prometheus has not read them yet"

    def remove(self) -> None:
        """Take the key away; no error if it, or the ConfigMap, is not there."""
        file = self._file
        try:
            # A merge patch is used: server-side apply would drop the keys of other systems as no longer wanted.
            self._kube.patch("ConfigMap", file.config_map, file.namespace, {"data": {file.key: None}})
        except NotFoundError:
            return
        self._written, self._seen = False, float("-inf")
        try:
            self._reloader.reload()
        except UnavailableError:
            return

    def _write(self) -> None:
        file = self._file
        found = self._kube.get("ConfigMap", file.config_map, file.namespace)
        if found is None:
            raise NotFoundError(
                f"ConfigMap {file.namespace}/{file.config_map}: where the operator's settings say that rules go, there "
                "is none; install charts/capstan-stack, or leave `rules` out where the Prometheus operator is"
            )
        data = found.get("data") or {}
        if data.get(file.key) != file.content:
            others = sum(len(key) + len(text) for key, text in data.items() if key != file.key)
            if others + len(file.content.encode()) > CONFIG_MAP_BYTES:
                raise CapstanError(
                    f"ConfigMap {file.namespace}/{file.config_map} is full: {len(data)} systems have rules there; "
                    "install the Prometheus operator and leave `rules` out of the operator's settings"
                )
            self._kube.patch("ConfigMap", file.config_map, file.namespace, {"data": {file.key: file.content}})
        self._written = True

"""A system in a cluster as a test follows it: its object, its story, its pods."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.store import KubeStore
from capstan.cluster.names import SystemNames
from capstan.domain.system import SystemState
from capstan.domain.versions import SystemName
from capstan.engine.records import rollout_state, system_state
from capstan.ports.kube import Object
from capstan.ports.store import Event, Kind

LOOK_SECONDS = 0.5


@dataclass
class Watched:
    """One system of a namespace."""

    kube: KubeClient
    store: KubeStore
    names: SystemNames

    @classmethod
    def of(cls, kube: KubeClient, namespace: str, name: str) -> Watched:
        return cls(kube, KubeStore(kube, namespace), SystemNames(namespace, SystemName(name)))

    @property
    def object(self) -> Object | None:
        return self.kube.get("MLSystem", self.names.system, self.names.namespace)

    @property
    def state(self) -> SystemState:
        record = self.store.get(Kind.SYSTEM, self.names.system)
        assert record is not None
        return system_state(record)

    @property
    def champion(self) -> str:
        champion = self.state.champion
        return str(champion.name) if champion is not None else ""

    def story(self, *, after: int = 0) -> list[tuple[int, Event]]:
        return list(self.store.events(self.names.system, after=after))

    @property
    def last_event(self) -> int:
        return max((number for number, _ in self.story()), default=0)

    def told(self, *, after: int = 0) -> list[str]:
        return [event.reason for _, event in self.story(after=after)]

    def rollout_phase(self) -> str:
        request = self.state.rollout
        record = self.store.get(Kind.ROLLOUT, request.name) if request else None
        return rollout_state(record).phase.value if record else ""

    def runs(self) -> list[Object]:
        return list(self.kube.list("TrainingRun", self.names.namespace))

    def eventually(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until it is true; else fail with the story, the pods and what the operator says."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.told_in_full()}")
            time.sleep(LOOK_SECONDS)

    def told_in_full(self) -> str:
        """Everything somebody who looks for a cause would ask for first."""
        document = self.object or {}
        status = document.get("status", {})
        lines = [f"phase {status.get('phase')}"]
        lines += [
            f"  {one['type']}={one['status']} {one['reason']}: {one.get('message', '')}"
            for one in status.get("conditions", ())
        ]
        lines += [
            f"{event.at:%H:%M:%S} {event.reason} {shorten(event.message, 240, placeholder=' …')}"
            for _, event in self.story()
        ]
        for pod in self.kube.list("Pod", self.names.namespace):
            lines.append(f"pod {pod['metadata']['name']}: {_pod_state(pod)}")
        return "\n".join(lines)


def _pod_state(pod: Object) -> str:
    status = pod.get("status", {})
    states = [
        f"{one['name']} ready={one['ready']} restarts={one['restartCount']} {list(one['state'])} "
        + "".join(
            str(detail.get("reason") or "") + " " + str(detail.get("message") or "")[:200]
            for detail in one["state"].values()
        )
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    ]
    conditions = [
        f"{one['type']}: {one.get('message', '')}"
        for one in status.get("conditions", ())
        if one["status"] == "False" and one.get("message")
    ]
    return f"{status.get('phase')} {'; '.join([*states, *conditions])}"


def labels_of(document: Any) -> dict[str, str]:
    found: dict[str, str] = document["metadata"].get("labels") or {}
    return found

"""Bringing a system up in a cluster, and deleting it there: one object is applied, the operator does the rest."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

import typer

from capstan.cli.changes_shown import told_changes
from capstan.cli.console import Narrator, err, out
from capstan.cli.stored_system import StoredSystem, open_system
from capstan.cluster.gateways import tokens_of
from capstan.cluster.places import Cluster
from capstan.errors import CapstanError

if TYPE_CHECKING:
    from capstan.spec import MLSystem

MANAGER = "capstan-up"
"""Owner of the fields that a person's file says, beside GitOps or kubectl."""
LOOK_SECONDS = 1.0
_LOCAL_PORT = 7480
"""Of this machine, as without a cluster."""


def document_of(system: MLSystem, namespace: str) -> dict[str, Any]:
    """The object that the file says, without what it leaves out."""
    document: dict[str, Any] = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "apiVersion": system.api_version,
        "kind": system.kind,
        "metadata": {**document["metadata"], "namespace": namespace},
        "spec": document["spec"],
    }


def apply_system(place: Cluster, system: MLSystem, *, wait: bool, timeout: float) -> None:
    """Apply the file server-side and tell the story until it serves.

    Raises CapstanError where it cannot be followed, or does not serve in time.
    """
    place.require_capstan()
    name = system.metadata.name
    before = place.kube.get("MLSystem", name, place.namespace)
    told = _changed_since(place, system) if before is not None else []
    applied = place.kube.apply(document_of(system, place.namespace), manager=MANAGER)
    generation = int(applied["metadata"]["generation"])
    same = before is not None and before["metadata"]["generation"] == generation
    what = "the same as before" if same else "created" if before is None else "changed"
    out.print(f"{name} in {place}: {what}, generation {generation}", soft_wrap=True)
    for line in told if not same else ():
        out.print(line, soft_wrap=True)
    if place.runner() is None:
        raise CapstanError(
            f"{name} is stored, but no operator runs that would follow it; {place.start} installs one"
        )
    if not wait:
        out.print("the operator follows it, see `capstan status --context`")
        return
    with open_system(place, name) as stored, Narrator() as narrator:
        try:
            _follow(stored, generation, timeout, narrator)
        except KeyboardInterrupt:
            out.print("it goes on in the cluster; `capstan status --context` looks after it")
            raise typer.Exit(130) from None
    for line in _how_to_ask(place, system):
        out.print(line, soft_wrap=True)


def _changed_since(place: Cluster, system: MLSystem) -> list[str]:
    with open_system(place, system.metadata.name) as stored:
        return told_changes(stored, system)


def _follow(stored: StoredSystem, generation: int, timeout: float, narrator: Narrator) -> None:
    deadline = time.monotonic() + timeout
    told = max((number for number, _ in stored.events()), default=0) if _is_ready(stored, generation) else 0
    while True:
        now = stored.again()
        if now is None:
            raise CapstanError(f"{stored.name} was deleted meanwhile")
        for number, event in now.events(after=told):
            told = number
            narrator.tell(event)
        if _is_ready(now, generation):
            return
        stalled = _condition(now, "Stalled")
        if stalled.get("status") == "True" and _has_seen(now, generation):
            raise CapstanError(f"{now.name} cannot go on: {stalled.get('reason')}: {stalled.get('message')}")
        if time.monotonic() > deadline:
            waits = _condition(now, "Progressing").get("message") or now.record.status.get(
                "phase", "nothing seen"
            )
            raise CapstanError(
                f"{now.name} does not serve after {timeout:g} s ({waits}); it goes on, see `capstan status --context`"
            )
        time.sleep(LOOK_SECONDS)


def _condition(stored: StoredSystem, kind: str) -> dict[str, Any]:
    return next((one for one in stored.record.status.get("conditions", ()) if one["type"] == kind), {})


def _has_seen(stored: StoredSystem, generation: int) -> bool:
    return int(stored.record.status.get("observedGeneration", 0)) >= generation


def _is_ready(stored: StoredSystem, generation: int) -> bool:
    return _has_seen(stored, generation) and _condition(stored, "Ready").get("status") == "True"


def _how_to_ask(place: Cluster, system: MLSystem) -> list[str]:
    """What somebody types at this machine, with the values of a row in place of null."""
    from capstan.cli.asking import body_of, event_lines, feedback_lines, predict_line, tensors_of
    from capstan.cluster.names import COLLECTOR_PORT, SystemNames
    from capstan.domain.versions import SystemName

    name = system.metadata.name
    names = SystemNames(place.namespace, SystemName(name))
    kubectl = f"kubectl --context {shlex.quote(place.context)} -n {place.namespace}"
    token = f"$({kubectl} get secret {tokens_of(place, names)} -o jsonpath='{{.data.feedback}}' | base64 -d)"
    body = body_of(system)
    from capstan.spec.providers import PROVIDERS
    from capstan.tasks import task_of

    label, online = task_of(system.spec).label, system.spec.evaluation.online
    provider = PROVIDERS[system.spec.serving.traffic.provider]
    if not provider.has_gateway:
        path = provider.ingress_path.format(namespace=place.namespace, system=name)
        return [
            f"{name} serves behind the ingress of {provider.name}; ask there, with your values in place of null:",
            predict_line(f"http://INGRESS{path}", tensors_of(system)),
            f"labels go to http://{names.host(names.collector)}:{COLLECTOR_PORT}/feedback, from here:",
            f"  {kubectl} port-forward svc/{names.collector} {COLLECTOR_PORT}:{COLLECTOR_PORT}",
            *feedback_lines(f"http://localhost:{COLLECTOR_PORT}/feedback", token, body, label),
            *event_lines(f"http://localhost:{COLLECTOR_PORT}/events", token, online),
        ]
    return [
        f"{name} serves; inside the cluster: http://{names.host(names.gateway)}/predict, from here:",
        f"  {kubectl} port-forward svc/{names.gateway} {_LOCAL_PORT}:80",
        "ask it, with your values in place of null:",
        predict_line(f"http://localhost:{_LOCAL_PORT}/predict", body),
        *feedback_lines(f"http://localhost:{_LOCAL_PORT}/feedback", token, body, label),
        *event_lines(f"http://localhost:{_LOCAL_PORT}/events", token, online),
    ]


def delete_system(place: Cluster, name: str | None, *, yes: bool, timeout: float) -> str:
    """Delete the MLSystem and wait until it is gone; returns its name. Raises CapstanError if it is not in time."""
    with open_system(place, name) as stored:
        if not yes:
            typer.confirm(f"Delete {stored.name} in {place} with all its objects?", abort=True, err=True)
        place.kube.delete("MLSystem", stored.name, place.namespace)
        deadline = time.monotonic() + timeout
        while stored.again() is not None:
            if time.monotonic() > deadline:
                waits = "" if place.runner() else "; no operator runs that could end it"
                raise CapstanError(
                    f"{stored.name} is not deleted after {timeout:g} s; it goes on, see `capstan status`{waits}"
                )
            time.sleep(LOOK_SECONDS)
        err.print(f"{stored.name} is deleted; what belongs to it is removed by the cluster")
        return str(stored.name)

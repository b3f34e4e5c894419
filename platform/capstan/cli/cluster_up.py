"""Bringing a system up in a cluster, and deleting it there: one object is applied, the operator does the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from capstan.cli.console import Narrator, err, out
from capstan.cli.place import Cluster
from capstan.cli.stored_system import StoredSystem, open_system
from capstan.errors import CapstanError

if TYPE_CHECKING:
    from capstan.spec import MLSystem

MANAGER = "capstan-up"
"""Owner of the fields that a person's file says, beside GitOps or kubectl."""
LOOK_SECONDS = 1.0


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
    applied = place.kube.apply(document_of(system, place.namespace), manager=MANAGER)
    generation = int(applied["metadata"]["generation"])
    same = before is not None and before["metadata"]["generation"] == generation
    what = "the same as before" if same else "created" if before is None else "changed"
    out.print(f"{name} in {place}: {what}, generation {generation}", soft_wrap=True)
    if place.runner() is None:
        raise CapstanError(
            f"{name} is stored, and no operator runs that follows it; {place.start} brings one"
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
    for line in _how_to_ask(place, name):
        out.print(line, soft_wrap=True)


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


def _how_to_ask(place: Cluster, name: str) -> list[str]:
    from capstan.cluster.names import SystemNames
    from capstan.domain.versions import SystemName

    names = SystemNames(place.namespace, SystemName(name))
    return [
        f"{name} serves; inside the cluster: http://{names.host(names.gateway)}/predict, from here:",
        f"  kubectl --context {place.context} -n {place.namespace} port-forward svc/{names.gateway} 7480:80",
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

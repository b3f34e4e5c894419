"""The registered versions of a system, and which of them serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from capstan.domain.versions import ModelVersion, SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import open_store, registry_of
from capstan.engine.records import system_state
from capstan.ports.store import Kind, Store
from capstan.spec import MLSystem
from capstan.verbs.made_versions import made_versions

Role = Literal["champion", "challenger", ""]


@dataclass(frozen=True)
class VersionFound:
    """A version of the registry."""

    version: ModelVersion
    role: Role
    """Empty: no user gets its answers."""


def versions_of(system: MLSystem, state: StateDir) -> Sequence[VersionFound]:
    """All of them, the oldest first; none where nothing was ever trained. Raises UnavailableError."""
    if not state.mlflow_database.exists():
        return ()
    champion, challenger = _serving(system, state)
    return [
        VersionFound(version, _role(version.name, champion, challenger))
        for version in registry_of(system, state).versions()
    ]


def versions_in(system: MLSystem, store: Store) -> Sequence[VersionFound]:
    """Those that trainings of a cluster made, as the records tell it; their metrics are in the cluster's registry."""
    champion, challenger = _serving_by(system, store)
    made = made_versions(store, None, SystemName(system.metadata.name))
    return [VersionFound(one.version, _role(one.name, champion, challenger)) for one in made.values()]


def _role(name: str, champion: str | None, challenger: str | None) -> Role:
    return "champion" if name == champion else "challenger" if name == challenger else ""


def _serving(system: MLSystem, state: StateDir) -> tuple[str | None, str | None]:
    """Names of champion and challenger."""
    if not state.store.exists():
        return None, None
    with open_store(state) as store:
        return _serving_by(system, store)


def _serving_by(system: MLSystem, store: Store) -> tuple[str | None, str | None]:
    record = store.get(Kind.SYSTEM, system.metadata.name)
    if record is None:
        return None, None
    found = system_state(record)
    challenger = found.rollout.challenger.name if found.rollout is not None else None
    return (found.champion.name if found.champion is not None else None), challenger

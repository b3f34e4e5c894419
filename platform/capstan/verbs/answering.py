"""Answers for the rows of a table, through the gateway of the running system or from a version's verified model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from capstan.data.asked_rows import asked_rows
from capstan.domain.versions import VersionName
from capstan.embedded.asking import Asking, asking_gateway, asking_model
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import open_store, registry_of, stored_model
from capstan.engine.records import system_state
from capstan.errors import NotFoundError
from capstan.ports.store import Kind
from capstan.serving.manifest import Manifest, read_manifest
from capstan.spec import MLSystem


@dataclass(frozen=True)
class Asked:
    """Who is asked, and what their model reads."""

    manifest: Manifest
    asking: AbstractContextManager[Asking]

    def rows(self, table: Path, system: MLSystem) -> Iterator[dict[str, Any]]:
        """The columns that the model reads and its keys; others of the table are no part of a request.

        Raises InvalidDataError.
        """
        manifest = self.manifest
        wanted = dict.fromkeys(manifest.keys.values()) | {
            column.name: column.type for column in manifest.columns
        }
        return asked_rows(table, wanted, zone=manifest.time_zone, sources=system.spec.data.sources)


def asked_gateway(system: MLSystem, state: StateDir, *, otherwise: str = "") -> Asked:
    """The running system, whose champion says what is read; `otherwise`: what else the person may do.

    Raises NotFoundError where nothing runs or serves, UntrustedArtifactError, UnavailableError.
    """
    gateway = running_gateway(state, otherwise=otherwise)
    manifest = read_manifest(stored_model(system, state, champion_name(system, state)))
    return Asked(manifest, asking_gateway(gateway, manifest))


def asked_model(system: MLSystem, state: StateDir, name: VersionName) -> Asked:
    """The verified model of a version, in this process; raises NotFoundError, UntrustedArtifactError."""
    folder = stored_model(system, state, name)
    manifest = read_manifest(folder)
    return Asked(manifest, asking_model(folder, name, manifest))


def running_gateway(state: StateDir, *, otherwise: str = "") -> str:
    """The address of the gateway of what runs in the directory; raises NotFoundError where nothing does.

    `otherwise`: what else the person may do, for the message.
    """
    address = gateway_in(state)
    if address is None:
        raise NotFoundError(
            f"{state.root}: nothing runs here; `capstan up FILE` starts the system, {otherwise}"
            "--state names another directory"
        )
    return address


def gateway_in(state: StateDir) -> str | None:
    """The same; None where nothing runs."""
    return address_in(state, "gateway")


def address_in(state: StateDir, name: str) -> str | None:
    """The address of `gateway` or `page` of what runs in the directory; None where nothing does."""
    if state.holder() is None:
        return None
    try:
        address: str | None = orjson.loads(state.addresses.read_bytes()).get(name)
    except (OSError, ValueError):
        return None
    return address


def champion_name(system: MLSystem, state: StateDir) -> VersionName:
    """The version that serves; raises NotFoundError where none does yet."""
    name = champion_in(system, state)
    if name is None:
        raise NotFoundError(
            f"{system.metadata.name}: no version serves yet; `capstan runs` shows the trainings, --version names a "
            "version that is registered"
        )
    return name


def champion_in(system: MLSystem, state: StateDir) -> VersionName | None:
    """The same; None where none does."""
    if not state.store.exists():
        return None
    with open_store(state) as store:
        record = store.get(Kind.SYSTEM, system.metadata.name)
    champion = system_state(record).champion if record is not None else None
    return None if champion is None else champion.name


def newest_name(system: MLSystem, state: StateDir) -> VersionName:
    """The champion, or the version that was registered last where none serves yet; raises NotFoundError."""
    name = champion_in(system, state)
    if name is not None:
        return name
    found = registry_of(system, state).versions() if state.mlflow_database.exists() else ()
    if not found:
        raise NotFoundError(f"{system.metadata.name}: no version is registered yet; train one first")
    return found[-1].name


def flat(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An answer as the cells of one row: `probabilities.setosa`; `outside`, which only some answers have, is whole."""
    for name, value in answer.items():
        if isinstance(value, dict) and name != "outside":
            yield from ((f"{name}.{inner}", found) for inner, found in value.items())
        else:
            yield name, value

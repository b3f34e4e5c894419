"""Answers for the rows of a table, through the gateway of the running system or from a version's verified model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from capstan.data.asked_rows import asked_rows
from capstan.data.images import ImageFiles
from capstan.domain.versions import VersionName
from capstan.embedded.asking import (
    TIMEOUT_SECONDS,
    Asking,
    RefusedRow,
    asked_columns,
    asking_gateway,
    asking_model,
)
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import open_store, registry_of, stored_model
from capstan.engine.records import system_state
from capstan.errors import InvalidDataError, NotFoundError, UnavailableError
from capstan.features.values import ColumnType
from capstan.outages import answer_in_words, in_words
from capstan.ports.store import Kind
from capstan.serving.manifest import Column, Manifest, read_manifest
from capstan.spec import MLSystem
from capstan.verbs.elsewhere import without_password


@dataclass(frozen=True)
class Asked:
    """Who is asked, and what their model reads."""

    manifest: Manifest
    asking: AbstractContextManager[Asking]

    def rows(self, table: Path, system: MLSystem) -> Iterator[dict[str, Any]]:
        """The columns that the model and a challenger read, and its keys; others of the table are no part of a request.

        Raises InvalidDataError.
        """
        manifest = self.manifest
        wanted = dict.fromkeys(manifest.keys.values()) | asked_columns(system, manifest)
        rows = asked_rows(table, wanted, zone=manifest.time_zone, sources=system.spec.data.sources)
        return ImageFiles.of(system).in_rows(rows)


def asked_gateway(system: MLSystem, state: StateDir, *, otherwise: str = "") -> Asked:
    """The running system, whose champion says what is read; `otherwise`: what else the person may do.

    Raises NotFoundError where nothing runs or serves, UntrustedArtifactError, UnavailableError.
    """
    gateway = running_gateway(state, otherwise=otherwise)
    manifest = read_manifest(stored_model(system, state, champion_name(system, state)))
    return Asked(manifest, asking_gateway(gateway, manifest))


def asked_address(system: MLSystem, address: str) -> Asked:
    """A gateway somewhere else, such as that of a cluster: what its model reads is asked of itself.

    Raises NotFoundError where no version of the system answers there, UnavailableError.
    """
    manifest = _described(system, address)
    return Asked(manifest, asking_gateway(address, manifest))


def _described(system: MLSystem, address: str) -> Manifest:
    """What a request to the address must hold; a column of times is told as text, and is sent as it is written."""
    name, part = system.metadata.name, "the gateway"
    shown = without_password(address)
    try:
        # The address may hold the path of an ingress.
        answer = httpx.get(f"{address}/v2/models/{name}", timeout=TIMEOUT_SECONDS, trust_env=False)
        document = answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError) as error:
        raise UnavailableError(part, in_words(error, part, hide=address)) from error
    if answer.status_code == 404:
        raise NotFoundError(
            f"{shown}: serves no model {name!r}; the file names another system, or the address does"
        )
    if answer.status_code != 200:
        raise UnavailableError(part, answer_in_words(answer.status_code, answer.text, part))
    spec = system.spec
    kinds = {"FP64": ColumnType.NUMBER, "BOOL": ColumnType.BOOLEAN}
    try:
        columns = tuple(
            Column(
                str(one["name"]),
                kinds.get(one["datatype"], ColumnType.TEXT),
                numeric=one["datatype"] == "FP64",
            )
            for one in document["inputs"]
        )
    except (KeyError, TypeError) as error:
        raise UnavailableError(part, f"{shown}: does not say what its model reads: {error}") from error
    keys = {
        "id": spec.data.keys.id,
        "time": spec.data.keys.time,
        "sticky_by": spec.data.keys.sticky_by,
        "group": spec.data.keys.group,
        **spec.data.entity_keys,
    }
    named = {key: column for key, column in keys.items() if column is not None}
    return Manifest(
        name,
        spec.objective.task,
        spec.objective.target or "",
        columns,
        named,
        time_zone=spec.data.time_zone,
        written=spec.data.written,
        ignored=frozenset(document.get("parameters", {}).get("ignored", ())),
    )


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
    """The champion; where none serves yet, the version that a run chose last, whatever its gates said.

    Runners-up are registered after the choice of their run, and never meant. Raises NotFoundError.
    """
    name = champion_in(system, state)
    if name is not None:
        return name
    found = registry_of(system, state).versions() if state.mlflow_database.exists() else ()
    chosen = [version for version in found if not version.rank]
    if not chosen:
        raise NotFoundError(f"{system.metadata.name}: no version is registered yet; train one first")
    return chosen[-1].name


def with_id(answer: Mapping[str, Any], named: str | None, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the row's id before it, where the file names a column of ids and the row has it.

    Raises InvalidDataError where the column is called as a part of the answer is: labels would go to another request.
    """
    if named is None or named not in sent:
        return dict(answer)
    if named in answer:
        raise InvalidDataError(
            f"data.keys.id: {named!r} is the name of a part of each answer ({', '.join(answer)}); give the column "
            f"another name in data.query, such as `select {named} as {named}_id`, and train again"
        )
    return {named: sent[named], **answer}


def which(refused: RefusedRow, named: str | None) -> str:
    """The row that is refused, by number and by its id if it has one: `row 2 (flight_id "008")`."""
    identity = None if named is None else refused.sent.get(named)
    if identity is None:
        return f"row {refused.row}"
    return f"row {refused.row} ({named} {orjson.dumps(identity, default=str).decode()})"


def flat(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An answer as the cells of one row: `probabilities.setosa`; `outside`, which only some answers have, is whole."""
    for name, value in answer.items():
        if isinstance(value, dict) and name != "outside":
            yield from ((f"{name}.{inner}", found) for inner, found in flat(value))
        else:
            yield name, value

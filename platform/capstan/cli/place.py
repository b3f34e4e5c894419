"""Where systems live: in a state directory of this machine, or in a namespace of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from capstan.cli.wiring import cluster_store, connect, local_store
from capstan.errors import CapstanError, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir
    from capstan.ports.kube import Kube, Object
    from capstan.ports.store import Store
    from capstan.spec import MLSystem

IN_A_CLUSTER = "In a cluster"
"""The group of options that only concern a cluster, in `--help`."""

Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="A context of the kubeconfig: the system is in that cluster. `.` is the current context.",
        envvar="CAPSTAN_CONTEXT",
        show_default=False,
        rich_help_panel=IN_A_CLUSTER,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace in the cluster; default: the context's own.",
        show_default=False,
        rich_help_panel=IN_A_CLUSTER,
    ),
]

LEASE = "capstan-operator"
OPERATOR_NAMESPACE = "capstan-system"
_LEASE_SECONDS = 60.0
"""A Lease that was renewed longer ago than this is held by nobody."""
UNSEEN = "an operator that you may not look at"


@dataclass(frozen=True)
class Machine:
    """A state directory."""

    state: StateDir
    start: str = "`capstan up FILE`"
    """What makes a loop run here."""

    def __str__(self) -> str:
        return str(self.state.root)

    def runner(self) -> int | None:
        """Process id of the supervisor whose loop runs here; None: nothing runs."""
        return self.state.holder()

    def person(self) -> str:
        """Who asks, as the story says it."""
        import getpass

        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return ""

    def of(self, system: str) -> Machine:
        """Where a system lives that is named: here, or beside another that is here."""
        from capstan.verbs.folders import where_lives

        return replace(self, state=where_lives(self.state, system))

    def beside(self) -> list[Machine]:
        """Folders of systems beside the one that is here, by name."""
        return [replace(self, state=state) for state in self.state.all_beside() if state.store.exists()]

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Raises NotFoundError where no system ever ran."""
        if not self.state.store.exists():
            raise NotFoundError(
                f"{self.state.root}: no system ever ran here; `capstan up FILE` starts one, "
                "--state names another directory, --context a cluster"
            )
        store = local_store(self.state.store)
        try:
            yield store
        finally:
            store.close()


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster."""

    kube: Kube
    context: str
    namespace: str
    start: str = "`helm install capstan charts/capstan`"

    def __str__(self) -> str:
        return f"namespace {self.namespace} of {self.context}"

    def runner(self) -> str | None:
        """The operator that holds the Lease; None: none does."""
        try:
            lease = self.kube.get("Lease", LEASE, OPERATOR_NAMESPACE)
            leases = [lease] if lease is not None else self.kube.list("Lease")
        except NotAllowedError:
            return UNSEEN
        holders = [_holder(found) for found in leases if found["metadata"]["name"] == LEASE]
        return next((holder for holder in holders if holder), None)

    def person(self) -> str:
        """Who asks, as the cluster knows them; empty where it does not say."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
        try:
            answer = self.kube.create(review)
        except CapstanError:
            return ""
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Raises NotFoundError where the cluster does not know Capstan."""
        self.require_capstan()
        yield cluster_store(self.kube, self.namespace)

    def require_capstan(self) -> None:
        """Raises NotFoundError where the cluster does not know Capstan."""
        if not self.kube.serves("MLSystem"):
            raise NotFoundError(
                f"{self.context}: the cluster does not know MLSystem; {self.start} installs Capstan, "
                "`capstan doctor --context` looks"
            )


Place: TypeAlias = Machine | Cluster


def place_of(state: Path, context: str | None, namespace: str | None) -> Place:
    """The cluster where a context is named, else the state directory. Raises NotFoundError."""
    if context is not None:
        return cluster_of(context, namespace)
    if namespace is not None:
        raise NotFoundError(
            f"--namespace {namespace}: name the cluster too; `--context .` is the current one"
        )
    from capstan.embedded.layout import StateDir

    return Machine(StateDir(state.resolve()))


def place_for(system: MLSystem, state: Path, context: str | None, namespace: str | None) -> Place:
    """Where the file's system lives; in a cluster the file may name its namespace.

    Raises NotFoundError, also where the command line names another namespace than the file.
    """
    named = system.metadata.namespace
    if context is not None and named is not None and namespace not in (None, named):
        raise NotFoundError(f"metadata.namespace is {named}, --namespace is {namespace}; drop one of them")
    place = place_of(state, context, namespace or (named if context is not None else None))
    return place.of(system.metadata.name) if isinstance(place, Machine) else place


def folder_of(system: MLSystem, state: Path) -> StateDir:
    """The state folder of the file's system, for a command that knows this machine only."""
    from capstan.embedded.layout import StateDir

    return Machine(StateDir(state.resolve())).of(system.metadata.name).state


def cluster_of(context: str, namespace: str | None) -> Cluster:
    """Raises NotFoundError for a context that the kubeconfig does not have."""
    name, default = _context(None if context == "." else context)
    return Cluster(connect(name), name, namespace or default)


def _context(name: str | None) -> tuple[str, str]:
    """Its name and its namespace."""
    from kubernetes import config

    try:
        contexts, current = config.list_kube_config_contexts()
    except config.ConfigException as error:
        raise NotFoundError(f"kubeconfig: {error}; set KUBECONFIG, or name a state directory") from error
    found = current if name is None else next((one for one in contexts if one["name"] == name), None)
    if found is None:
        there = ", ".join(one["name"] for one in contexts) or "none"
        raise NotFoundError(f"no context {name!r} in the kubeconfig; contexts: {there}")
    return str(found["name"]), str(found["context"].get("namespace") or "default")


def _holder(lease: Object) -> str:
    from datetime import UTC, datetime

    spec = lease.get("spec") or {}
    holder, renewed = str(spec.get("holderIdentity") or ""), spec.get("renewTime")
    if not holder or not renewed:
        return ""
    age = (datetime.now(UTC) - datetime.fromisoformat(str(renewed))).total_seconds()
    return holder if age < max(_LEASE_SECONDS, float(spec.get("leaseDurationSeconds") or 0)) else ""

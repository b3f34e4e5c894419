"""Where systems live: in a state directory of this machine, or in a namespace of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from capstan.cli.wiring import local_store
from capstan.cluster.places import Cluster, cluster_of
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir
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

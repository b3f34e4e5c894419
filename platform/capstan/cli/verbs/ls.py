"""`capstan ls`: all systems of this machine, and those of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.cli.place import Context, Machine, Namespace, place_of
from capstan.cli.tables_shown import aligned
from capstan.cluster.places import Cluster, cluster_of
from capstan.errors import CapstanError, NotAllowedError

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir
    from capstan.ports.kube import Object
    from capstan.ports.store import Store

app = App()


@dataclass(frozen=True)
class Listed:
    """One system, as far as can be seen from here."""

    name: str
    """Empty where the folder could not be read."""
    phase: str | None
    """Where nothing runs, that of the last look. None: it was trained and never brought up, or, in a cluster, no
    operator has looked at it."""
    champion: str | None
    running: int | None
    """Process id of its supervisor; None: nothing runs, or it is in a cluster."""
    gateway: str | None
    page: str | None
    """Without the token: `capstan open` signs in. None in a cluster."""
    state: str | None
    """The state folder; None in a cluster."""
    namespace: str | None = None
    context: str | None = None
    problem: str | None = None
    """Why nothing more is known; None: nothing is wrong."""


@app.command(epilog="Example: capstan ls --context .")
def ls(
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """List the systems of this machine, whatever folder they are in, and with --context those of that cluster.

    A state folder is noted where XDG says (`~/.local/state/capstan`) when `up`, `train` or a replay first uses it; the
    one of --state is looked at too. In a cluster all namespaces are listed that you may see, or the one that -n names.
    `capstan open --state FOLDER` opens the page.
    """
    with honest_errors(json):
        # A namespace without a cluster is refused as everywhere.
        place_of(state, context, namespace)
        found = [*_here(state.resolve()), *(_there(context, namespace) if context is not None else ())]
        if json:
            print_json([asdict(one) for one in found])
        else:
            _print(found)


def _here(named: Path) -> Iterator[Listed]:
    from capstan.embedded.known_folders import known_folders
    from capstan.embedded.layout import StateDir

    known = known_folders()
    for folder in (*known, *(() if any(one.root == named for one in known) else (StateDir(named),))):
        if not folder.store.exists():
            continue
        try:
            with Machine(folder).store() as store:
                yield from _of_store(store, folder)
        except CapstanError as error:
            yield Listed("", None, None, folder.holder(), None, None, str(folder.root), problem=str(error))


def _of_store(store: Store, folder: StateDir) -> Iterator[Listed]:
    """The systems that are stored, then those that were only trained."""
    from capstan.cli.stored_system import read_json
    from capstan.ports.store import Kind

    holder = folder.holder()
    addresses: dict[str, Any] = (read_json(folder.addresses) or {}) if holder else {}
    records = {str(record.name): record for record in store.list(Kind.SYSTEM)}
    trained = {str(run.system) for run in store.list(Kind.RUN)} - set(records)
    for name in (*sorted(records), *sorted(trained)):
        status = records[name].status if name in records else {}
        # A folder may hold several systems, of which one runs.
        runs = addresses.get("system") == name
        yield Listed(
            name,
            str(status.get("phase", "Declared")) if name in records else None,
            (status.get("champion") or {}).get("version"),
            holder if runs else None,
            addresses.get("gateway") if runs else None,
            addresses.get("page") if runs else None,
            str(folder.root),
        )


def _there(context: str, namespace: str | None) -> Iterator[Listed]:
    """Raises NotFoundError where the cluster does not know Capstan, NotAllowedError, UnavailableError."""
    place = cluster_of(context, namespace)
    place.require_capstan()
    for document in sorted(_systems(place, namespace), key=_full_name):
        yield _in_cluster(place, document)


def _systems(place: Cluster, namespace: str | None) -> Sequence[Object]:
    if namespace is not None:
        return place.kube.list("MLSystem", namespace)
    try:
        return place.kube.list("MLSystem")
    except NotAllowedError:
        return place.kube.list("MLSystem", place.namespace)


def _full_name(document: Object) -> tuple[str, str]:
    return (document["metadata"]["namespace"], document["metadata"]["name"])


def _in_cluster(place: Cluster, document: Object) -> Listed:
    from capstan.cluster.names import SystemNames
    from capstan.domain.versions import SystemName
    from capstan.spec.providers import DEFAULT, PROVIDERS

    namespace, name = _full_name(document)
    status = document.get("status") or {}
    names = SystemNames(namespace, SystemName(name))
    traffic = document["spec"].get("serving", {}).get("traffic", {})
    provider = PROVIDERS.get(traffic.get("provider", DEFAULT))
    return Listed(
        name,
        status.get("phase"),
        (status.get("champion") or {}).get("version"),
        None,
        # Another provider's ingress has a name of its own.
        f"http://{names.host(names.gateway)}" if provider is not None and provider.has_gateway else None,
        None,
        None,
        namespace=namespace,
        context=place.context,
    )


def _print(found: Sequence[Listed]) -> None:
    if not found:
        typer.echo("no system yet; `capstan up FILE` starts one")
        return
    titles = ("system", "phase", "champion", "runs", "gateway", "page", "where")
    rows = [titles, *(_cells(one) for one in found)]
    for line in aligned(rows):
        typer.echo(line)
    for one in found:
        if one.problem:
            typer.echo(f"{one.state}: {one.problem}", err=True)


def _cells(one: Listed) -> tuple[str, ...]:
    unseen = "not looked at" if one.namespace else "only trained"
    runs = "operator" if one.namespace and one.phase else str(one.running or "-")
    where = f"{one.namespace} of {one.context}" if one.namespace else str(one.state)
    is_stopped = one.phase is not None and one.running is None and one.namespace is None
    phase = "unreadable" if one.problem else "stopped" if is_stopped else one.phase or unseen
    return (one.name or "?", phase, one.champion or "-", runs, one.gateway or "-", one.page or "-", where)

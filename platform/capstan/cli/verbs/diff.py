"""`capstan diff`: how two versions differ, and what each came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, local, out, print_json
from capstan.cli.place import Context, Machine, Namespace, place_of
from capstan.cli.remote_page import Account, PageNamespace
from capstan.cli.stored_system import SystemOption, trained_system
from capstan.cli.tables_shown import aligned
from capstan.cluster.places import OPERATOR_NAMESPACE, Cluster
from capstan.errors import CapstanError

if TYPE_CHECKING:
    from capstan.ports.store import Event
    from capstan.verbs.differences import Differences, MetricDiffers, Value
    from capstan.verbs.made_versions import MadeVersion

app = App()


@app.command(epilog="Example: capstan diff v1 v2")
def diff(
    old: Annotated[str, typer.Argument(help="A version, such as v1.", show_default=False)],
    new: Annotated[str, typer.Argument(help="The version to compare it with.", show_default=False)],
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    account: Account = None,
    page_namespace: PageNamespace = OPERATOR_NAMESPACE,
    json: Json = False,
) -> None:
    """Show how two versions differ: data, settings, code, candidate, features, metrics, and what each came from.

    It is read from what the trainings left in the state folder; nothing needs to run. Each version's metrics are of the
    test window of its own training. If one was judged against the other, both are shown on the same rows too.

    With --context it is read from the records of a cluster: candidates, gates, what each version came from and led to.
    Metrics come from the cluster's page, which reads the registry. What only the artifact store has is named, and not
    compared.
    """
    with honest_errors(json):
        from capstan.verbs.differences import came_from, differences
        from capstan.verbs.made_versions import made_version

        place = place_of(state, context, namespace)
        with place.store() as store:
            name = trained_system(store, system)
            folder = place.state if isinstance(place, Machine) else None
            pair = [made_version(store, folder, name, version) for version in (old, new)]
            away = ""
            if isinstance(place, Cluster):
                pair, away = _measured(pair, place, name, account, page_namespace)
            found = differences(*pair)
            found = replace(found, unknown=(*found.unknown, *([away] if away else [])))
            events = [event for _, event in store.events(name)]
            stories = {made.name: came_from(made, events) for made in pair}
        if json:
            print_json(_document(name, found, pair, stories))
        else:
            _print(name, found, pair, stories)


def _measured(
    pair: Sequence[MadeVersion], place: Cluster, system: str, account: str | None, page_namespace: str
) -> tuple[list[MadeVersion], str]:
    """Both with the metrics that the page knows, and why they are not there; empty: they are."""
    from capstan.cli.remote_page import metrics_of_versions

    try:
        known = metrics_of_versions(place, system, account=account, page_namespace=page_namespace)
    except CapstanError as error:
        return list(pair), f"metrics: {error}"
    return [
        replace(made, version=replace(made.version, metrics=known.get(made.name, {}))) for made in pair
    ], ""


def _document(
    name: str, found: Differences, pair: Sequence[MadeVersion], stories: dict[str, list[Event]]
) -> dict[str, Any]:
    return {
        "system": name,
        **asdict(found),
        "versions": {made.name: {**_head(made), "story": _told(stories[made.name])} for made in pair},
    }


def _head(made: MadeVersion) -> dict[str, Any]:
    trigger = made.request.trigger
    return {
        "run": made.request.run,
        "digest": made.version.digest,
        "candidate": made.candidate,
        "as_of": trigger.as_of,
        "trigger": trigger.kind.value,
        "reason": trigger.reason,
        "against": made.request.champion,
    }


def _told(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [{"at": event.at, "reason": event.reason, "message": event.message} for event in events]


def _print(
    name: str, found: Differences, pair: Sequence[MadeVersion], stories: dict[str, list[Event]]
) -> None:
    from capstan.cli.changes_shown import lines_of

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    say(f"{name}: {found.new} against {found.old}")
    for made in pair:
        head = _head(made)
        say(
            f"  {made.name} {made.candidate}, of {head['run']}, {head['trigger']}: {' '.join(head['reason'].split())}"
        )
    for title, changes in (
        ("data", found.data),
        ("settings", found.settings),
        ("candidate", found.candidate),
        ("features", found.features),
    ):
        if title in found.absent:
            continue
        say(f"{title}{'' if changes else ': the same'}")
        for line in lines_of(changes, ()):
            out.print(line, soft_wrap=True)
    if "code" not in found.absent:
        say(f"code{'' if found.code else ': the same'}")
    for code in found.code:
        say(f"  {code.file}: {code.added} lines added, {code.removed} removed")
    _print_metrics(found, say)
    for text in found.unknown:
        say(f"not compared: {text}")
    for made in pair:
        say(f"what {made.name} came from and led to")
        for event in stories[made.name]:
            say(f"  {local(event.at)} {event.reason} {' '.join(event.message.split())}")


def _print_metrics(found: Differences, say: Any) -> None:
    say("metrics, each on the test window of its own training, with 95 % intervals where they were measured")
    for line in _table(found.old, found.new, found.metrics):
        say(line)
    if found.same_rows:
        say(f"metrics of both on the same rows, those of {found.new}'s test window")
        for line in _table(found.old, found.new, found.same_rows):
            say(line)
    for gate in found.gates:
        say(f"  gate: {gate}")


def _table(old: str, new: str, metrics: Sequence[MetricDiffers]) -> Iterator[str]:
    rows = [("metric", old, new), *((one.name, _shown(one.old), _shown(one.new)) for one in metrics)]
    return (f"  {line}" for line in aligned(rows))


def _shown(value: Value | None) -> str:
    if value is None:
        return "-"
    interval = (
        f" [{value.low:.4f}, {value.high:.4f}]" if value.low is not None and value.high is not None else ""
    )
    return f"{value.value:.4f}{interval}"

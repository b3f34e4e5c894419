"""`capstan compare`: how the predictions of two versions differ on the same requests, before any label."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, local, out, print_json
from capstan.cli.place import Context, Namespace, place_of
from capstan.cli.stored_system import System, open_system, replayed_to
from capstan.cluster.places import Cluster
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient
    from capstan.cli.stored_system import StoredSystem
    from capstan.domain.comparison import PredictionComparison
    from capstan.domain.rollout import RolloutRequest, RolloutState
    from capstan.embedded.layout import StateDir

app = App()


@app.command(epilog="Example: capstan compare flight-delays --challenger v2")
def compare(
    system: System = None,
    challenger: Annotated[
        str | None,
        typer.Option(
            help="A version that ran in shadow; default: that of the last rollout.", show_default=False
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """Compare what champion and challenger said of the same requests: equal, agreeing, how far apart, and where."""
    from capstan.ports.codec import to_json

    with honest_errors(json):
        place = place_of(state, context, namespace)
        with open_system(place, system) as stored:
            request, rollout = _chosen(stored, challenger)
            champion, began = request.champion, rollout.started_at
            assert champion is not None
            assert began is not None
            if isinstance(stored.place, Cluster):
                until = rollout.finished_at or datetime.now(UTC)
                found = _told(stored.place, stored, request, began, until)
            else:
                replayed = replayed_to(stored.place.state, stored.events())
                until = rollout.finished_at or replayed or datetime.now(UTC)
                found = _read(stored, stored.place.state, request, began, until)
        if json:
            spans = {"since": began.isoformat(), "until": until.isoformat()}
            versions = {"champion": champion.name, "challenger": request.challenger.name}
            print_json({"system": stored.name, **versions, **spans, **to_json(found)})
            return
        out.print(
            f"[bold]{request.challenger.name}[/bold] beside {champion.name}, "
            f"{local(began)} to {local(until)}: {found.requests:,} requests that both answered",
            soft_wrap=True,
        )
        print_comparison(found)


def _chosen(stored: StoredSystem, challenger: str | None) -> tuple[RolloutRequest, RolloutState]:
    """The newest rollout against a champion, of the challenger if one is named."""
    from capstan.domain.rollout import RolloutCause
    from capstan.engine.records import rollout_request, rollout_state
    from capstan.ports.store import Kind

    records = stored.store.list(Kind.ROLLOUT, stored.name)
    known = [(rollout_request(record), rollout_state(record)) for record in records]
    rollouts = [
        (request, state)
        for request, state in known
        if request.cause is RolloutCause.CHALLENGER and request.champion and state.started_at
    ]
    chosen = [one for one in rollouts if challenger in (None, one[0].challenger.name)]
    if not chosen:
        if not rollouts:
            raise NotFoundError(f"nothing to compare: {stored.name} has had no challenger yet")
        there = ", ".join(dict.fromkeys(request.challenger.name for request, _ in rollouts))
        raise NotFoundError(f"no rollout of {challenger!r}: challengers of {stored.name}: {there}")
    return max(chosen, key=lambda one: one[1].started_at or datetime.min.replace(tzinfo=UTC))


def _told(
    place: Cluster, stored: StoredSystem, request: RolloutRequest, since: datetime, until: datetime
) -> PredictionComparison:
    """As the system's monitor tells, which has the payloads."""
    from capstan.cluster.monitor_pod import ask_monitor
    from capstan.cluster.names import SystemNames
    from capstan.domain.comparison import PredictionComparison
    from capstan.ports.codec import from_json

    assert request.champion is not None
    question = {
        "champion": request.champion.name,
        "challenger": request.challenger.name,
        "since": since.isoformat(),
        "as_of": until.isoformat(),
    }
    names = SystemNames(place.namespace, stored.name)
    return from_json(
        PredictionComparison,
        ask_monitor(cast("KubeClient", place.kube), names, "/evidence/compared", question),
    )


def _read(
    stored: StoredSystem, state: StateDir, request: RolloutRequest, since: datetime, until: datetime
) -> PredictionComparison:
    from capstan.embedded.wiring import recorded_evidence
    from capstan.engine.policies import document_of
    from capstan.spec import parse

    assert request.champion is not None
    system = parse(document_of(stored.record), base_dir=Path())
    with recorded_evidence(system, state) as evidence:
        return evidence.compared(request.champion.name, request.challenger.name, since=since, as_of=until)


def print_comparison(found: PredictionComparison) -> None:
    """Shares, distances of the outputs, deciles of the answer, slices, and the requests that differ most."""
    from rich.table import Table

    if found.disagreement is None or found.exact is None:
        out.print("No request has a stored prediction of both versions: only a shadow step makes them.")
        return
    out.print(
        f"{found.exact:.1%} equal, {found.agreement:.1%} decided alike, mean distance {found.distance:.4g}; "
        f"{found.unpaired:,} requests of the champion have no partner ({found.unsound:,} were answered unsoundly, the "
        f"others were not copied or are lost), {found.lost_payloads:,} payloads lost",
        soft_wrap=True,
    )
    table = Table("output", title="How far the two are apart")
    for heading in ("mean distance", "shift", "KS", "Wasserstein"):
        table.add_column(heading, justify="right")
    for output in found.outputs:
        numbers = (output.mean_distance, output.shift, output.ks, output.wasserstein)
        table.add_row(
            output.name,
            *(f"{number:+.4g}" if number is output.shift else f"{number:.4g}" for number in numbers),
        )
    out.print(table)
    if found.outputs:
        table = Table("pairs", title=f"{found.outputs[0].name}: means in tenths of the champion's")
        for heading in ("champion", "challenger", "shift"):
            table.add_column(heading, justify="right")
        for decile in found.outputs[0].deciles:
            shift = decile.challenger - decile.champion
            table.add_row(
                f"{decile.pairs:,}", f"{decile.champion:.4g}", f"{decile.challenger:.4g}", f"{shift:+.4g}"
            )
        out.print(table)
    _print_slices(found)
    _print_most(found)


def _print_slices(found: PredictionComparison) -> None:
    from rich.markup import escape
    from rich.table import Table

    if found.slices:
        table = Table("slice", title="By slice")
        for heading in ("pairs", "equal", "decided alike", "mean distance", "shift"):
            table.add_column(heading, justify="right")
        for index, one in enumerate(found.slices):
            if index and found.slices[index - 1].column != one.column:
                table.add_section()
            table.add_row(
                escape(f"{one.column} {one.value}"),
                f"{one.pairs:,}",
                f"{one.exact:.1%}",
                f"{1 - one.disagreement:.1%}",
                f"{one.mean_distance:.4g}",
                f"{one.shift:+.4g}",
            )
        out.print(table)
    if found.slices_not_recorded:
        names = ", ".join(found.slices_not_recorded)
        out.print(f"Not recorded, as no feature reads them: {escape(names)}", soft_wrap=True)


def _print_most(found: PredictionComparison) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not found.most_different:
        return
    table = Table("request", "distance", "champion", "challenger", "inputs", title="Where they differ most")
    for pair in found.most_different:
        where = f"{pair.request_id}" + (f" row {pair.row}" if pair.row else "")
        table.add_row(
            escape(where), f"{pair.distance:.4g}", *(escape(_said(side)) for side in (pair.champion, pair.challenger)),
            escape(", ".join(f"{name} {value}" for name, value in pair.inputs.items()) or "none may be shown"),
        )  # fmt: skip
    out.print(table)


def _said(outputs: object) -> str:
    assert isinstance(outputs, dict)
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in outputs.items()
    )

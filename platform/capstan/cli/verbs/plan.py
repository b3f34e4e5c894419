"""`capstan plan`: what a file would change, before anything is done."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.changes_shown import lines_of
from capstan.cli.console import DEFAULT_STATE, File, Json, State, honest_errors, out, print_json
from capstan.cli.place import Context, Namespace, place_for
from capstan.cli.stored_system import open_system
from capstan.cluster.places import Cluster
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.spec import MLSystem
    from capstan.verbs.outlook import WatchPlanned
    from capstan.verbs.planning import Planned

app = App()

CHANGES = 2
"""Exit code of `--exit-code` when something would change."""


@app.command(epilog="Example: capstan plan system.yaml")
def plan(
    file: File,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 2 if something would change, for scripts.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what `capstan up FILE` would change, what follows, and how long a verdict will take.

    Exit code 0: the file can be followed; 1: it is wrong. With --exit-code, 2: something would change.
    """
    with honest_errors(json):
        from capstan.spec import load
        from capstan.verbs.planning import plan_on_machine

        system = load(file)
        place = place_for(system, state, context, namespace)
        if isinstance(place, Cluster):
            planned = _planned_in_cluster(system, place)
        else:
            planned = plan_on_machine(system, place.state, now=datetime.now(UTC))
    if json:
        print_json(asdict(planned))
    else:
        _print(planned)
    if exit_code and (planned.is_new or planned.changes):
        raise typer.Exit(CHANGES)


def _planned_in_cluster(system: MLSystem, place: Cluster) -> Planned:
    """The record of payloads is on a volume of the system's own, so nothing of it is read."""
    from capstan.engine.policies import system_policy
    from capstan.verbs.planning import NO_PAST, planned_against, planned_anew

    system_policy(system)
    try:
        with open_system(place, system.metadata.name) as stored:
            runner = place.runner()
            return planned_against(
                system,
                stored.store,
                stored.record,
                NO_PAST,
                runner=runner,
                follower="operator" if runner else None,
            )
    except NotFoundError:
        place.require_capstan()
        return planned_anew(system, f"objects in {place}; `capstan render FILE` prints them")


def _print(planned: Planned) -> None:
    from rich.markup import escape

    from capstan.verbs.verdict_times import EXPERIMENT

    who = "operator" if isinstance(planned.running, str) else "process"
    where = f", {who} {planned.running} runs it" if planned.running else ", nothing runs"
    if planned.is_new:
        out.print(f"[bold]{planned.system}[/bold]: would be created")
    elif not planned.changes:
        out.print(f"[bold]{planned.system}[/bold]: no changes{where}")
    else:
        count = len(planned.changes)
        out.print(f"[bold]{planned.system}[/bold]: {count} change{'s' if count > 1 else ''}{where}")
    for line in lines_of(planned.changes, planned.consequences):
        out.print(line, soft_wrap=True)
    for verdict in planned.verdicts:
        out.print(f"time to a verdict, step {verdict.step + 1}, {verdict.analysis} ({verdict.decide})")
        times = f"{verdict.median or 'not known'} in the median" if verdict.basis[:2] != "no" else ""
        if verdict.late:
            times += f", {verdict.late} in four of five rollouts"
        elif not times:
            times = f"{verdict.median} at the soonest" if verdict.median else "not known"
        if (verdict.median or verdict.late) and verdict.analysis != EXPERIMENT:
            times += f", and up to {verdict.label_delay} more if labels come late"
        given = f"; deadline {verdict.deadline}" if verdict.deadline else "; no deadline"
        out.print(f"  {times}{given}", soft_wrap=True)
        out.print(f"  [dim]{escape(verdict.basis)}[/dim]", soft_wrap=True)
        if verdict.problem:
            out.print(f"  [yellow]warning[/yellow] {escape(verdict.problem)}", soft_wrap=True)
    learnt = [*filter(None, [planned.left_out]), *planned.split]
    if learnt:
        out.print("what is learnt from")
    for warning in learnt:
        out.print(f"  [yellow]warning[/yellow] {escape(warning)}", soft_wrap=True)
    if planned.watched is not None:
        _print_watched(planned.watched)


def _print_watched(watched: WatchPlanned) -> None:
    from rich.markup import escape

    out.print("what can be watched")
    out.print(f"  {escape(watched.message)}", soft_wrap=True)
    if watched.problem:
        out.print(f"  [yellow]warning[/yellow] {escape(watched.problem)}", soft_wrap=True)

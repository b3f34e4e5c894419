"""`capstan train`: one pipeline run, without serving anything."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, Narrator, State, honest_errors, out, print_json
from capstan.cli.interrupt import Interrupt
from capstan.cli.place import folder_of
from capstan.cli.run_shown import MARKS, print_candidates
from capstan.cli.tables_shown import print_tables
from capstan.domain.step_news import lasted
from capstan.errors import CapstanError

if TYPE_CHECKING:
    from capstan.domain.training import RunStatus, StepProgress

app = App()


@app.command(epilog="Example: capstan train system.yaml --as-of 2013-02-01T05:00:00")
def train(
    file: File,
    state: State = DEFAULT_STATE,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            help="Read only what was known at this moment (of data.timeZone unless it says its offset); default: now.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train, evaluate, gate and register a version; serve nothing.

    Of a system that never ran, `capstan up` serves this version, if it passed its gates and the training part of the
    file is still the same. Of a system that has a champion, `capstan promote VERSION` begins its rollout.

    The same file, champion and --as-of give the same run: it is shown, not repeated. Ctrl-C cancels it (exit 130).
    """
    with honest_errors(json):
        from capstan.domain.training import RunPhase
        from capstan.ports.codec import to_json
        from capstan.spec import load
        from capstan.verbs.training import failure_of, trained

        system = load(file)
        where = folder_of(system, state)
        with Interrupt() as interrupt, Narrator(quiet=json) as narrator:
            narrator.say_why_slow()
            made = trained(
                system,
                where,
                as_of=as_of,
                stop=interrupt.is_set,
                tell=lambda step: narrator.say_marked(_line(step)),
            )
        status, run = made.status, made.request.run
        if json:
            print_json({"run": run, "request": to_json(made.request), "status": to_json(status)})
        if status.phase is RunPhase.CANCELLED:
            out.print(f"{run}: cancelled") if not json else None
            raise typer.Exit(130)
        failure = failure_of(made)
        if failure is not None:
            if json:
                raise typer.Exit(1)
            raise CapstanError(failure)
        if not json:
            _print(status, run, made.request.champion)


def _line(step: StepProgress) -> str:
    """With rich's markup."""
    from rich.markup import escape

    took = f" in {lasted(step.started_at, step.finished_at)}" if step.finished_at else ""
    first = step.message.splitlines()[0] if step.message else ""
    mark = MARKS.get(step.phase.value, step.phase.value)
    return f"{step.name}: {mark}{took} {escape(first)}".rstrip()


def _print(status: RunStatus, run: str, against: str | None) -> None:
    from rich.markup import escape

    from capstan.domain.planners.training import gates_passed

    print_candidates(status)
    for gate in status.gates:
        word = "[green]passed[/green]" if gate.passed is True else "[red]not passed[/red]"
        out.print(f"gate {gate.metric} {word}: {escape(gate.message)}", soft_wrap=True)
    print_tables(status.details.get("tables", ()), "the test window")
    version = status.version.name if status.version else "no version"
    if status.runners_up:
        out.print(f"{status.runners_up_in_words}, registered beside it", soft_wrap=True)
    if gates_passed(status) and not against:
        follows = "`capstan up` serves it, as long as the file trains by the same"
    else:
        follows = f"once the system is up, `capstan promote {version}` rolls it out"
    out.print(f"{run}: {version} is registered; {follows}", soft_wrap=True)

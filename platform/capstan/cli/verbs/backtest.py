"""`capstan backtest`: what a policy would have done with recorded history, in seconds and without servers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from capstan.cli.app import App
from capstan.cli.console import (
    DEFAULT_STATE,
    File,
    Json,
    Narrator,
    State,
    err,
    honest_errors,
    local,
    out,
    print_json,
)
from capstan.cli.interrupt import Interrupt
from capstan.cli.recorded_history import STOPPED, Sample, Until, Workers

if TYPE_CHECKING:
    from capstan.embedded.backtest.grid import Finished

app = App()


@app.command(
    epilog="Example: capstan backtest system.yaml --vary retraining.cooldown=7d,14d --report backtest.html"
)
def backtest(
    file: File,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="PATH=VALUE,...",
            help="Values of a field; repeat it for other fields. Every combination is one policy.",
        ),
    ] = None,
    until: Until = None,
    sample: Sample = None,
    report: Annotated[
        Path | None, typer.Option(help="File for the picture: .html with the table, .png or .svg.")
    ] = None,
    workers: Workers = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run policies again that are kept.")] = False,
    keep: Annotated[
        int,
        typer.Option(min=1, max=3650, help="Days for which unused policies, trainings and models are kept."),
    ] = 30,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Run recorded history through the loop in event time, without servers: what would each policy have decided?

    Planner, monitor and trainings are those of a replay, and so are the decisions. Finished policies and trainings
    are kept in the state directory by their inputs, so the same command goes on where it was stopped.
    """
    with honest_errors(json):
        from capstan.embedded.backtest.differences import base_of, in_words
        from capstan.embedded.backtest.grid import backtest as run
        from capstan.embedded.backtest.pruning import prune
        from capstan.embedded.backtest.report import document_of, require_report, write_report
        from capstan.embedded.backtest.variations import policies_of
        from capstan.embedded.backtest.wiring import places_in
        from capstan.embedded.layout import StateDir
        from capstan.embedded.replay.whole_replay import scope_of
        from capstan.embedded.wiring import spec_document
        from capstan.spec import load

        if report is not None:
            require_report(report)
        system = load(file)
        scope = scope_of(system, end=until.date() if until else None, share=sample)
        policies = policies_of(system, spec_document(system), vary or ())
        places = places_in(StateDir(state.resolve()), system.metadata.name)
        with Interrupt() as interrupt, Narrator(quiet=json) as narrator:
            finished = run(
                system,
                policies,
                scope,
                places,
                narrator,
                workers=workers,
                fresh=fresh,
                stop=interrupt.is_set,
            )
        if finished is None:
            again = _again(file, state, until, sample, vary or (), report)
            err.print(f"stopped; what is finished is kept; go on with: {again}", soft_wrap=True)
            raise typer.Exit(STOPPED)
        base = base_of(finished, system)
        prune(places, before=datetime.now(UTC) - timedelta(days=keep))
        if report is not None:
            write_report(finished, report, base)
    if json:
        print_json(document_of(finished, base))
        return
    if len(finished) == 1:
        _print_story(finished[0])
    _print_table(finished)
    if len(finished) > 1:
        out.print(escape(in_words(finished, base)), soft_wrap=True)
    if report is not None:
        out.print(f"report: {escape(str(report))}", soft_wrap=True)


def _print_story(one: Finished) -> None:
    for decision in one.result["decisions"]:
        when = local(datetime.fromisoformat(decision["at"]))
        out.print(f"[dim]{when}[/dim] {decision['reason']} {escape(decision['message'])}", soft_wrap=True)


def _print_table(finished: Sequence[Finished]) -> None:
    from capstan.embedded.backtest.report import columns_of

    results = [one.result for one in finished]
    columns = columns_of(results)
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, padding=(0, 1, 0, 0))
    # In a narrow terminal cells go on in the next line; a head that is cut would be no word.
    table.add_column("policy")
    for column in columns:
        table.add_column(escape(column.title), justify="right", min_width=max(map(len, column.title.split())))
    for one in finished:
        cells = (escape(column.text(one.result)) for column in columns)
        table.add_row(escape(one.policy.name), *cells)
    out.print(table)
    first = results[0]
    out.print(
        f"{first['requests']:,} requests from {first['start'][:10]} to {first['end'][:10]}, "
        f"{first['labelled_rows']:,} labelled rows; "
        f"{sum(one['trained_here'] for one in results)} of {sum(one['trainings'] for one in results)} trainings were "
        "run, the others were shared or kept"
    )
    lost = sum(one["failed_trainings"] for one in results)
    if lost:
        out.print(f"{lost} trainings failed; the same command asks their policies again", soft_wrap=True)
    failed = max(one["failed_requests"] for one in results)
    if failed:
        worst = max(results, key=lambda one: one["failed_requests"])
        out.print(
            f"up to {failed:,} requests failed; the first: {escape(worst['failures'][0])}", soft_wrap=True
        )


def _again(
    file: Path,
    state: Path,
    until: datetime | None,
    sample: float | None,
    vary: Sequence[str],
    report: Path | None,
) -> str:
    """The command that resumes this very backtest."""
    options = [
        *(f"--vary {shlex.quote(one)}" for one in vary),
        *([f"--state {shlex.quote(str(state))}"] if state != DEFAULT_STATE else []),
        *([f"--until {until:%Y-%m-%d}"] if until else []),
        *([f"--sample {sample}"] if sample else []),
        *([f"--report {shlex.quote(str(report))}"] if report else []),
    ]
    return " ".join(["capstan backtest", shlex.quote(str(file)), *options])

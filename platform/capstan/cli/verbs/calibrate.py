"""`capstan calibrate`: thresholds of alerts for a stated number of false alarms, from recorded history."""

from __future__ import annotations

from dataclasses import asdict
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
    out,
    print_json,
)
from capstan.cli.interrupt import Interrupt
from capstan.cli.recorded_history import STOPPED, Sample, Until, Workers

if TYPE_CHECKING:
    from capstan.embedded.backtest.calibration import Calibration

app = App()


@app.command(epilog="Example: capstan calibrate system.yaml --false-alarms 1/month")
def calibrate(
    file: File,
    false_alarms: Annotated[
        str,
        typer.Option(
            "--false-alarms", metavar="NUMBER/month", help="Budget, also per week or year: 1/month, 3/year."
        ),
    ] = "1/month",
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="PATH=VALUE,...",
            help="Candidates of a field of monitoring; default: drift.minEffect and quality.maxDrop.",
        ),
    ] = None,
    until: Until = None,
    sample: Sample = None,
    workers: Workers = None,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Propose thresholds of the file's alerts that keep to a budget of false alarms, by recorded history.

    Each candidate is backtested. An alert is false if nothing hurt after it, as `capstan backtest` tells it. What is
    finished is kept and shared with `capstan backtest`. Where the history is too short, nothing is proposed, and the
    exit code is 3.
    """
    with honest_errors(json):
        from capstan.embedded.backtest.calibration import (
            Budget,
            candidates_of,
            judged_months,
            require_watched,
            why_too_short,
        )
        from capstan.embedded.backtest.calibration import calibrate as judged
        from capstan.embedded.backtest.grid import backtest
        from capstan.embedded.backtest.variations import policies_of
        from capstan.embedded.backtest.wiring import places_in
        from capstan.embedded.layout import StateDir
        from capstan.embedded.replay.whole_replay import scope_of
        from capstan.embedded.wiring import spec_document
        from capstan.spec import load

        budget = Budget.read(false_alarms)
        require_watched(vary or ())
        system = load(file)
        scope = scope_of(system, end=until.date() if until else None, share=sample)
        window = system.spec.monitoring.window.duration
        why = why_too_short(scope.start, scope.end, window, budget)
        if why:
            months = judged_months(scope.start, scope.end, window)
            _print_nothing(budget.per_month, months, why, json=json)
            raise typer.Exit(3)
        policies = policies_of(system, spec_document(system), vary or candidates_of(system))
        places = places_in(StateDir(state.resolve()), system.metadata.name)
        with Interrupt() as interrupt, Narrator(quiet=json) as narrator:
            finished = backtest(
                system, policies, scope, places, narrator, workers=workers, stop=interrupt.is_set
            )
        if finished is None:
            err.print("stopped; what is finished is kept, and the same command goes on")
            raise typer.Exit(STOPPED)
        found = judged(finished, budget, window)
    if json:
        print_json({"budget_per_month": budget.per_month, **asdict(found)})
    else:
        _print(found)
    if found.proposed is None:
        raise typer.Exit(3)


def _print_nothing(per_month: float, months: float, why: str, *, json: bool) -> None:
    """Before anything was run."""
    if json:
        nothing = {"months": months, "candidates": [], "proposed": None, "why": why}
        print_json({"budget_per_month": per_month, **nothing})
    else:
        out.print(f"nothing is proposed: {escape(why)}", soft_wrap=True)


def _print(found: Calibration) -> None:
    from capstan.embedded.backtest.calibration import lines_of

    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    paths = list(found.candidates[0].values)
    heads = [path.rpartition(".")[2] for path in paths]
    for head in (*heads, "false a month", "at most", "delay", "missed", "trained"):
        table.add_column(escape(head), justify="right", min_width=max(map(len, head.split())))
    for one in found.candidates:
        table.add_row(
            "*" if one is found.proposed else "",
            *(escape(one.values[path]) for path in paths),
            f"{one.per_month:.2f}",
            f"{one.most_per_month:.2f}",
            "-" if one.delay_days is None else f"{one.delay_days:.0f} d",
            f"{one.missed} of {one.hurt}",
            str(one.trainings),
        )
    out.print(table)
    told = (
        f"{found.months:.1f} months in which a false alarm can be told; `at most` holds with 95 % confidence"
    )
    out.print(told, soft_wrap=True)
    untold = max(one.untold for one in found.candidates)
    if untold:
        out.print(
            f"of up to {untold} alerts labels do not tell whether anything hurt; they count as false",
            soft_wrap=True,
        )
    failed = sum(one.failed_trainings for one in found.candidates)
    if failed:
        out.print(
            f"{failed} trainings failed; their candidates are not proposed, and the same command asks them again",
            soft_wrap=True,
        )
    if found.proposed is None:
        out.print(f"nothing is proposed: {escape(found.why)}", soft_wrap=True)
        return
    out.print(
        f"proposed (*): {escape(found.why)}\n\nspec:\n{escape(lines_of(found.proposed.values))}",
        soft_wrap=True,
    )

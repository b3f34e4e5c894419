"""`capstan power`: how often and how soon the verdict of a step decides, before anybody waits for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from capstan.cli.app import App
from capstan.cli.console import Json, err, honest_errors, out, print_json
from capstan.cli.power_bandit import bandit
from capstan.cli.power_canary import canary
from capstan.cli.power_experiment import experiment
from capstan.cli.power_interleave import interleave
from capstan.errors import InvalidSpecError, Mistake

if TYPE_CHECKING:
    from capstan.evaluation.power import LetThrough, Power

app = App()
group = App(
    name="power",
    help="How often and how soon the verdict of a step would decide: know it before you wait for it.",
    no_args_is_help=True,
    epilog="Example: capstan power experiment --effect 0.002 --base 0.01 --per-day 20000",
)
app.add_typer(group)
group.command(
    epilog="Example: capstan power experiment --effect 0.002 --base 0.01 --per-day 20000 --window 7 --deadline 30"
)(experiment)
group.command(epilog="Example: capstan power interleave --preference 0.03 --ties 0.4 --per-day 2000")(
    interleave
)
group.command(
    epilog="Example: capstan power canary --requests 200 --requests 1000 --error-rate 0.01 --error-rate 0.05"
)(canary)
group.command(epilog="Example: capstan power bandit --mean 0.10 --mean 0.12 --per-batch 500 --batches 40")(
    bandit
)

DIFFERENCES = (-0.15, -0.09, -0.06, -0.03, -0.01, 0.0, 0.017, 0.03, 0.06)
MINIMA = (7, 14, 21, 28)


@group.callback()
def power() -> None:
    """How often and how soon the verdict of a step would decide: know it before you wait for it."""


@group.command(
    epilog="Example: capstan power shadow --sd 0.059 --margin 0.02 --blocks 60 --mean 0.017 --mean -0.05"
)
def shadow(
    sd: Annotated[
        float, typer.Option(help="Spread of a block's loss difference per request; days of flights: 0.059.")
    ] = 0.059,
    mean: Annotated[
        list[float] | None,
        typer.Option(
            help="True difference per request; positive: the challenger is better. May be repeated."
        ),
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Loss per request by which the challenger may be worse.")
    ] = 0.01,
    minimum_effect: Annotated[
        float, typer.Option(help="For Better: by how much the challenger must be better.")
    ] = 0.0,
    alpha: Annotated[float, typer.Option(help="Error of a wrong decision.")] = 0.05,
    blocks: Annotated[int, typer.Option(help="The deadline, in closed blocks.")] = 40,
    min_blocks: Annotated[int, typer.Option(help="Closed blocks before the first verdict.")] = 7,
    planned_blocks: Annotated[int, typer.Option(help="Blocks at which the method is tuned to decide.")] = 14,
    requests: Annotated[int, typer.Option(help="Labelled requests per block.")] = 500,
    skewness: Annotated[float, typer.Option(help="Skewness of the blocks; days of flights: 0.8.")] = 0.0,
    autocorrelation: Annotated[
        float,
        typer.Option(help="Lag-1 autocorrelation of neighbouring blocks; the verdict merges them as needed."),
    ] = 0.0,
    runs: Annotated[int, typer.Option(help="Simulated rollouts.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
    as_json: Json = False,
) -> None:
    """Simulate rollouts of known true difference: what would each rule say, and when?"""
    # Other commands must not pay for numpy and scipy at start-up.
    from capstan.domain.verdicts.quality import Decide, QualityRule
    from capstan.evaluation.power import Scenario, Simulation, simulate_power

    with honest_errors(as_json):
        _check(
            sd=sd,
            blocks=blocks,
            requests=requests,
            runs=runs,
            min_blocks=min_blocks,
            autocorrelation=autocorrelation,
        )
        scenario = Scenario(sd, requests, skewness, blocks, runs, seed, autocorrelation)
        rules = [
            QualityRule(
                decide,
                margin=margin,
                minimum_effect=minimum_effect if decide is Decide.BETTER else 0.0,
                alpha=alpha,
                min_blocks=min_blocks,
                planned_blocks=planned_blocks,
            )
            for decide in Decide
        ]
        differences = sorted(mean) if mean else list(DIFFERENCES)
        with Progress(console=err, transient=True, disable=as_json) as progress:
            task = progress.add_task(
                f"{runs:,} rollouts of {blocks} blocks", total=len(rules) * len(differences)
            )
            rows = simulate_power(
                scenario, rules, differences, advance=lambda done: progress.update(task, completed=done)
            )
        unless = rules[list(Decide).index(Decide.UNLESS_WORSE)]
        minima = [least for least in MINIMA if unless.least_blocks <= least <= blocks]
        simulation = Simulation(scenario)
        passes = [simulation.let_through(unless, difference, minima) for difference in differences]
        if as_json:
            print_json(
                {
                    "scenario": asdict(scenario),
                    "rules": [asdict(rule) for rule in rules],
                    "power": [asdict(row) for row in rows],
                    "unlessWorsePasses": [asdict(row) for row in passes],
                }
            )
            return
        out.print(
            f"{runs:,} simulated rollouts (seed {seed}), looked at after every block, deadline {blocks} blocks.\n"
            f"Spread of a block {sd:g} per request, skewness {skewness:g}, autocorrelation {autocorrelation:g}, "
            f"margin {margin:g}, minimum effect {minimum_effect:g}, alpha {alpha:g}.\n"
            f"Blocks until promotion count all rollouts; - means that not so many got there.",
            soft_wrap=True,
        )
        out.print(_power_table(rows))
        out.print(_passes_table(passes, minima, margin))


def _check(
    *, sd: float, blocks: int, requests: int, runs: int, min_blocks: int, autocorrelation: float
) -> None:
    checks = {
        "--sd": (sd, 0 < sd < float("inf"), "must be above 0"),
        "--blocks": (blocks, blocks >= min_blocks, f"must be at least the minimum of {min_blocks} blocks"),
        "--requests": (requests, requests >= 1, "must be at least 1"),
        "--autocorrelation": (autocorrelation, -1 < autocorrelation < 1, "must be between -1 and 1"),
        "--runs": (runs, 1 <= runs <= 100_000, "must be 1 to 100,000"),
    }
    mistakes = [
        Mistake(name, f"{value} {rule}") for name, (value, holds, rule) in checks.items() if not holds
    ]
    if mistakes:
        raise InvalidSpecError(mistakes)


def _power_table(rows: list[Power]) -> Table:
    table = Table(title="What each decide says, and when")
    table.add_column("decide")
    for column in ("true difference", "promoted", "rejected", "undecided", "median blocks", "80 % blocks"):
        table.add_column(column, justify="right")
    for index, row in enumerate(rows):
        if index and rows[index - 1].decide is not row.decide:
            table.add_section()
        table.add_row(
            row.decide,
            f"{row.difference:+.3f}",
            f"{row.promoted:.1%}",
            f"{row.rejected:.1%}",
            f"{row.undecided:.1%}",
            _blocks(row.median_blocks),
            _blocks(row.late_blocks),
        )
    return table


def _passes_table(rows: list[LetThrough], minima: list[int], margin: float) -> Table:
    table = Table(title="How often UnlessWorse promotes, by its minimum of blocks")
    table.add_column("true difference", justify="right")
    table.add_column("truly")
    for least in minima:
        table.add_column(f"{least} blocks", justify="right")
    for row in rows:
        worse = row.difference < -margin
        truly = "worse than the margin" if worse else "worse" if row.difference < 0 else "not worse"
        table.add_row(f"{row.difference:+.3f}", truly, *(f"{row.by_blocks[least]:.1%}" for least in minima))
    return table


def _blocks(blocks: int | None) -> str:
    return "-" if blocks is None else str(blocks)

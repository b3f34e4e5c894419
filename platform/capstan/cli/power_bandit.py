"""`capstan power bandit`: how soon the better arm has the requests, what it costs, how often it is the wrong one."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from capstan.cli.console import Json, err, honest_errors, out, print_json
from capstan.cli.options import Options

if TYPE_CHECKING:
    from capstan.evaluation.bandit_power import BanditPower, BanditScenario


def bandit(
    mean: Annotated[
        list[float], typer.Option(help="True mean reward of an arm, the champion's first. May be repeated.")
    ],
    sd: Annotated[
        float | None,
        typer.Option(help="Spread of a unit's reward; without it rewards are 0 or 1.", show_default=False),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Thompson, UCB1 or EpsilonGreedy. May be repeated.", show_default="Thompson"),
    ] = None,
    share: Annotated[int, typer.Option(help="Percent of the requests that the best arm should get.")] = 80,
    floor: Annotated[int, typer.Option(help="Least share of each arm in percent.")] = 5,
    epsilon: Annotated[float, typer.Option(help="Share that EpsilonGreedy divides equally.")] = 0.1,
    cap: Annotated[
        float | None, typer.Option(help="Bound of a reward, which UCB1 needs with --sd.", show_default=False)
    ] = None,
    per_batch: Annotated[int, typer.Option(help="Units of a batch, of all arms.")] = 500,
    batches: Annotated[int, typer.Option(help="The deadline, in batches.")] = 40,
    late: Annotated[int, typer.Option(help="Batches that pass before rewards are known.")] = 0,
    alpha: Annotated[float, typer.Option(help="Error of a wrong verdict, of all arms together.")] = 0.05,
    min_units: Annotated[int, typer.Option(help="Units of two arms before the first verdict.")] = 500,
    runs: Annotated[int, typer.Option(help="Simulated bandits of each policy.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
    as_json: Json = False,
) -> None:
    """Simulate bandits of known means: how soon does the best arm have the requests, and what is said of it?"""
    with honest_errors(as_json):
        # Other commands must not pay for numpy and scipy at start-up.
        from capstan.domain.moving_weights import MOST_MOVES
        from capstan.domain.verdicts.arms import ArmsRule
        from capstan.domain.verdicts.bandits import BanditRule, Policy
        from capstan.domain.verdicts.experiments import Better
        from capstan.evaluation.bandit_power import BanditScenario, simulate_bandit

        options = Options()
        options.holds("--mean", len(mean), 2 <= len(mean) <= 10, "arms: write 2 to 10, the champion's first")
        for one in mean:
            good = math.isfinite(one) and (sd is not None or 0 <= one <= 1)
            options.holds("--mean", one, good, "must be a share of 0 to 1, or a number with --sd")
        policies = [options.one_of("--policy", one, Policy) for one in policy or [Policy.THOMPSON]]
        options.together(
            sd is not None and cap is None and Policy.UCB1 in policies, "--policy", "UCB1", "needs --cap"
        )
        if sd is not None:
            options.holds("--sd", sd, 0 < sd < math.inf, "must be above 0")
        if cap is not None:
            options.holds("--cap", cap, 0 < cap < math.inf, "must be above 0")
        options.holds("--share", share, 1 <= share <= 100, "must be 1 to 100")
        most = 100 // max(len(mean), 2)
        options.holds(
            "--floor", floor, 1 <= floor <= most, f"must be 1 to {most}, so that {len(mean)} arms have it"
        )
        top = 100 - floor * (len(mean) - 1)
        options.holds(
            "--share", share, share <= top, f"is more than the {top} that the floors leave to an arm"
        )
        options.holds("--epsilon", epsilon, 0 <= epsilon <= 1, "must be 0 to 1")
        options.holds("--per-batch", per_batch, 1 <= per_batch <= 1_000_000, "must be 1 to 1,000,000")
        options.holds("--batches", batches, 1 <= batches <= MOST_MOVES, f"must be 1 to {MOST_MOVES}")
        options.holds("--late", late, 0 <= late < batches, f"must be at least 0 and below {batches}")
        options.holds("--alpha", alpha, 0 < alpha < 0.5, "must be above 0 and below 0.5")
        options.holds("--min-units", min_units, min_units >= 500, "must be at least 500")
        options.holds("--runs", runs, 1 <= runs <= 100_000, "must be 1 to 100,000")
        options.finish()
        scenario = BanditScenario(tuple(mean), sd, per_batch, batches, late, runs, seed)
        rule = ArmsRule("reward", Better.HIGHER, alpha=alpha, comparisons=len(mean) - 1, min_units=min_units)
        rows = []
        with Progress(console=err, transient=True, disable=as_json) as progress:
            task = progress.add_task(f"{runs:,} bandits of each policy", total=runs * len(policies))
            for done, one in enumerate(policies):
                shares = BanditRule(one, floor, epsilon, is_binary=sd is None, reach=cap or 1.0)
                found = simulate_bandit(
                    scenario,
                    shares,
                    rule,
                    wanted=share,
                    advance=lambda count, before=done * runs: progress.update(  # type: ignore[misc]
                        task, completed=before + count
                    ),
                )
                rows.append(found)
        if as_json:
            print_json(
                {"scenario": asdict(scenario), "share": share, "policies": [asdict(one) for one in rows]}
            )
            return
        _print(rows, scenario, share, rule.named)


def _print(rows: list[BanditPower], scenario: BanditScenario, share: int, rule: str) -> None:
    units = scenario.units_per_batch * scenario.batches
    means = ", ".join(f"{one:g}" for one in scenario.means)
    out.print(
        f"{scenario.runs:,} simulated bandits of each policy (seed {scenario.seed}), true means {means}; "
        f"{units:,} units in {scenario.batches} batches, rewards known after {scenario.late} more.\n"
        f"Half, 4 in 5: units after which so many runs gave the best arm {share} % for good. Regret: rewards that all "
        "units lost; even: in equal shares.\n"
        f"Right, wrong: what the verdict names by then ({rule}). Misled: another arm has the largest weight in the "
        "end, which is no verdict.",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("policy", no_wrap=True)
    for column in ("half", "4 in 5", "regret", "even", "right", "wrong", "undecided", "misled"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shares = (row.right, row.wrong, row.undecided, row.largest_is_wrong)
        table.add_row(
            row.policy,
            _units(row.median_units),
            _units(row.late_units),
            f"{row.regret:,.3g}",
            f"{row.even_regret:,.3g}",
            *(f"{one:.1%}" for one in shares),
        )
    out.print(table)


def _units(units: int | None) -> str:
    return "never" if units is None else f"{units:,}"

"""`capstan power experiment`: how many units and days an experiment needs, before anybody waits for it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.cli.options import Options

if TYPE_CHECKING:
    from capstan.domain.verdicts.sample_size import ExperimentDesign, SampleSize


def experiment(
    effect: Annotated[
        list[float],
        typer.Option(help="Least difference to find, arm less champion. May be repeated."),
    ],
    sd: Annotated[
        float | None,
        typer.Option(help="Spread of a unit's outcome, from history; or --base.", show_default=False),
    ] = None,
    base: Annotated[
        float | None,
        typer.Option(help="Share of 1 among the champion's outcomes; or --sd.", show_default=False),
    ] = None,
    skewness: Annotated[
        float, typer.Option(help="Skewness of a unit's outcome; counts if shares differ.")
    ] = 0.0,
    correlation: Annotated[
        float, typer.Option(help="Correlation of outcome and covariate, for CUPED.")
    ] = 0.0,
    shares: Annotated[str, typer.Option(help="Shares of all arms, the champion's first.")] = "50,50",
    alpha: Annotated[float, typer.Option(help="Error of all comparisons together.")] = 0.05,
    wanted: Annotated[float, typer.Option("--power", help="Chance to find the effect.")] = 0.8,
    metrics: Annotated[int, typer.Option(help="Metrics that are corrected together.")] = 1,
    guardrails: Annotated[int, typer.Option(help="Guardrails that must pass as well.")] = 0,
    planned_units: Annotated[
        int | None,
        typer.Option(
            help="Units of two arms at which AlwaysValid is tuned to decide.", show_default="the best"
        ),
    ] = None,
    min_units: Annotated[int, typer.Option(help="Units of two arms before AlwaysValid says anything.")] = 500,
    per_day: Annotated[
        float | None, typer.Option(help="New units a day, of all arms.", show_default=False)
    ] = None,
    window: Annotated[float, typer.Option(help="Days for which a unit is followed, with its delay.")] = 0.0,
    deadline: Annotated[
        float | None, typer.Option(help="Days after which it must be decided; with --per-day.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Units and days until an experiment finds an effect, looked at all the time or once."""
    with honest_errors(as_json):
        # Other commands must not pay for scipy at start-up.
        from capstan.domain.verdicts.experiments import ExperimentRule
        from capstan.domain.verdicts.sample_size import ExperimentDesign, tuned

        options = Options()
        parts = options.whole_numbers("--shares", shares)
        options.holds("--shares", shares, len(parts) >= 2, "must name at least two arms, such as 50,50")
        options.holds("--alpha", alpha, 0 < alpha <= 0.5, "must be above 0 and at most 0.5")
        options.holds("--power", wanted, 0.05 <= wanted < 1, "must be at least 0.05 and below 1")
        options.holds("--metrics", metrics, metrics >= 1, "must be at least 1")
        options.holds("--guardrails", guardrails, guardrails >= 0, "must be at least 0")
        options.holds("--correlation", correlation, -1 < correlation < 1, "must be above -1 and below 1")
        options.holds("--skewness", skewness, math.isfinite(skewness), "must be a finite number")
        options.holds("--min-units", min_units, min_units >= 4, "must be at least 4")
        options.holds("--window", window, 0 <= window < math.inf, "must be at least 0 days")
        if sd is not None:
            options.holds("--sd", sd, 0 < sd < math.inf, "must be above 0")
        if base is not None:
            options.holds("--base", base, 0 < base < 1, "must be above 0 and below 1")
        if planned_units is not None:
            options.holds("--planned-units", planned_units, planned_units >= 1, "must be at least 1")
        if per_day is not None:
            options.holds("--per-day", per_day, 0 < per_day < math.inf, "must be above 0")
        options.together((sd is None) is (base is None), "--sd", sd, "or --base must be given, and not both")
        options.together(deadline is not None and per_day is None, "--deadline", deadline, "needs --per-day")
        for one in effect:
            inside = math.isfinite(one) and one != 0 and (base is None or 0 <= base + one <= 1)
            rule = "must be a difference other than 0" + (
                "" if base is None else " that leaves a share of 0 to 1"
            )
            options.holds("--effect", one, inside, rule)
        options.finish()
        designs = []
        for one in sorted(effect):
            design = ExperimentDesign(
                effect=one,
                variance=sd * sd if sd is not None else 0.0,
                base=base,
                skewness=skewness,
                rule=ExperimentRule(
                    alpha=alpha,
                    comparisons=(len(parts) - 1) * metrics,
                    planned_units=planned_units or 1,
                    least_units=min_units,
                ),
                shares=tuple(parts),
                power=wanted,
                guardrails=guardrails,
                variance_reduction=correlation**2,
            )
            designs.append(design if planned_units else tuned(design))
        rows = [_row(design, per_day, timedelta(days=window), deadline) for design in designs]
        if as_json:
            print_json({"effects": rows})
        else:
            _print(rows, designs[0], per_day)


def _row(
    design: ExperimentDesign, per_day: float | None, window: timedelta, deadline: float | None
) -> dict[str, Any]:
    from capstan.domain.verdicts.experiments import Test
    from capstan.domain.verdicts.sample_size import infeasible_experiment, run_time, sample_size

    one_look = Test.WELCH if design.base is None else Test.PROPORTIONS
    once = replace(design, rule=replace(design.rule, test=one_look))
    found: dict[str, SampleSize | None] = {
        "alwaysValid": sample_size(design),
        "fixedHorizon": sample_size(once),
    }

    def days(units: int) -> float | None:
        if per_day is None:
            return None
        return run_time(units, units_per_day=per_day, window=window) / timedelta(days=1)

    row: dict[str, Any] = {"effect": design.effect, "plannedUnits": design.rule.planned_units}
    for name, size in found.items():
        row[name] = None
        if size is not None:
            row[name] = {
                **asdict(size),
                "days": days(size.units),
                "median_days": days(size.median_units),
            }
    if deadline is not None and per_day is not None:
        row["infeasible"] = {
            name: infeasible_experiment(
                one, deadline=timedelta(days=deadline), units_per_day=per_day, window=window
            )
            for name, one in (("alwaysValid", design), ("fixedHorizon", once))
        }
    return row


def _print(rows: list[dict[str, Any]], design: ExperimentDesign, per_day: float | None) -> None:
    several = f" of {design.rule.comparisons} comparisons" if design.rule.comparisons > 1 else ""
    gates = f", {design.guardrails} guardrails" if design.guardrails else ""
    out.print(
        f"Units of all arms ({' : '.join(map(str, design.shares))}) that find the effect with a power of "
        f"{design.power:.0%} at alpha {design.rule.alpha:g}{several}{gates}.\n"
        "AlwaysValid may be looked at all the time and ends when it decides; FixedHorizon is looked at once.",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    columns = ["effect", "AlwaysValid", "half decide within", "FixedHorizon", "planned units"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        always, fixed = row["alwaysValid"], row["fixedHorizon"]
        table.add_row(
            f"{row['effect']:+g}",
            _size(always, "units", "days"),
            _size(always, "median_units", "median_days"),
            _size(fixed, "units", "days"),
            f"{row['plannedUnits']:,}",
        )
    out.print(table, width=max(out.width, 110))
    for row in rows:
        for name, told in row.get("infeasible", {}).items():
            if told is not None:
                out.print(
                    f"[yellow]{name[0].upper()}{name[1:]}[/yellow] {row['effect']:+g}: {escape(told)}",
                    soft_wrap=True,
                )
    if per_day is None:
        out.print("With --per-day, the new units of a day, it tells days.", soft_wrap=True)


def _size(size: dict[str, Any] | None, units: str, days: str) -> str:
    if size is None:
        return "never"
    shown = f"{size[units]:,}"
    return shown if size[days] is None else f"{shown} ({size[days]:.3g}d)"

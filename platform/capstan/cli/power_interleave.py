"""`capstan power interleave`: how many units say which of two rankers users prefer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.cli.options import Options


def interleave(
    preference: Annotated[
        list[float],
        typer.Option(
            help="(wins + ties / 2) / units - 1/2, above 0 for the challenger and below for the champion."
        ),
    ],
    ties: Annotated[float, typer.Option(help="Share of units that prefer neither.")] = 0.3,
    alpha: Annotated[float, typer.Option(help="Error of naming either ranker where there is none.")] = 0.05,
    wanted: Annotated[float, typer.Option("--power", help="Chance to find the preference.")] = 0.8,
    planned_units: Annotated[
        int, typer.Option(help="Units with a preference at which the test is tuned to decide.")
    ] = 400,
    min_units: Annotated[int, typer.Option(help="Units before the first verdict.")] = 100,
    per_day: Annotated[
        float | None, typer.Option(help="New units a day, interleaved.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Units and days until interleaved lists show a preference."""
    with honest_errors(as_json):
        # Other commands must not pay for scipy at start-up.
        from capstan.domain.verdicts.preference import PreferenceRule
        from capstan.domain.verdicts.preference_size import preference_size

        options = Options()
        options.holds("--ties", ties, 0 <= ties < 1, "must be at least 0 and below 1")
        options.holds("--power", wanted, 0.05 <= wanted < 1, "must be at least 0.05 and below 1")
        for one in preference:
            most = (1 - ties) / 2
            options.holds(
                "--preference", one, 0 < abs(one) <= most, f"must be other than 0 and at most {most:g} away"
            )
        if per_day is not None:
            options.holds("--per-day", per_day, 0 < per_day < float("inf"), "must be above 0")
        options.finish()
        rule = PreferenceRule(alpha=alpha, min_units=min_units, planned_units=planned_units)
        rows: list[dict[str, Any]] = []
        for one in sorted(preference):
            size = preference_size(one, ties, rule, power=wanted)
            rows.append({"preference": one, "size": None if size is None else asdict(size)})
        if as_json:
            print_json({"preferences": rows})
            return
        out.print(
            f"Units that find a preference with a power of {wanted:.0%} at alpha {alpha:g}, looked at all the time; "
            f"{ties:.0%} of them tie.",
            soft_wrap=True,
        )
        table = Table(box=None, pad_edge=False)
        for column in ("preference", "units", "half decide within"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows:
            shown = ["never", "never"]
            if row["size"] is not None:
                shown = [_units(row["size"][name], per_day) for name in ("units", "median_units")]
            table.add_row(f"{row['preference']:+g}", *shown)
        out.print(table)


def _units(units: int, per_day: float | None) -> str:
    return f"{units:,}" if per_day is None else f"{units:,} ({units / per_day:.3g}d)"

"""`capstan power canary`: how likely the requests of a canary show a version that fails or is too slow."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.cli.options import Options

if TYPE_CHECKING:
    from capstan.evaluation.canary_power import CanaryPower

MOST_REQUESTS = 100_000
"""The chances of every request up to there are computed one after another."""


def canary(
    requests: Annotated[
        list[int], typer.Option(help="Requests that the challenger answers. May be repeated.")
    ],
    error_rate: Annotated[
        list[float] | None,
        typer.Option(help="True share of its requests that fail. May be repeated.", show_default=False),
    ] = None,
    slow: Annotated[
        list[float] | None,
        typer.Option(
            help="True share that takes longer than the bound on its p99. May be repeated.",
            show_default=False,
        ),
    ] = None,
    max_error_rate: Annotated[
        float, typer.Option(help="`guardrails.errorRate.max` of the file; 1 leaves it out.")
    ] = 0.01,
    guardrails: Annotated[
        int,
        typer.Option(
            help="How many share alpha: errors and latency against the champion, and a bound of latency in `serving`."
        ),
    ] = 2,
    per_day: Annotated[
        float | None, typer.Option(help="Requests a day to the challenger.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """How likely N requests stop a canary that is too bad, and let a good one pass."""
    with honest_errors(as_json):
        # Other commands must not pay for numpy and scipy at start-up.
        from capstan.domain.verdicts.guardrails import SLOW_BURST, SLOW_SHARE, BadRequests, OperationPolicy
        from capstan.evaluation.canary_power import canary_power

        options = Options()
        options.together(not (error_rate or slow), "--error-rate", "none", "or --slow must be given")
        for one in requests:
            options.holds("--requests", one, 1 <= one <= MOST_REQUESTS, f"must be 1 to {MOST_REQUESTS:,}")
        for name, shares in (("--error-rate", error_rate), ("--slow", slow)):
            for share in shares or []:
                options.holds(name, share, 0 <= share <= 1, "must be a share of 0 to 1")
        options.holds("--max-error-rate", max_error_rate, 0 <= max_error_rate <= 1, "must be 0 to 1")
        options.holds("--guardrails", guardrails, 1 <= guardrails <= 3, "must be 1 to 3")
        if per_day is not None:
            options.holds("--per-day", per_day, 0 < per_day < float("inf"), "must be above 0")
        options.finish()
        policy = OperationPolicy(
            max_error_rate=max_error_rate,
            max_latency_ratio=1.5 if guardrails > 1 else None,
            max_latency_seconds=1.0 if guardrails > 2 else None,
        )
        asked = sorted(set(requests))
        kinds = (
            ("errors", error_rate, BadRequests(0, 0, max_error_rate)),
            ("slow", slow, BadRequests(0, 0, SLOW_SHARE, SLOW_BURST)),
        )
        found = [
            (name, canary_power(share, guardrail, policy.log_e_needed, asked))
            for name, shares, guardrail in kinds
            for share in sorted(set(shares or []))
        ]
        if as_json:
            print_json(
                {
                    "alpha": policy.alpha,
                    "guardrails": policy.active,
                    "canaries": [{"guardrail": name, **asdict(one)} for name, one in found],
                }
            )
            return
        out.print(
            f"Alpha {policy.alpha:g} shared by {policy.active} guardrail{'' if policy.active == 1 else 's'}; "
            f"{max_error_rate:.3g} may fail, {SLOW_SHARE:.3g} may be slow, slow ones count in bursts of {SLOW_BURST:g}."
            "\nStopped: looked at after every request; one look: at so many alone; half: requests that stop half of "
            "them.\nHeld: more are bad than may be, which could be chance, so the step waits for more. Exact, nothing "
            "is drawn.",
            soft_wrap=True,
        )
        out.print(_table(found, per_day))


def _table(found: list[tuple[str, CanaryPower]], per_day: float | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("guardrail", no_wrap=True)
    for column in ("share", "requests", "stopped", "one look", "held", "passes", "half"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, power in found:
        for index, row in enumerate(power.by_requests):
            first = ["", ""] if index else [name, f"{power.bad_share:.3g}"]
            last = "" if index else "-" if power.median_requests is None else f"{power.median_requests:,}"
            chances = (row.stopped, row.one_look, row.held, row.passes)
            table.add_row(*first, _requests(row.requests, per_day), *(f"{one:.1%}" for one in chances), last)
    return table


def _requests(count: int, per_day: float | None) -> str:
    return f"{count:,}" if per_day is None else f"{count:,} ({count / per_day:.3g}d)"

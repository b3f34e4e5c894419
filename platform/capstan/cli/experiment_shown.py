"""The analysis of an experiment on the console and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from capstan.cli.console import out
from capstan.domain.verdicts.intervals import interval, is_open

if TYPE_CHECKING:
    from capstan.domain.verdicts.experiments import Effect
    from capstan.evaluation.experiments.findings import Comparison, ExperimentAnalysis

_WIDTH = 120
"""Columns of text that the tables need."""


def experiment_document(analysis: ExperimentAnalysis) -> dict[str, Any]:
    """The analysis as JSON; what is unbounded is null."""
    comparisons = [
        {**asdict(one), "relative": one.relative, "result": _result(one.result)}
        for one in analysis.comparisons
    ]
    return {**asdict(analysis), "ratio": _result(analysis.ratio), "comparisons": comparisons}


def _result(result: Any) -> dict[str, Any]:
    return {
        "verdict": result.verdict.value,
        "reason": str(result.reason),
        "message": result.message,
        "numbers": dict(result.numbers),
    }


def show_experiment(analysis: ExperimentAnalysis, by: str) -> None:
    """Print it; `by` is Unit, Day or Hour."""
    total = sum(analysis.units.values())
    out.print(f"{total:,} units of {analysis.rows:,} rows", soft_wrap=True)
    if analysis.crossed:
        kept = analysis.crossed - analysis.crossed_left_out
        became = f"{analysis.crossed_left_out:,} left out"
        became += f", {kept:,} counted in the arm that they were seen in first" if kept else ""
        named = ", ".join(analysis.crossed_examples)
        out.print(escape(f"{analysis.crossed:,} units in two arms ({named}): {became}"), soft_wrap=True)
    _print_table(_arms(analysis))
    out.print(escape(f"{analysis.ratio.reason}: {analysis.ratio.message}"), soft_wrap=True)
    for cuped in analysis.cuped:
        without = f"; {cuped.without:,} units without it count as its mean" if cuped.without else ""
        out.print(
            escape(
                f"CUPED: {cuped.metric} has {cuped.variance_reduction:.1%} less variance "
                f"(slope {cuped.slope:.4g}){without}"
            ),
            soft_wrap=True,
        )
    _print_table(_effects(analysis))
    for one in analysis.comparisons:
        out.print(escape(f"{one.result.verdict} {one.result.reason}: {one.result.message}"), soft_wrap=True)
        if one.correlation is not None:
            unit = "hour" if by == "Hour" else "day"
            out.print(f"  {escape(one.correlation.describe(unit))}", soft_wrap=True)
    if any(one.slices for one in analysis.comparisons):
        _print_table(_slices(analysis))
    for warning in analysis.warnings:
        out.print(f"[yellow]warning[/yellow] {escape(warning)}", soft_wrap=True)


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in words:
        table.add_column(column, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _print_table(table: Table) -> None:
    # A file or a pipe has no width; figures that are cut off say nothing.
    Console(highlight=False, width=max(out.width, _WIDTH)).print(table)
    out.print()


def _arms(analysis: ExperimentAnalysis) -> Table:
    numbers = ("units", "share", "wanted", "with outcome", "capped", "mean", "variance", "skewness")
    table = _table("Arms", ("arm", "metric"), numbers)
    total, wanted = max(sum(analysis.units.values()), 1), sum(analysis.shares.values())
    for one in analysis.outcomes:
        table.add_row(
            escape(one.arm),
            escape(one.metric),
            f"{analysis.units[one.arm]:,}",
            f"{analysis.units[one.arm] / total:.1%}",
            f"{analysis.shares[one.arm] / wanted:.1%}",
            f"{one.units:,}",
            f"{one.capped:,}",
            f"{one.mean:.5g}",
            f"{one.variance:.5g}",
            f"{one.skewness:.2f}",
        )
    return table


def _effects(analysis: ExperimentAnalysis) -> Table:
    rule = analysis.rule
    interval = f"{100 * (1 - rule.interval_alpha):.4g}% interval"
    numbers = ("difference", "relative", interval, "p", "Holm's p", "reason")
    table = _table(f"Less {escape(analysis.control)}, by {rule.test}", ("arm", "metric"), numbers)
    for one in analysis.comparisons:
        table.add_row(escape(one.arm), escape(one.metric), *_row(one), str(one.result.reason))
    return table


def _row(one: Comparison) -> tuple[str, ...]:
    relative = "-" if one.relative is None else f"{one.relative:+.2%}"
    return (
        f"{one.effect.difference:+.4g}",
        relative,
        _interval(one.effect),
        f"{one.effect.p_value:.3g}",
        f"{one.adjusted_p:.3g}",
    )


def _slices(analysis: ExperimentAnalysis) -> Table:
    title = "Slices, for looking: their intervals hold together, none decides"
    table = _table(title, ("arm", "metric", "slice"), ("units", "difference", "interval"))
    for comparison in analysis.comparisons:
        for one in comparison.slices:
            table.add_row(
                escape(comparison.arm),
                escape(comparison.metric),
                escape(f"{one.column} = {one.value}"),
                f"{one.control_units + one.arm_units:,}",
                f"{one.effect.difference:+.4g}",
                _interval(one.effect),
            )
    return table


def _interval(effect: Effect) -> str:
    return "not yet" if is_open(effect.lower, effect.upper) else interval(effect.lower, effect.upper)

"""`capstan experiment analyze`: the effect of each arm, with its interval, from any log of assignments and outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.errors import InvalidSpecError, MissingToolError, Mistake

if TYPE_CHECKING:
    from capstan.domain.verdicts.experiments import Effect
    from capstan.evaluation.experiments.analysis import Comparison, ExperimentAnalysis

app = typer.Typer()
group = typer.Typer(
    name="experiment",
    help="Experiments on users: what a log of assignments and outcomes says.",
    no_args_is_help=True,
    epilog="Example: capstan experiment analyze log.csv --metric revenue --time at",
)
app.add_typer(group)

T = TypeVar("T")

_WIDTH = 120
"""Columns of text that the tables need."""
TESTS = ("AlwaysValid", "Welch", "Proportions", "MannWhitney")


@group.callback()
def experiment() -> None:
    """Experiments on users: what a log of assignments and outcomes says."""


@group.command(
    epilog="Example: capstan experiment analyze log.csv --unit user --arm arm --metric revenue --time at "
    "--shares control=50,treatment=50"
)
def analyze(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a row for each unit, or several.")],
    metric: Annotated[
        list[str], typer.Option(help="Column of an outcome, again and again; numbers, or true and false.")
    ],
    unit: Annotated[str, typer.Option(help="Column of what was randomised, such as a user.")] = "unit",
    arm: Annotated[str, typer.Option(help="Column of the arm to which it was assigned.")] = "arm",
    control: Annotated[str, typer.Option(help="The arm that others are compared with.")] = "control",
    shares: Annotated[
        str | None,
        typer.Option(help="Wanted shares, such as control=50,treatment=50.", show_default="equal shares"),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of when the row happened: looks over time.", show_default=False)
    ] = None,
    covariate: Annotated[
        str | None,
        typer.Option(help="Column of a number from before assignment: CUPED.", show_default=False),
    ] = None,
    slice_: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Column of groups of units, again and again; for looking only."),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(help="Column that tells rows apart which look alike; for sums.", show_default=False),
    ] = None,
    test: Annotated[str, typer.Option(help=f"One of {', '.join(TESTS)}.")] = "AlwaysValid",
    alpha: Annotated[float, typer.Option(help="Error of all comparisons together.")] = 0.05,
    better: Annotated[str, typer.Option(help="Higher or Lower.")] = "Higher",
    cap: Annotated[
        list[str] | None,
        typer.Option(
            help="METRIC=NUMBER, fixed beforehand: larger outcomes count as it.", show_default=False
        ),
    ] = None,
    by: Annotated[str, typer.Option(help="What is independent: Unit, or with --time Day or Hour.")] = "Unit",
    aggregate: Annotated[
        str, typer.Option(help="How several rows of a unit become one outcome: One, Sum, Mean or Max.")
    ] = "One",
    missing: Annotated[str, typer.Option(help="A unit without an outcome: Omit it, or count Zero.")] = "Omit",
    crossed: Annotated[
        str, typer.Option(help="A unit in two arms: Exclude, First (with --time) or Refuse.")
    ] = "Exclude",
    planned_units: Annotated[
        int, typer.Option(help="Units of two arms at which AlwaysValid is tuned to decide; fixed beforehand.")
    ] = 5000,
    planned_blocks: Annotated[int, typer.Option(help="The same in blocks, for --by Day and Hour.")] = 14,
    min_units: Annotated[int, typer.Option(help="Units of two arms before AlwaysValid says anything.")] = 500,
    zone: Annotated[str, typer.Option(help="Of days, and of times without offset.")] = "UTC",
    plot: Annotated[
        Path | None, typer.Option(help="An .svg or .png file to draw to.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Effects with intervals, sample ratio and verdicts of an experiment, without a running system."""
    with honest_errors(as_json):
        # Other commands must not pay for duckdb, numpy and scipy at start-up.
        from capstan.domain.verdicts.experiments import Better, ExperimentRule, Test
        from capstan.evaluation.experiments.analysis import ExperimentPlan, analyse
        from capstan.evaluation.experiments.columns import Aggregate, Block, Crossed, LogColumns, Missing
        from capstan.evaluation.experiments.log import read_units

        options = _Options()
        rule = ExperimentRule(
            test=options.one_of("--test", test, Test),
            better=options.one_of("--better", better, Better),
            alpha=options.holds("--alpha", alpha, 0 < alpha <= 0.5, "must be above 0 and at most 0.5"),
            planned_units=options.holds(
                "--planned-units", planned_units, planned_units >= 1, "must be at least 1"
            ),
            least_units=options.holds("--min-units", min_units, min_units >= 4, "must be at least 4"),
        )
        plan = ExperimentPlan(
            control=control,
            shares=options.shares(shares),
            rule=rule,
            by=options.one_of("--by", by, Block),
            planned_blocks=options.holds(
                "--planned-blocks", planned_blocks, planned_blocks >= 1, "must be at least 1"
            ),
            caps=options.caps(cap or [], metric),
        )
        columns = LogColumns(
            path=file,
            unit=unit,
            arm=arm,
            metrics=tuple(dict.fromkeys(metric)),
            time=time,
            covariate=covariate,
            slices=tuple(dict.fromkeys(slice_ or ())),
            event=event,
            crossed=options.one_of("--crossed", crossed, Crossed),
            aggregate=options.one_of("--aggregate", aggregate, Aggregate),
            missing=options.one_of("--missing", missing, Missing),
            zone=options.zone(zone),
        )
        options.together(plan.by is not Block.UNIT and time is None, "--by", by, "needs --time")
        options.together(
            plan.by is not Block.UNIT and rule.test is not Test.ALWAYS_VALID,
            "--by",
            by,
            "goes with --test AlwaysValid alone; take --by Unit",
        )
        options.together(
            columns.crossed is Crossed.FIRST and time is None, "--crossed", crossed, "needs --time"
        )
        options.together(
            covariate is not None and rule.test in (Test.PROPORTIONS, Test.MANN_WHITNEY),
            "--covariate",
            covariate,
            f"adjusts means, which {test} does not compare; take --test AlwaysValid or Welch",
        )
        options.together(
            event is not None and columns.aggregate not in (Aggregate.SUM, Aggregate.MEAN),
            "--event",
            event,
            "tells rows apart that are added up; take --aggregate Sum or Mean",
        )
        options.together(
            plot is not None and plot.suffix not in (".svg", ".png"),
            "--plot",
            plot,
            "must end in .svg or .png",
        )
        options.finish()
        analysis = analyse(read_units(columns, plan.by), plan)
        if plot is not None:
            _draw(analysis, plot)
        if as_json:
            print_json(_document(analysis))
        else:
            _print(analysis, by)
            if plot is not None:
                out.print(f"drawn to {escape(str(plot))}", soft_wrap=True)


def _draw(analysis: ExperimentAnalysis, path: Path) -> None:
    try:
        from capstan.evaluation.experiments.plot import draw
    except ModuleNotFoundError as error:
        # The images of a cluster go without it.
        raise MissingToolError(
            f"--plot: {error.name} is not installed here; pip install matplotlib, or leave "
            "--plot out and draw from --json"
        ) from error
    draw(analysis, path)


class _Options:
    """Reads options and collects what is wrong with them, so that all of it is told at once."""

    def __init__(self) -> None:
        self._mistakes: list[Mistake] = []

    def finish(self) -> None:
        """Raises InvalidSpecError if anything was wrong."""
        if self._mistakes:
            raise InvalidSpecError(self._mistakes)

    def one_of(self, option: str, value: str, kind: Any) -> Any:
        """The member of the enum; its first where there is none of that name."""
        try:
            return kind(value)
        except ValueError:
            self._mistakes.append(Mistake(option, f"{value!r} is none of {', '.join(kind)}"))
            return next(iter(kind))

    def holds(self, option: str, value: T, holds: bool, rule: str) -> T:
        """The value, whose rule is told where it does not hold."""
        if not holds:
            self._mistakes.append(Mistake(option, f"{value} {rule}"))
        return value

    def together(self, wrong: bool, option: str, value: object, rule: str) -> None:
        """Options that do not go together."""
        if wrong:
            self._mistakes.append(Mistake(option, f"{value} {rule}"))

    def shares(self, text: str | None) -> dict[str, int] | None:
        """`control=50,treatment=50` as weights."""
        if text is None:
            return None
        found: dict[str, int] = {}
        for part in text.split(","):
            arm, _, weight = (one.strip() for one in part.rpartition("="))
            if not arm or not weight.isascii() or not weight.isdigit() or int(weight) < 1:
                self._mistakes.append(
                    Mistake(
                        "--shares",
                        f"{part!r} is no ARM=WEIGHT with a whole weight of at least 1, such as control=50",
                    )
                )
            elif arm in found:
                self._mistakes.append(Mistake("--shares", f"the arm {arm!r} is named twice; name each once"))
            else:
                found[arm] = int(weight)
        if len(found) == 1 and not self._mistakes:
            self._mistakes.append(Mistake("--shares", f"{text!r} names one arm; an effect needs two"))
        return found

    def caps(self, texts: list[str], metrics: list[str]) -> dict[str, float]:
        """`revenue=100`, or `100` where there is one metric."""
        found = {}
        for text in texts:
            name, _, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if not math.isfinite(value) or (not name and len(metrics) != 1):
                self._mistakes.append(
                    Mistake("--cap", f"{text!r} is no METRIC=NUMBER, such as {metrics[0]}=100")
                )
                continue
            found[name or metrics[0]] = value
        return found

    def zone(self, name: str) -> str:
        """A time zone that exists."""
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            self._mistakes.append(Mistake("--zone", f"{name!r} is no time zone, such as Europe/Berlin"))
            return "UTC"
        return name


def _document(analysis: ExperimentAnalysis) -> dict[str, Any]:
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


def _print(analysis: ExperimentAnalysis, by: str) -> None:
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
    return f"[{effect.lower:+.4g}, {effect.upper:+.4g}]"

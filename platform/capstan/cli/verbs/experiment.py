"""`capstan experiment analyze`: the effect of each arm, with its interval, from any log of assignments and outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from capstan.cli.app import App
from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.cli.experiment_shown import experiment_document, show_experiment
from capstan.cli.options import Options
from capstan.errors import MissingToolError

if TYPE_CHECKING:
    from capstan.evaluation.experiments.findings import ExperimentAnalysis

app = App()
group = App(
    name="experiment",
    help="Experiments on users: what a log of assignments and outcomes says.",
    no_args_is_help=True,
    epilog="Example: capstan experiment analyze log.csv --metric revenue --time at",
)
app.add_typer(group)

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
        list[str], typer.Option(help="Column of an outcome: numbers, or true and false. May be repeated.")
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
        typer.Option("--slice", help="Column of groups of units, for looking only. May be repeated."),
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
    by: Annotated[
        str, typer.Option(help="What the test compares: Unit, or with --time Day or Hour.")
    ] = "Unit",
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
    zone: Annotated[str, typer.Option(help="Time zone of days, and of times without offset.")] = "UTC",
    plot: Annotated[
        Path | None, typer.Option(help="An .svg or .png file to draw to.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Effects with intervals, sample ratio and verdicts of an experiment, without a running system."""
    with honest_errors(as_json):
        # Other commands must not pay for duckdb, numpy and scipy at start-up.
        from capstan.domain.verdicts.experiments import Better, ExperimentRule, Test
        from capstan.evaluation.experiments.analysis import analyse
        from capstan.evaluation.experiments.columns import Aggregate, Block, Crossed, LogColumns, Missing
        from capstan.evaluation.experiments.log import read_units
        from capstan.evaluation.experiments.plan import ExperimentPlan

        options = Options()
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
            print_json(experiment_document(analysis))
        else:
            show_experiment(analysis, by)
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

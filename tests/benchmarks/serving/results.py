"""What the rounds measured, as one table with the goals beside it and as JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from contenders import CONTENDERS
from rich.table import Table

MLSERVERS = ("mlserver", "mlserver-default")


class Shape(NamedTuple):
    """Rows in each request, and connections that send them."""

    rows: int
    connections: int

    def __str__(self) -> str:
        return f"{self.rows} row{'s' if self.rows > 1 else ''}, {self.connections} conn."


LONELY, CROWD, BATCHES = Shape(1, 1), Shape(1, 16), Shape(100, 16)
SHAPES = (LONELY, CROWD, BATCHES)


@dataclass(frozen=True)
class Run:
    """One contender under one load in one round."""

    round: int
    contender: str
    shape: Shape
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    stalls: int
    """Answers that took more than 50 ms."""
    failures: int
    """Answers other than 200, and broken connections."""
    lost: int
    """Payloads that were counted as lost."""
    cpu_us: Mapping[str, float] = field(default_factory=dict)
    """Process -> microseconds of processor time per request, the model's server first."""


class Results:
    """All runs; ratios are made within a round, since a shared machine's speed changes between rounds."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def of(self, contender: str, shape: Shape) -> list[Run]:
        return [run for run in self.runs if (run.contender, run.shape) == (contender, shape)]

    def ratios(
        self, contender: str, others: Sequence[str], shape: Shape, value: Callable[[Run], float]
    ) -> list[float]:
        """Per round: the contender's value by the largest of the others'."""
        found = []
        for run in self.of(contender, shape):
            against = [value(r) for name in others for r in self.of(name, shape) if r.round == run.round]
            if against and max(against) > 0:
                found.append(value(run) / max(against))
        return found

    def table(self) -> Table:
        """A row per contender: medians [smallest-largest of the rounds]."""
        table = Table(title="Serving: requests per second; p50 / p99 in ms", show_lines=True, padding=(0, 1))
        table.add_column("")
        for shape in SHAPES:
            table.add_column(str(shape), justify="right")
        for heading in ("CPU µs a request", "x MLServer", "x bare", "faults"):
            table.add_column(heading, justify="right")
        for contender in CONTENDERS:
            if any(run.contender == contender.name for run in self.runs):
                table.add_row(contender.label, *self._cells(contender.name, contender.limit))
        table.caption = (
            "CPU and ratios: 1 row, 16 connections; ratios within a round. MLServer: the better of its two. "
            "Faults: answers other than 200, answers over 50 ms, payloads counted as lost."
        )
        return table

    def _cells(self, name: str, limit: str) -> Iterator[str]:
        for shape in SHAPES:
            yield self._speed(self.of(name, shape))
        crowd = self.of(name, CROWD)
        yield "\n".join(
            f"{part if number else ''} {_median(run.cpu_us.get(part, math.nan) for run in crowd):,.0f}".strip()
            for number, part in enumerate(crowd[0].cpu_us if crowd else ())
        )
        # MLServer serves the regression only.
        for others in (MLSERVERS if limit == "bare" else (), (limit,)):
            yield _spread(self.ratios(name, others, CROWD, lambda run: run.rps), "{:.2f}")
        runs = [run for run in self.runs if run.contender == name]
        counts = {
            "not 200": sum(run.failures for run in runs),
            "> 50 ms": sum(run.stalls for run in runs if run.shape != BATCHES),
            "lost": sum(run.lost for run in runs),
        }
        yield "\n".join(f"{count:,} {what}" for what, count in counts.items() if count) or "0"

    @staticmethod
    def _speed(runs: Sequence[Run]) -> str:
        if not runs:
            return ""
        delays = [_median(values) for values in ((r.p50_ms for r in runs), (r.p99_ms for r in runs))]
        return f"{_spread([run.rps for run in runs], '{:,.0f}')}\n{delays[0]:.2f} / {delays[1]:.1f}"

    def goals(self) -> Table:
        """What was aimed at (facts of the peers: CONTRIBUTING), and what was reached here."""
        table = Table(title="Goals")
        for heading, justify in (("", "left"), ("goal", "right"), ("measured", "right"), ("reached", "left")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for goal in self._goals():
            if goal.values:
                reached = goal.reached(statistics.median(goal.values))
                table.add_row(
                    goal.what, goal.wanted, _spread(goal.values, goal.form), "yes" if reached else "no"
                )
        return table

    def _goals(self) -> Iterator[_Goal]:
        def speed(run: Run) -> float:
            return run.rps

        for shape in (LONELY, CROWD):
            for name, what in (("native-log", "native"), ("v2-log", "V2")):
                by_mlserver = self.ratios(name, MLSERVERS, shape, speed)
                yield _Goal(
                    f"{what} + log / MLServer's best, {shape}", by_mlserver, "≥ 1.25", lambda x: x >= 1.25
                )
                by_bare = self.ratios(name, ("bare",), shape, speed)
                yield _Goal(f"{what} + log / bare, {shape}", by_bare, "≥ 0.60", lambda x: x >= 0.6)
        by_bare = self.ratios("trees-log", ("bare-trees",), CROWD, speed)
        yield _Goal(f"trees, native + log / bare, {CROWD}", by_bare, "≥ 0.60", lambda x: x >= 0.6)
        by_bare = self.ratios("native-log", ("bare",), BATCHES, speed)
        yield _Goal(f"native + log / bare, {BATCHES}", by_bare, "≥ 0.45", lambda x: x >= 0.45)
        lost = [float(run.lost) for run in self.of("native-log", BATCHES)]
        yield _Goal(f"payloads lost, {BATCHES}", lost, "0", lambda x: max(lost) == 0, "{:.0f}")
        yield _Goal(
            f"Envoy: p50 added, ms, {LONELY}",
            self._added("envoy", "native-log"),
            "≤ 0.30",
            lambda x: x <= 0.3,
        )
        mirrored = self.ratios("mirror", ("envoy",), CROWD, speed)
        yield _Goal(f"mirror on / off, {CROWD}", mirrored, "≥ 0.90", lambda x: x >= 0.9)
        own = [c.name for c in CONTENDERS if c.label.startswith(("Capstan", "…")) or c.name == "trees-log"]
        longest = [run.max_ms for run in self.runs if run.contender in own and run.shape != BATCHES]
        yield _Goal("longest answer of Capstan, ms", longest, "≤ 50", lambda x: max(longest) <= 50, "{:.1f}")

    def _added(self, contender: str, base: str) -> list[float]:
        return [
            run.p50_ms - other.p50_ms
            for run in self.of(contender, LONELY)
            for other in self.of(base, LONELY)
            if other.round == run.round
        ]

    def document(self, about: Mapping[str, object]) -> dict[str, Any]:
        """For --json."""
        runs = [{**asdict(run), "shape": run.shape._asdict()} for run in self.runs]
        goals = [
            {
                "what": goal.what,
                "goal": goal.wanted,
                "values": goal.values,
                "median": statistics.median(goal.values),
                "reached": bool(goal.reached(statistics.median(goal.values))),
            }
            for goal in self._goals()
            if goal.values
        ]
        return {**about, "goals": goals, "runs": runs}


@dataclass(frozen=True)
class _Goal:
    what: str
    values: list[float]
    wanted: str
    reached: Callable[[float], bool]
    """Of the median."""
    form: str = "{:.2f}"


def _median(values: Any) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return statistics.median(numbers) if numbers else math.nan


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    low, middle, high = (
        form.format(value) for value in (min(values), statistics.median(values), max(values))
    )
    return middle if len(values) == 1 else f"{middle} [{low}–{high}]"

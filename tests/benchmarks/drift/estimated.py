"""Estimated beside true quality on a recorded year, month by month.

It backtests the example of flight delays and takes what the monitor told of each window. `--write` puts the table and
the picture into the page of estimated performance; without it the table is printed. `--told FILE` reads the JSON of a
`capstan backtest --json` that is there already.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.experiments.simulated.table import Table, put_between  # noqa: E402

PAGE = ROOT / "platform" / "docs" / "estimated-performance.md"
PICTURE = ROOT / "platform" / "docs" / "pictures" / "estimated.png"
EXAMPLE = ROOT / "examples" / "flight-delays" / "system.yaml"
BEGIN, END = "<!-- flights: begin -->", "<!-- flights: end -->"
COLUMNS = ("month", "windows", "estimated", "true", "mean miss", "held", "unsure")


@dataclass(frozen=True)
class Met:
    """A window whose estimate has met its truth."""

    end: datetime
    value: float
    low: float
    high: float
    truth: float
    is_sure: bool

    @property
    def held(self) -> bool:
        return self.low <= self.truth <= self.high


def met_of(windows: Sequence[Mapping[str, Any]]) -> list[Met]:
    """Those of the monitor's windows in which there is an interval and a truth, oldest first."""
    found = []
    for window in windows:
        one = window.get("estimate")
        if one and one["truth"] is not None and one["low"] is not None:
            end = datetime.fromisoformat(window["end"])
            found.append(Met(end, one["value"], one["low"], one["high"], one["truth"], one["is_sure"]))
    return sorted(found, key=lambda one: one.end)


def table_of(met: Sequence[Met], windows: int) -> Table:
    months: dict[str, list[Met]] = defaultdict(list)
    for one in met:
        months[f"{one.end:%Y-%m}"].append(one)
    rows = [_row(month, found) for month, found in months.items()]
    sure = [one for one in met if one.is_sure]
    held = sum(one.held for one in sure)
    unsure = [one for one in met if not one.is_sure]
    promised = f"({held / max(1, len(sure)):.0%}, where 95 % are promised)"
    note = (
        f"{windows} windows were closed; in {len(met)} an estimate met its truth. Of {len(sure)} estimates that were "
        f"sure of themselves, {held} intervals held {promised}; of {len(unsure)} that were not, "
        f"{sum(one.held for one in unsure)}. The error of the estimate (root of the mean square) was "
        f"{_error([one.value - one.truth for one in met]):.3f}; that of repeating the last truth "
        f"{_error(_naive(met)):.3f}."
    )
    return Table("", COLUMNS, (*rows, _row("all", met)), note)


def _row(name: str, found: Sequence[Met]) -> tuple[str, ...]:
    def mean(values: Sequence[float]) -> str:
        return f"{sum(values) / len(values):.3f}"

    return (
        name,
        str(len(found)),
        mean([one.value for one in found]),
        mean([one.truth for one in found]),
        f"{sum(one.truth - one.value for one in found) / len(found):+.3f}",
        f"{sum(one.held for one in found)} of {len(found)}",
        str(sum(not one.is_sure for one in found)),
    )


def _naive(met: Sequence[Met]) -> list[float]:
    return [before.truth - after.truth for before, after in pairwise(met)]


def _error(misses: Sequence[float]) -> float:
    return math.sqrt(sum(miss**2 for miss in misses) / max(1, len(misses)))


def draw(met: Sequence[Met], metric: str, file: Path) -> None:
    """The estimate with its interval, and the truth of each window."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    ends = [one.end for one in met]
    axes.fill_between(
        ends, [one.low for one in met], [one.high for one in met], alpha=0.25, label="95 % interval"
    )
    axes.plot(ends, [one.value for one in met], label="estimated, before labels")
    for held, colour, label in ((True, "black", "true: within"), (False, "crimson", "true: outside")):
        some = [one for one in met if one.held is held]
        axes.plot(
            [one.end for one in some], [one.truth for one in some], "o", ms=4, color=colour, label=label
        )
    unsure = [one for one in met if not one.is_sure]
    axes.plot(
        [one.end for one in unsure],
        [one.low for one in unsure],
        "x",
        color="grey",
        label="the estimate was unsure",
    )
    axes.set_ylabel(metric)
    axes.legend(fontsize=8, ncols=3, loc="upper left")
    figure.savefig(file, dpi=100)


def told() -> dict[str, Any]:
    """A backtest of the example, in minutes."""
    if not (EXAMPLE.parent / "data" / "flights.parquet").exists():
        subprocess.run([sys.executable, "prepare.py"], cwd=EXAMPLE.parent, check=True)
    command = [sys.executable, "-m", "capstan", "backtest", EXAMPLE.name, "--json"]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, cwd=EXAMPLE.parent, check=True, stdout=-1).stdout
    )
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="put table and picture into the page")
    arguments.add_argument("--told", type=Path, help="JSON of a backtest")
    chosen = arguments.parse_args()
    document = json.loads(chosen.told.read_text()) if chosen.told else told()
    windows = windows_in(document)
    met = met_of(windows)
    table = table_of(met, len(windows)).markdown()
    if not chosen.write:
        print(table)
        return
    PAGE.write_text(put_between(PAGE.read_text(), BEGIN, END, f"{BEGIN}\n\n{table}\n{END}"))
    draw(met, next(one["estimate"]["metric"] for one in windows if one.get("estimate")), PICTURE)


def windows_in(document: Any) -> list[dict[str, Any]]:
    """The windows of the first policy that the JSON tells."""
    if isinstance(document, dict):
        if "windows_told" in document:
            return list(document["windows_told"])
        parts: Any = document.values()
    elif isinstance(document, list):
        parts = document
    else:
        return []
    return next((found for part in parts if (found := windows_in(part))), [])


if __name__ == "__main__":
    main()

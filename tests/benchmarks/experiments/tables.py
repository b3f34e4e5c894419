"""The simulation tables of the docs: what the product's statistics and naive practice do when the truth is known.

`--write` puts them into their pages, each between its marks; without it they are printed. The same seeds give the same
tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.experiments.simulated.bandit_means import POLICIES as MEANS_OF  # noqa: E402
from benchmarks.experiments.simulated.bandit_means import bandit_means  # noqa: E402
from benchmarks.experiments.simulated.correlated_days import CORRELATIONS, correlated_days  # noqa: E402
from benchmarks.experiments.simulated.false_positives import false_positives  # noqa: E402
from benchmarks.experiments.simulated.guarded import POLICIES, USERS, guarded  # noqa: E402
from benchmarks.experiments.simulated.interleaved import RANKERS, interleaved  # noqa: E402
from benchmarks.experiments.simulated.merged_days import CORRELATIONS as MERGED_OF  # noqa: E402
from benchmarks.experiments.simulated.merged_days import merged_days  # noqa: E402
from benchmarks.experiments.simulated.mismatch import SPLITS, mismatch  # noqa: E402
from benchmarks.experiments.simulated.outcomes import SCENARIOS  # noqa: E402
from benchmarks.experiments.simulated.power import cases, power  # noqa: E402
from benchmarks.experiments.simulated.regret import ARMS, RULES, regret  # noqa: E402
from benchmarks.experiments.simulated.suspicions import LEVELS, WORSE, looks_worse, suspicion_levels  # noqa: E402
from benchmarks.experiments.simulated.table import RUNS, Table, put_between  # noqa: E402
from benchmarks.experiments.simulated.ways_to_merge import LONGER, WAYS, found_in_time, ways_to_merge  # noqa: E402

DOCS = ROOT / "platform" / "docs"
EXPERIMENTS, VERDICTS = DOCS / "experiments.md", DOCS / "verdicts.md"
DECISION = DOCS / "decisions" / "verdict-on-day-blocks.md"
COMMAND = "python tests/benchmarks/experiments/tables.py --write --only"


@dataclass(frozen=True)
class Made:
    """A table of the docs."""

    page: Path
    make: Callable[..., Table]
    """Of the number of runs, and of who is told that so many more are done."""
    rows: int
    """Rows of so many runs."""


TABLES = {
    "false-positives": Made(EXPERIMENTS, false_positives, len(SCENARIOS)),
    "correlated-days": Made(EXPERIMENTS, correlated_days, len(CORRELATIONS)),
    "power": Made(EXPERIMENTS, power, len(cases())),
    "mismatch": Made(EXPERIMENTS, mismatch, len(SPLITS)),
    "interleaved": Made(EXPERIMENTS, interleaved, len(RANKERS)),
    "regret": Made(EXPERIMENTS, regret, len(ARMS) * len(RULES)),
    "guarded": Made(EXPERIMENTS, guarded, len(USERS) * len(POLICIES)),
    "looks-worse": Made(VERDICTS, looks_worse, len(WORSE)),
    "merged-days": Made(VERDICTS, merged_days, len(MERGED_OF)),
    "bandit-means": Made(DOCS / "bandits.md", bandit_means, len(MEANS_OF)),
    "suspicion-levels": Made(DECISION, suspicion_levels, len(LEVELS)),
    "ways-to-merge": Made(DECISION, ways_to_merge, len(WAYS)),
    "found-in-time": Made(DECISION, found_in_time, len(LONGER)),
}
"""By name."""


def main() -> int:
    """Make the tables one after another, each told while it is made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="Simulated experiments of each row.")
    parser.add_argument("--only", default=",".join(TABLES), help="Names of tables, with commas.")
    parser.add_argument("--write", action="store_true", help="Put them into their pages.")
    options = parser.parse_args()
    names = options.only.split(",")
    if strange := [name for name in names if name not in TABLES]:
        parser.error(f"--only: {strange[0]!r} is none of {', '.join(TABLES)}")
    if options.runs < 1:
        parser.error(f"--runs: {options.runs} must be at least 1")
    for name, table in _made(names, options.runs):
        text = in_page(name, table.markdown())
        if options.write:
            page = TABLES[name].page
            page.write_text(replaced(page.read_text(), name, text))
            print(f"{name}: written to {page.relative_to(ROOT)}", flush=True)
        else:
            print(text, flush=True)
    return 0


def in_page(name: str, table: str) -> str:
    """The table between its marks, with the command that makes it."""
    begin, end = marks(name)
    return f"{begin}\n\n{table.rstrip()} Made by `{COMMAND} {name}`.\n\n{end}"


def marks(name: str) -> tuple[str, str]:
    return f"<!-- simulated {name}: begin -->", f"<!-- simulated {name}: end -->"


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text in place of the table's; raises ValueError where the marks do not stand there once."""
    begin, end = marks(name)
    return put_between(page, begin, end, text)


def _made(names: list[str], runs: int) -> Iterator[tuple[str, Table]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:16}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for name in names:
            rows = TABLES[name].rows
            task = progress.add_task(name, total=rows * runs)
            started = time.monotonic()
            table = TABLES[name].make(runs, lambda done, task=task: progress.advance(task, done))
            progress.remove_task(task)
            console.print(f"{name}: {rows} rows of {runs:,} runs in {time.monotonic() - started:.0f} s")
            yield name, table


if __name__ == "__main__":
    sys.exit(main())

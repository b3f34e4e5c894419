"""The simulation tables of the docs: what the product's statistics and naive practice do when the truth is known.

`--write` puts them into the page of experiments; without it they are printed. The same seeds give the same tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.experiments.simulated.correlated_days import CORRELATIONS, correlated_days  # noqa: E402
from benchmarks.experiments.simulated.false_positives import false_positives  # noqa: E402
from benchmarks.experiments.simulated.guarded import POLICIES, USERS, guarded  # noqa: E402
from benchmarks.experiments.simulated.interleaved import RANKERS, interleaved  # noqa: E402
from benchmarks.experiments.simulated.mismatch import SPLITS, mismatch  # noqa: E402
from benchmarks.experiments.simulated.outcomes import SCENARIOS  # noqa: E402
from benchmarks.experiments.simulated.power import cases, power  # noqa: E402
from benchmarks.experiments.simulated.regret import ARMS, RULES, regret  # noqa: E402
from benchmarks.experiments.simulated.table import RUNS, Table  # noqa: E402

PAGE = ROOT / "platform" / "docs" / "experiments.md"
BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
TABLES = {
    "false-positives": (false_positives, len(SCENARIOS)),
    "correlated-days": (correlated_days, len(CORRELATIONS)),
    "power": (power, len(cases())),
    "mismatch": (mismatch, len(SPLITS)),
    "interleaved": (interleaved, len(RANKERS)),
    "regret": (regret, len(ARMS) * len(RULES)),
    "guarded": (guarded, len(USERS) * len(POLICIES)),
}
"""Name -> what makes it, and how many rows of runs it takes."""


def main() -> int:
    """Make the tables one after another, each told while it is made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="Simulated experiments of each row.")
    parser.add_argument("--only", default=",".join(TABLES), help="Names of tables, with commas.")
    parser.add_argument("--write", action="store_true", help="Put them into the page of experiments.")
    options = parser.parse_args()
    names = options.only.split(",")
    if strange := [name for name in names if name not in TABLES]:
        parser.error(f"--only: {strange[0]!r} is none of {', '.join(TABLES)}")
    if options.write and set(names) != set(TABLES):
        parser.error("--write: the page holds all tables; leave --only out")
    if options.runs < 1:
        parser.error(f"--runs: {options.runs} must be at least 1")
    texts = []
    for table in _made(names, options.runs):
        texts.append(table.markdown())
        if not options.write:
            print(texts[-1], flush=True)
    if not options.write:
        return 0
    text = "\n".join(texts)
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
    print(f"written to {PAGE.relative_to(ROOT)}")
    return 0


def _made(names: list[str], runs: int) -> Iterator[Table]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:16}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for name in names:
            make, rows = TABLES[name]
            task = progress.add_task(name, total=rows * runs)
            started = time.monotonic()
            table = make(runs, lambda done, task=task: progress.advance(task, done))
            progress.remove_task(task)
            console.print(f"{name}: {rows} rows of {runs:,} runs in {time.monotonic() - started:.0f} s")
            yield table


if __name__ == "__main__":
    sys.exit(main())

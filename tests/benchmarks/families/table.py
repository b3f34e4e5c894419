"""What each family of models costs: family x task x {seconds of a fit, time of one row, size}, for the docs.

`--write` puts the table into platform/docs/families.md, between its marks; without it it is printed. Rows are made up:
20 columns, of which three are categories. Run it on a machine that does nothing else; the load average stands below.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from capstan.evaluation.metrics import evaluate
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import Task, task_with
from capstan.training.cases import Cases
from capstan.training.cost import row_seconds, size_of
from capstan.training.fitting import fit_candidate, predict

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "platform" / "docs" / "families.md"
BEGIN, END = "<!-- measured families: begin -->", "<!-- measured families: end -->"
COMMAND = "python tests/benchmarks/families/table.py --write"
NUMBERS, CATEGORIES = 17, 3
GROUP_ROWS = 10
SETTINGS: dict[str, dict[str, Any]] = {
    "voting": {"of": ["line", "trees"]},
    "stacking": {"of": ["line", "trees"]},
    "bagging": {"of": "tree"},
    "distil": {"of": "trees", "into": "tree"},
}
LIKE_OTHERS = ("custom", "search", "fineTune")
"""Families whose models are of another family, or a person's own."""
MEMBERS = {
    "tree": {"decisionTree": {}},
    "trees": {"gradientBoosting": {}},
}
UNUSUAL = 0.05
"""Share of the rows whose numbers spread more than those of the others, for who looks for such."""
NAMES = [f"n{number}" for number in range(NUMBERS)]
KINDS = [f"c{number}" for number in range(CATEGORIES)]
FEATURES = TypeAdapter(list[Feature]).validate_python(
    [{"name": name, "numeric": {"scale": "ZScore"}} for name in NAMES]
    + [{"name": name, "categorical": {"encode": "OneHot"}} for name in KINDS]
)


def cases(task: Task, rows: int, seed: int) -> Cases:
    """Numbers with bent and joint effects, and categories of 3, 10 and 40 values."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, NUMBERS))
    codes = [rng.integers(0, size, rows) for size in (3, 10, 40)]
    effects = [np.random.default_rng(at).normal(size=size) for at, size in enumerate((3, 10, 40))]
    score = (
        numbers[:, 0] - 0.5 * numbers[:, 1] + np.sin(2 * numbers[:, 2]) + 0.7 * numbers[:, 3] * numbers[:, 4]
    )
    score += 0.5 * sum(effect[code] for effect, code in zip(effects, codes, strict=True))
    score += rng.logistic(0, 0.7, rows)
    label = task.facts.label
    is_unusual = rng.random(rows) < UNUSUAL
    if label == "Anomaly":
        numbers = numbers * np.where(is_unusual, 1.5, 1.0)[:, None]
    lump = rng.integers(0, 4, rows)
    if label == "Cluster":
        numbers[:, :3] += 4 * np.eye(4, 3)[lump]
    table = pa.table(
        {
            **{name: numbers[:, at] for at, name in enumerate(NAMES)},
            **{name: [f"v{one}" for one in code] for name, code in zip(KINDS, codes, strict=True)},
        }
    )
    if label == "Boolean":
        truth: Any = score > 1
    elif label == "Anomaly":
        truth = is_unusual.astype(np.float64)
    elif label == "Cluster":
        truth = np.array(["a", "b", "c", "d"])[lump]
    elif label == "Number":
        truth = score
    else:
        levels = np.digitize(score, [-1.0, 1.0, 3.0])
        truth = levels if label == "Relevance" else np.array(["none", "low", "mid", "high"])[levels]
    return Cases(task, table, truth, np.arange(rows) // GROUP_ROWS if label == "Relevance" else None)


def measured(family: str, task: Task, rows: int) -> tuple[str, ...]:
    """The cells of one family and task."""
    train, later = cases(task, rows, 1), cases(task, 4000, 2)
    candidate = Candidate.model_validate({"name": "one", family: SETTINGS.get(family, {})})
    line = "logisticRegression" if train.task.facts.label in ("Boolean", "Category") else "linearRegression"
    others = [
        Candidate.model_validate({"name": name, **one})
        for name, one in {**MEMBERS, "line": {line: {}}}.items()
    ]
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit_candidate(candidate, FEATURES, train, seed=0, others=others)
    seconds = time.process_time() - started
    metric = task.facts.metric(task.facts.chosen_by).name
    value = evaluate(task, later.truth, predict(task, fitted.pipeline, later.table), later.groups)[metric]
    row = row_seconds(fitted.pipeline, later.table)
    notes = "; ".join(note.partition(": ")[2].partition(";")[0] for note in fitted.warnings)
    return (
        f"`{family}`",
        task.facts.name,
        f"{metric} {value:.3f}",
        f"{seconds:.1f}",
        "" if row is None else f"{row * 1e6:,.0f}",
        f"{size_of(fitted.pipeline) / 2**10:,.0f}",
        notes.partition("Warning: ")[2] or notes,
    )


def lines(rows: int, only: list[str] | None) -> Iterator[str]:
    yield "| family | task | on later rows | fit, s | one row, µs | size, KiB | |"
    yield "|---|---|---|---|---|---|---|"
    for family, settings in Candidate.families().items():
        if family in LIKE_OTHERS or (only is not None and family not in only):
            continue
        for name, facts in TASK_FACTS.items():
            if facts.label not in settings.learns:
                continue
            cells = measured(family, task_with(facts.label), rows)
            print(f"{name}: {' '.join(cells)}", file=sys.stderr, flush=True)
            yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Put the table into its page.")
    parser.add_argument("--rows", type=int, default=5_000, help="Training rows.")
    parser.add_argument("--only", nargs="*", help="Families.")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    table = "\n".join(lines(options.rows, options.only))
    load = f"{before:.1f} to {os.getloadavg()[0]:.1f}"
    text = (
        f"{table}\n\n{options.rows:,} training rows of {NUMBERS} numbers and {CATEGORIES} one-hot categories; 4,000 "
        f"later ones. For AnomalyDetection {UNUSUAL:.0%} of the rows are unusual: their numbers spread 1.5 times as "
        "far. "
        f"One thread, {os.cpu_count()} cores under a load average of {load}. Default settings; voting and "
        "stacking are of a linear model and boosted trees, bagging is of a decision tree. Seconds are of processor "
        "time. One row: the median through transform and model in the process, without HTTP. "
        f"Made by `{COMMAND}`."
    )
    if not options.write:
        print(text)
        return
    page = PAGE.read_text()
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:begin]}\n\n{text}\n\n{page[end:]}")


if __name__ == "__main__":
    main()

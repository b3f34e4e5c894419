"""Boosted trees on a million rows of 19 numbers: Capstan's whole fit beside bare LightGBM and bare scikit-learn.

Each fit is a fresh process. The contenders take turns in each round, so that a slow minute of the machine hits all.
The settings are the same: 100 trees of 31 leaves, at least 20 rows a leaf, a step of 0.1, 255 bins.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS, LATER = 19, 100_000
TREES, LEAVES, LEAF_ROWS, STEP, BINS = 100, 31, 20, 0.1, 255
NAMES = [f"n{number}" for number in range(COLUMNS)]
Fit = Callable[[], Callable[[Any], Any]]
"""Learns, and returns what gives a probability for each row of a matrix."""


def rows(count: int, seed: int) -> tuple[Any, Any]:
    """Numbers with bent and joint effects, and whether the score is high."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS))
    score = matrix[:, 0] - 0.5 * matrix[:, 1] + np.sin(2 * matrix[:, 2]) + 0.7 * matrix[:, 3] * matrix[:, 4]
    return matrix, score + rng.logistic(0, 0.7, count) > 1


def capstan(matrix: Any, truth: Any, threads: int) -> Fit:
    import pyarrow as pa
    from pydantic import TypeAdapter

    from capstan.spec.families import Candidate
    from capstan.spec.features import Feature
    from capstan.tasks import task_with
    from capstan.training.cases import Cases
    from capstan.training.fitting import fit_candidate

    settings = {"iterations": TREES, "leaves": LEAVES, "leafRows": LEAF_ROWS, "learningRate": STEP}
    candidate = Candidate.model_validate({"name": "trees", "gradientBoosting": settings})
    features = TypeAdapter(list[Feature]).validate_python([{"name": name, "numeric": {}} for name in NAMES])
    cases = Cases(task_with("Boolean"), pa.table(dict(zip(NAMES, matrix.T, strict=True))), truth)

    def fit() -> Callable[[Any], Any]:
        pipeline = fit_candidate(candidate, features, cases, seed=0, threads=threads).pipeline
        return lambda later: pipeline.predict_proba(pa.table(dict(zip(NAMES, later.T, strict=True))))[:, 1]

    return fit


def lightgbm(matrix: Any, truth: Any, threads: int) -> Fit:
    from lightgbm import Dataset, train

    settings = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "min_data_in_leaf": LEAF_ROWS,
        "min_sum_hessian_in_leaf": 0.0,
        "learning_rate": STEP,
        "max_bin": BINS,
        "num_threads": threads,
        "seed": 0,
        "verbose": -1,
    }

    def fit() -> Callable[[Any], Any]:
        model = train(settings, Dataset(matrix, truth, params={"verbose": -1}), TREES)
        return lambda later: model.predict(later, num_threads=threads)

    return fit


def sklearn(matrix: Any, truth: Any, threads: int) -> Fit:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAF_ROWS,
        learning_rate=STEP,
        max_bins=BINS,
        early_stopping=False,
        random_state=0,
    )

    def fit() -> Callable[[Any], Any]:
        with threadpool_limits(threads):
            model.fit(matrix, truth)
        return lambda later: model.predict_proba(later)[:, 1]

    return fit


CONTENDERS = {"capstan": capstan, "lightgbm": lightgbm, "sklearn": sklearn}


def area(truth: Any, said: Any) -> float:
    """ROC-AUC by ranks; no two answers are the same but by chance."""
    ranks = np.empty(len(said))
    ranks[np.argsort(said)] = np.arange(1, len(said) + 1)
    positives = int(truth.sum())
    return float(
        (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives))
    )


def one(name: str, count: int, threads: int) -> dict[str, float]:
    """Seconds of the fit, of the clock and of processors, without making the rows, and how good it is."""
    fit = CONTENDERS[name](*rows(count, 1), threads)
    wall, cpu = time.perf_counter(), time.process_time()
    predict = fit()
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    later, truth = rows(LATER, 2)
    return {**found, "rocAuc": area(truth, predict(later))}


def measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    """The same in a process of its own; of LightGBM in an environment of its own."""
    python = sys.executable
    if name == "lightgbm":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from peers import environment

        python = str(environment(name) / "python")
    asked = ["--one", name, "--rows", str(options.rows), "--threads", str(options.threads)]
    said = subprocess.run([python, __file__, *asked], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(said.stdout)
    print(f"{name}: {found}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="Of each contender.")
    parser.add_argument("--one", choices=CONTENDERS, help="Of this process alone, as JSON.")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.rows, options.threads)))
        return
    names = list(CONTENDERS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(options.rounds):
        # Nobody is always the first.
        for name in names[number % 3 :] + names[: number % 3]:
            found[name].append(measured(name, options))
    print(f"{options.rows:,} rows x {COLUMNS}, {options.threads} threads, load {os.getloadavg()[0]:.1f}\n")
    print("| | fit, s | CPU s | CPU beside LightGBM | ROC-AUC |\n|---|---|---|---|---|")
    for name in names:
        wall, cpu, value = (
            statistics.median(run[key] for run in found[name]) for key in ("wall", "cpu", "rocAuc")
        )
        ratios = [run["cpu"] / bare["cpu"] for run, bare in zip(found[name], found["lightgbm"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {spread} | {value:.4f} |")


if __name__ == "__main__":
    main()

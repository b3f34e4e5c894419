"""A log of a million assignments and outcomes, analysed by the command: seconds and peak memory.

The goals are under 10 s and 1 GiB on two cores. `--units` sets the size, `--quick` takes a fiftieth of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

GOAL_SECONDS, GOAL_MEMORY = 10.0, 2**30
OPTIONS = ("--unit", "user", "--metric", "revenue", "--time", "at", "--shares", "control=50,treatment=50")
CASES = {
    "one metric, looks by day": OPTIONS,
    "two metrics, CUPED, slices": (
        *OPTIONS,
        "--metric",
        "bought",
        "--covariate",
        "before",
        "--slice",
        "land",
    ),
    "Mann-Whitney": (*OPTIONS, "--test", "MannWhitney"),
    "summed over rows": (*OPTIONS, "--aggregate", "Sum"),
}


def write_log(folder: Path, units: int) -> dict[str, Path]:
    """The same log as CSV and Parquet, in the order in which nothing is sorted."""
    rng = np.random.default_rng(0)
    arm = rng.integers(0, 2, units)
    before = rng.normal(10, 2, units)
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 21 * 86_400, units), unit="s")
    table = pd.DataFrame(
        {
            "user": [f"user-{one:08d}" for one in rng.permutation(units)],
            "arm": np.where(arm, "treatment", "control"),
            "revenue": (before + rng.normal(0, 1, units) + 0.02 * arm).round(4),
            "bought": (rng.random(units) < 0.05).astype(int),
            "before": before.round(4),
            "at": at,
            "land": rng.choice(["DE", "FR", "US"], units),
        }
    )
    paths = {"csv": folder / "log.csv", "parquet": folder / "log.parquet"}
    table.to_csv(paths["csv"], index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    table.to_parquet(paths["parquet"], index=False)
    return paths


def measured(log: Path, options: tuple[str, ...]) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds and peak bytes of one run of the command, start-up and all."""
    command = [sys.executable, "-m", "capstan", "experiment", "analyze", str(log), *options, "--json"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _RSS_UNIT


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> int:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--only", help="Cases whose name holds this text.")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    units = options.units // (50 if options.quick else 1)
    with tempfile.TemporaryDirectory(prefix="capstan-bench-") as folder:
        logs = write_log(Path(folder), units)
        print(f"{units:,} units; goals: under {GOAL_SECONDS:g} s and {GOAL_MEMORY / 2**20:,.0f} MiB")
        for kind, path in logs.items():
            for name, chosen in CASES.items():
                if options.only and options.only not in f"{kind}, {name}":
                    continue
                wall, cpu, memory = measured(path, chosen)
                print(
                    f"{kind:8} {name:28} {wall:6.1f} s  {cpu:6.1f} CPU s  {memory / 2**20:6.0f} MiB",
                    flush=True,
                )
    print(f"load average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())

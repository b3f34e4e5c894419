"""Drift detectors side by side: Capstan's sketch and SciPy detector, alibi-detect, Evidently, NannyML.

`python tests/benchmarks/drift/run.py [--rounds 3] [--rows 10000,100000,1000000]`. Peers live in environments of their
own (made once by uv under ~/.cache/capstan/bench), each run is a fresh process on one core and one thread, rounds are
interleaved in shuffled order, and one call warms up before the one that is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import environment

from capstan.errors import CapstanError

HERE = Path(__file__).resolve().parent
OWN = ("capstan sketch", "capstan scipy", "alibi-detect")
PEERS = ("evidently", "nannyml")
SLOWEST = {"evidently": 100_000}
"""Largest size that is tried: Evidently needs 36 s for a million rows."""


def once(python: Path, method: str, rows: int) -> dict[str, object]:
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
    )
    told = subprocess.run(
        [str(python), str(HERE / "one.py"), method, str(rows)],
        env={**os.environ, **threads, "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise SystemExit(f"{method} failed:\n{told.stderr[-2000:]}")
    result: dict[str, object] = json.loads(told.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--rows", default="10000,100000,1000000")
    arguments.add_argument("--quick", action="store_true", help="one round, 10,000 and 100,000 rows")
    given = arguments.parse_args()
    if given.quick:
        given.rounds, given.rows = 1, "10000,100000"
    sizes = [int(rows) for rows in given.rows.split(",")]
    try:
        pythons = dict.fromkeys(OWN, Path(sys.executable)) | {
            peer: environment(peer) / "python" for peer in PEERS
        }
    except CapstanError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    runs: dict[tuple[str, int], list[dict[str, object]]] = {}
    plan = [(method, rows) for method in pythons for rows in sizes if rows <= SLOWEST.get(method, rows)]
    rng = random.Random(0)
    for number in range(given.rounds):
        rng.shuffle(plan)
        for method, rows in plan:
            print(f"round {number + 1}: {method}, {rows:,} rows", file=sys.stderr)
            runs.setdefault((method, rows), []).append(once(pythons[method], method, rows))
    print(table(runs, sizes))


def table(runs: dict[tuple[str, int], list[dict[str, object]]], sizes: list[int]) -> str:
    """Medians with the smallest and largest of the rounds; throughput in rows of 20 columns per CPU second."""
    lines = [
        "| method | rows | CPU s | rows per CPU s | x alibi-detect | peak MiB | KS off exact |",
        "|---|---|---|---|---|---|---|",
    ]
    methods = list(dict.fromkeys(method for method, _ in runs))
    for rows in sizes:
        exact = runs.get(("capstan scipy", rows), [{}])[0].get("distances")
        base = middle(runs, "alibi-detect", rows)
        for method in sorted(methods, key=lambda name: middle(runs, name, rows) or 1e9):
            found = runs.get((method, rows))
            if not found:
                continue
            cpu = sorted(float(str(run["cpu"])) for run in found)
            median = statistics.median(cpu)
            peak = max(float(str(run["peak"])) for run in found)
            ratio = f"{base / median:.2g}" if base else ""
            lines.append(
                f"| {method} | {rows:,} | {median:.3f} [{cpu[0]:.3f}-{cpu[-1]:.3f}] | {rows / median:,.0f} | {ratio} "
                f"| {peak:.0f} | {off(found[0].get('distances'), exact)} |"
            )
    return "\n".join(lines)


def middle(runs: dict[tuple[str, int], list[dict[str, object]]], method: str, rows: int) -> float | None:
    found = runs.get((method, rows))
    return statistics.median(float(str(run["cpu"])) for run in found) if found else None


def off(distances: object, exact: object) -> str:
    if not isinstance(distances, list) or not isinstance(exact, list) or len(distances) != len(exact):
        return ""
    return f"{max(abs(one - other) for one, other in zip(distances, exact, strict=True)):.5f}"


if __name__ == "__main__":
    main()

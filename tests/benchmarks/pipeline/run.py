"""What a step of the local pipeline costs beyond its own work: `kfp.local` as it comes, as Capstan uses it, Python.

The chains of no-op steps are interleaved in rounds; medians and spread are of seconds per step.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kfp import dsl, local
from rich.console import Console
from rich.table import Table

STEPS = 5


def step_as_it_comes() -> None:
    """Nothing."""


def chain(component: Callable[[], dsl.PipelineTask]) -> Callable[[], object]:
    """A pipeline of STEPS no-ops, one after another."""

    @dsl.pipeline(name="no-ops")
    def pipeline() -> None:
        before = None
        for _ in range(STEPS):
            task = component().set_caching_options(False)
            if before is not None:
                task.after(before)
            before = task

    return pipeline


def seconds(work: Callable[[], object]) -> float:
    """Per step."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return (time.perf_counter() - started) / STEPS


def bare() -> None:
    for _ in range(STEPS):
        subprocess.run([sys.executable, "-c", "pass"], check=True)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 2 if parser.parse_args().quick else 5
    image = "python:3.11-slim"
    default = dsl.component(step_as_it_comes, base_image=image)
    lean = dsl.component(step_as_it_comes, base_image=image, install_kfp_package=False)
    contenders: dict[str, Callable[[], object]] = {
        "bare `python -c pass`": bare,
        "kfp.local, install_kfp_package=False (Capstan)": chain(lean),
        "kfp.local as it comes": chain(default),
    }
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as root:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(Path(root)), raise_on_error=True)
        for number in range(rounds):
            for name, work in contenders.items():
                measured[name].append(seconds(work))
                print(f"round {number + 1} of {rounds}: {name}: {measured[name][-1]:.3f} s", file=sys.stderr)
    table = Table(title=f"seconds per no-op step, {rounds} rounds of {STEPS} steps")
    for heading in ("", "median", "min", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in measured.items():
        table.add_row(name, f"{statistics.median(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}")
    Console().print(table)
    Console().print("goal: 0.15 s for a step, besides its own imports")


if __name__ == "__main__":
    main()

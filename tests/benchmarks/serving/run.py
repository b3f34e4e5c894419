"""Model servers side by side: MLServer, MLflow, BentoML, a bare handler, and Capstan's service with all it can carry.

`python tests/benchmarks/serving/run.py [--rounds 3] [--seconds 3] [--only native,bare] [--quick] [--json FILE]`.
All servers stay up; in each round every contender is loaded once, in shuffled order. See README.md one folder up.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

sys.path.append(str(Path(__file__).resolve().parents[1]))

import machine
import orjson
from contenders import CONTENDERS, Contender, Fleet, Running
from results import SHAPES, Results, Run, Shape
from rich.console import Console

from capstan.errors import CapstanError

HERE = Path(__file__).resolve().parent
WARM_UP_SECONDS = 0.5


def main() -> int:
    """Print the tables; 130 after Ctrl-C, with what was measured until then."""
    options = _options()
    chosen = _chosen(options.only)
    signal.signal(signal.SIGTERM, _interrupt)
    results, processors, interrupted = Results(), machine.Processors(), False
    about = {"cores": os.cpu_count(), "machine": platform.platform(), "load_before": os.getloadavg()}
    with tempfile.TemporaryDirectory(prefix="capstan-bench-") as root:
        fleet = Fleet(Path(root), processors)
        try:
            with processors.on(processors.client):
                running = _started(fleet, chosen)
                _measure(fleet, running, results, options)
        except KeyboardInterrupt:
            interrupted = True
            tell("stopping everything")
        except CapstanError as error:
            tell(f"{type(error).__name__}: {error}")
            return 1
        finally:
            fleet.supervisor.stop_all(first=("envoy",), last=("collector",))
    console = Console(width=None if sys.stdout.isatty() else 150)
    if results.runs:
        console.print(results.table())
        console.print(results.goals())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    console.print(
        f"{options.rounds} rounds of {options.seconds:g} s; {processors.told()}; load at the end {load}"
    )
    if options.json:
        document = results.document({**about, "rounds": options.rounds, "seconds": options.seconds})
        options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return 130 if interrupted else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each run")
    parser.add_argument("--only", default="", help=f"some of {', '.join(c.name for c in CONTENDERS)}")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s: to try the benchmark itself")
    parser.add_argument("--json", type=Path, help="write all runs and goals here")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    return options


def _chosen(only: str) -> list[Contender]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {contender.name: contender for contender in CONTENDERS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"--only: {unknown[0]!r} is none of {', '.join(known)}")
    return [known[name] for name in names] or list(CONTENDERS)


def _started(fleet: Fleet, chosen: list[Contender]) -> Mapping[str, Running]:
    running = {}
    for contender in chosen:
        began = time.monotonic()
        running[contender.name] = contender.start(fleet)
        tell(f"{contender.label} is up after {time.monotonic() - began:.1f} s")
    return running


def _measure(
    fleet: Fleet, running: Mapping[str, Running], results: Results, options: argparse.Namespace
) -> None:
    rng = random.Random(0)
    plan = [(name, shape) for name in running for shape in SHAPES]
    for number in range(options.rounds):
        rng.shuffle(plan)
        for name, shape in plan:
            run = _one(fleet, running[name], name, shape, number, options.seconds)
            results.runs.append(run)
            faults = f", {run.failures} failed" if run.failures else ""
            tell(f"round {number + 1}/{options.rounds}: {name}, {shape}: {run.rps:,.0f}/s{faults}")


def _one(fleet: Fleet, target: Running, name: str, shape: Shape, number: int, seconds: float) -> Run:
    if target.split is not None:
        fleet.route(target.split)
    pids, lost = fleet.pids(target.processes), fleet.lost(target.logging)
    before = machine.cpu_seconds(pids)
    warm_up = min(WARM_UP_SECONDS, seconds / 2)
    arguments = (str(target.port), target.path, str(shape.connections), str(seconds), str(warm_up))
    told = subprocess.run(
        [sys.executable, str(HERE / "load.py"), *arguments],
        input=target.body(shape.rows),
        capture_output=True,
        check=False,
        timeout=seconds + 120,
    )
    if told.returncode:
        raise SystemExit(f"{name}: the client failed:\n{told.stderr.decode()[-2000:]}")
    fleet.drained(target.logging)
    # The pids are asked for again: a server that died under the load is told with its log, not measured as cheap.
    after = machine.cpu_seconds(fleet.pids(target.processes))
    measured = orjson.loads(told.stdout)
    sent = max(measured.pop("sent"), 1)
    cpu = {part: (after[part] - before[part]) / sent * 1e6 for part in before}
    return Run(number, name, shape, lost=fleet.lost(target.logging) - lost, cpu_us=cpu, **measured)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

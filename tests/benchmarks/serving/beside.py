"""Another commit's servers beside this one's, loaded in turn within one run: who answers more of the same requests?

`python tests/benchmarks/serving/beside.py FOLDER [--rounds 20] [--seconds 1] [--rows 1] [--only bare,v2-log]`, where
FOLDER is a checkout of the other commit after `make setup`. Each commit serves by its own code and its own
contenders.py. In each round every contender is loaded for a moment in both, in shuffled order, so that what else the
machine does meets both alike; ratios are made within a round.
"""

from __future__ import annotations

import argparse
import base64
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import machine
import orjson
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CONNECTIONS, WARM_UP_SECONDS = 16, 0.2
# Run by the Python of each commit. The end of its input is its order to stop.
HOLDER = """
import base64, json, sys, tempfile
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
import machine
from contenders import CONTENDERS, Fleet
with tempfile.TemporaryDirectory(prefix="capstan-bench-") as root:
    processors = machine.Processors()
    fleet = Fleet(Path(root), processors)
    try:
        with processors.on(processors.client):
            chosen = {c.name: c.start(fleet) for c in CONTENDERS if c.name in sys.argv[2].split(",")}
        pids = {name: fleet.pids(running.processes) for name, running in chosen.items()}
        told = {
            name: {
                "port": r.port, "path": r.path, "pids": pids[name],
                "body": base64.b64encode(r.body(int(sys.argv[3]))).decode(),
            }
            for name, r in chosen.items()
        }
        print(json.dumps(told), flush=True)
        sys.stdin.read()
    finally:
        fleet.supervisor.stop_all(first=("envoy",), last=("collector",))
"""


@dataclass(frozen=True)
class Taken:
    """What one short load of one contender measured."""

    rps: float
    cpu_us: float
    """Processor time of the model's server per request, microseconds, until its payloads are sent."""
    lost: int
    """Payloads that it counted as lost."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the other commit's checkout, with its .venv")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load")
    parser.add_argument("--rows", type=int, default=1, help="of each request")
    parser.add_argument("--only", default="native,native-log,v2,v2-log")
    options = parser.parse_args()
    names, processors, rng = options.only.split(","), machine.Processors(), random.Random(0)
    taken: dict[tuple[str, str], list[Taken]] = {}
    with ExitStack() as stack, processors.on(processors.client):
        sides = {
            side: stack.enter_context(_held(root, options.only, options.rows))
            for side, root in (("other", options.folder.resolve()), ("here", ROOT))
        }
        plan = [(side, name) for side in sides for name in names]
        for number in range(options.rounds):
            rng.shuffle(plan)
            for side, name in plan:
                taken.setdefault((side, name), []).append(_loaded(sides[side][name], options.seconds))
            print(f"round {number + 1}/{options.rounds}", file=sys.stderr, flush=True)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(_table(names, taken, options.rows))
    for side in sides:
        for line in _shares(side, names, taken):
            console.print(line)


@contextmanager
def _held(root: Path, only: str, rows: int) -> Iterator[dict[str, dict[str, Any]]]:
    """The commit's servers, up until the block ends: contender -> port, path, body, pids."""
    folder = root / "tests" / "benchmarks" / "serving"
    command = (str(root / ".venv" / "bin" / "python"), "-c", HOLDER, str(folder), only, str(rows))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            yield orjson.loads(_first_line(holder.stdout, root))
        finally:
            holder.communicate()


def _first_line(output: IO[bytes] | None, root: Path) -> bytes:
    line = output.readline() if output else b""
    if not line:
        raise SystemExit(f"the servers of {root} did not come up; their message is above")
    return line


def _loaded(target: dict[str, Any], seconds: float) -> Taken:
    server = dict(list(target["pids"].items())[:1])
    before, lost = machine.cpu_seconds(server), _lost(target["port"])
    arguments = (str(target["port"]), target["path"], str(CONNECTIONS), str(seconds), str(WARM_UP_SECONDS))
    told = subprocess.run(
        [sys.executable, str(HERE / "load.py"), *arguments],
        input=base64.b64decode(target["body"]),
        capture_output=True,
        check=True,
        timeout=seconds + 60,
    )
    measured = orjson.loads(told.stdout)
    if measured["failures"]:
        raise SystemExit(f"{measured['failures']} requests to {target['path']} failed: nothing was measured")
    # A log sends what it buffered; whoever has none answers at once.
    httpx.post(f"http://127.0.0.1:{target['port']}/payloads/drain", timeout=60, trust_env=False)
    spent = sum(machine.cpu_seconds(server).values()) - sum(before.values())
    return Taken(measured["rps"], spent / measured["sent"] * 1e6, _lost(target["port"]) - lost)


def _lost(port: int) -> int:
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, trust_env=False).text
    counts = [line for line in told.splitlines() if line.startswith("capstan_payloads_lost_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def _table(names: Sequence[str], taken: dict[tuple[str, str], list[Taken]], rows: int) -> Table:
    """Medians, and of the ratios the quartiles beside the median."""
    title = f"{rows} rows a request over 16 connections; ratios within a round: median [quartiles]"
    table = Table(title=title, expand=False)
    for header in (
        "",
        "requests/s other",
        "here",
        "here / other",
        "CPU µs other",
        "here",
        "requests per CPU second, here / other",
        "payloads lost other",
        "here",
    ):
        table.add_column(header, justify="right" if header else "left")
    for name in names:
        other, here = taken["other", name], taken["here", name]
        pairs = list(zip(other, here, strict=True))
        table.add_row(
            name,
            f"{statistics.median(t.rps for t in other):,.0f}",
            f"{statistics.median(t.rps for t in here):,.0f}",
            _told([h.rps / o.rps for o, h in pairs]),
            f"{statistics.median(t.cpu_us for t in other):.1f}",
            f"{statistics.median(t.cpu_us for t in here):.1f}",
            _told([o.cpu_us / h.cpu_us for o, h in pairs]),
            f"{sum(t.lost for t in other):,}",
            f"{sum(t.lost for t in here):,}",
        )
    return table


def _shares(side: str, names: Sequence[str], taken: dict[tuple[str, str], list[Taken]]) -> Iterator[str]:
    """Of one commit: each contender beside the bare limit, and what its log adds."""
    for name in names:
        own = taken[side, name]
        if "bare" in names and name != "bare":
            by_bare = [one.rps / bare.rps for one, bare in zip(own, taken[side, "bare"], strict=True)]
            yield f"{side}: {name} / bare, requests/s: {_told(by_bare)}"
        silent = name.removesuffix("-log")
        if silent != name and silent in names:
            pairs = list(zip(own, taken[side, silent], strict=True))
            added = [one.cpu_us - other.cpu_us for one, other in pairs]
            share = [one.cpu_us / other.cpu_us - 1 for one, other in pairs]
            yield f"{side}: the log of {silent} adds {_told(added)} µs of CPU, a share of {_told(share)}"


def _told(ratios: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f} [{low:.2f}-{high:.2f}]"


if __name__ == "__main__":
    main()

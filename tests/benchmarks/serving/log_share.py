"""What the payload log adds to the processor time of a model's server that answers one row a request at full load.

`python tests/benchmarks/serving/log_share.py [--rounds 5] [--seconds 10] [--only native,v2]`. py-spy looks at the
server 400 times a second: in which share of the looks does it run code of the log? Two servers, one with its log and
one without, cannot be compared for this: two processes of the same code already differ by more than the log adds, as
does one process from second to second on a shared machine. A share within one process does not depend on either.
Room that the log takes in the processor's caches is not in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import machine
from contenders import CONTENDERS, Fleet, Running
from peers import environment
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

HERE = Path(__file__).resolve().parent
CONNECTIONS, LOOKS = 16, 400
PARTS = {
    "a row into the buffer": (
        "PayloadLog.add",
        " add (capstan/serving/payload_log.py",
        "_is_flat (capstan/serving",
    ),
    "written and sent": ("capstan/serving/payload_log.py", "aiohttp/"),
}
"""Part of the log -> what one of the frames of a look says; the first that does."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of each load")
    parser.add_argument("--only", default="native,v2", help="some of native, v2, trees")
    options = parser.parse_args()
    names = [f"{name}-log" for name in options.only.split(",")]
    known, processors = {one.name: one for one in CONTENDERS}, machine.Processors()
    spy = environment("py-spy") / "py-spy"
    seen: dict[str, Counter[str]] = {name: Counter() for name in names}
    with tempfile.TemporaryDirectory(prefix="capstan-bench-") as root:
        fleet = Fleet(Path(root), processors)
        try:
            with processors.on(processors.client):
                running = {name: known[name].start(fleet) for name in names}
                for number in range(options.rounds):
                    for name, target in running.items():
                        seen[name] += _looked(fleet, target, spy, Path(root, "looks"), options.seconds)
                    print(f"round {number + 1}/{options.rounds}", file=sys.stderr, flush=True)
        finally:
            fleet.supervisor.stop_all(last=("collector",))
    Console(width=None if sys.stdout.isatty() else 150).print(_table(seen))
    return 0


def _looked(fleet: Fleet, target: Running, spy: Path, looks: Path, seconds: int) -> Counter[str]:
    """Looks at the server under load, by part of the log; "" for all else."""
    (pid,) = fleet.pids(target.processes[:1]).values()
    # The client loads the server for longer than the spy looks, whose start takes a moment.
    arguments = (str(target.port), target.path, str(CONNECTIONS), str(seconds + 2), "0.5")
    client = subprocess.Popen(
        [sys.executable, str(HERE / "load.py"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert client.stdin is not None
    client.stdin.write(target.body(1))
    client.stdin.close()
    time.sleep(1)
    options = ("--duration", str(seconds), "--rate", str(LOOKS), "--format", "raw", "--output", str(looks))
    command = (str(spy), "record", *options, "--pid", str(pid))
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if client.wait() or told.returncode:
        raise SystemExit(f"nothing was measured:\n{told.stderr[-2000:]}")
    fleet.drained(target.logging)
    found: Counter[str] = Counter()
    for line in looks.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        found[_part(frames)] += int(count)
    return found


def _part(frames: str) -> str:
    return next((part for part, said in PARTS.items() if any(text in frames for text in said)), "")


def _table(seen: dict[str, Counter[str]]) -> Table:
    table = Table(
        title=f"1 row a request over {CONNECTIONS} connections: share of the server's processor time"
    )
    for header in ("", "looks", *PARTS, "log", "adds to the rest [95 %]"):
        table.add_column(header, justify="right" if header else "left")
    for name, counts in seen.items():
        looks = counts.total()
        share = binomtest(looks - counts[""], looks).proportion_ci()
        table.add_row(
            name,
            f"{looks:,}",
            *(f"{counts[part] / looks:.1%}" for part in PARTS),
            f"{1 - counts[''] / looks:.1%}",
            f"{looks / counts[''] - 1:.1%} [{share.low / (1 - share.low):.1%}-{share.high / (1 - share.high):.1%}]",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

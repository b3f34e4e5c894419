"""All benchmarks, one after another: `make bench`. `--only serving,drift,...` chooses, `--quick` shortens."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ("pipeline", "drift", "experiments", "posting", "serving", "operator")


def main() -> int:
    """Run the chosen parts; the exit code is the first that was not 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="Fewer rounds: for trying the benchmark itself.")
    options = parser.parse_args()
    worst = 0
    for part in options.only.split(","):
        if part not in PARTS:
            parser.error(f"--only: {part!r} is none of {', '.join(PARTS)}")
        started = time.monotonic()
        print(f"== {part}", flush=True)
        command = [sys.executable, str(HERE / part / "run.py"), *(["--quick"] if options.quick else [])]
        code = subprocess.run(command, check=False).returncode
        print(f"== {part} took {time.monotonic() - started:.0f} s", flush=True)
        worst = worst or code
    return worst


if __name__ == "__main__":
    sys.exit(main())

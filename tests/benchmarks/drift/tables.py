"""All tables of the page of drift by one command: injected drifts, real flights, losses, and rows as they come.

They take many minutes of processor time; the same seeds give the same shares.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[2] / "examples" / "flight-delays"
FLIGHTS = "KS,CramerVonMises,Wasserstein,KS by origin,MMD,LSDD,Classifier,online"
"""Ways that the table of flights compares."""
TABLES = (
    ("injected.py",),
    ("flights.py", "--worlds", "2", "--only", FLIGHTS),
    ("losses.py",),
    ("online.py",),
)


def main() -> int:
    """The first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Put the tables into the page of drift.")
    options = parser.parse_args()
    if not (EXAMPLE / "data" / "flights.parquet").exists():
        # The second table needs it, after many minutes of the first.
        subprocess.run([sys.executable, str(EXAMPLE / "prepare.py")], check=True)
    for script, *arguments in TABLES:
        written = ["--write"] if options.write else []
        done = subprocess.run([sys.executable, str(HERE / script), *arguments, *written], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())

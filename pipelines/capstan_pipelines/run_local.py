"""Runs the pipeline in this process's children: `python -m capstan_pipelines.run_local --run-dir DIR`.

Exit codes: 0 succeeded, 1 failed, 3 another process already works on this run, 143 cancelled by SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from capstan.domain.training import RunPhase
from capstan_pipelines.one_run import carry_out
from capstan_pipelines.wiring import run_folder_of

BUSY = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m capstan_pipelines.run_local", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="folder that was written for this run")
    path: Path = parser.parse_args().run_dir.resolve()
    folder = run_folder_of(path)
    with folder.exclusively() as mine:
        if not mine:
            return BUSY
        before = folder.read_status()
        if before is not None and before.phase is RunPhase.SUCCEEDED:
            return 0
        return 0 if carry_out(folder).phase is RunPhase.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main())

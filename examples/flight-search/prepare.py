"""Writes the tables of ../flight-delays beside this file; a second call finds its own work and stops."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DATA = HERE / "data"


def prepare(target: Path = DATA) -> bool:
    """Writes the sources; False if they were up to date already."""
    whole: dict[str, Any] = runpy.run_path(str(HERE.parent / "flight-delays" / "prepare.py"))
    written: bool = whole["prepare"](target)
    return written


if __name__ == "__main__":
    sys.stdout.write(f"{DATA}: {'written' if prepare() else 'up to date'}\n")

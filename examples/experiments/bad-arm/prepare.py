"""The table is that of the A/B test."""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "ab" / "prepare.py"), run_name="__main__")

"""Whether Python has compiled what Capstan imports; where it has not, the first commands are slow, and say why.

pip compiles what it installs, uv does not. A first training on one table took twice the processor time (28 s instead of
14 s) with no compiled bytecode, since MLflow, KFP, BentoML and scikit-learn were compiled on the way.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

LARGE = ("mlflow", "kfp", "bentoml", "sklearn", "scipy", "pandas")
"""Packages whose compiling takes most of the time."""
FIX = "`capstan doctor --fix`"


def uncompiled() -> list[str]:
    """Those of the large packages that are installed and were never compiled."""
    found = []
    for name in LARGE:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        if not os.path.exists(importlib.util.cache_from_source(spec.origin)):
            found.append(name)
    return found


def why_slow() -> str | None:
    """The line that a command says before it imports what is not compiled; None: all is."""
    names = uncompiled()
    if not names:
        return None
    listed = ", ".join(names)
    if sys.dont_write_bytecode:
        return (
            f"each process compiles {listed} anew, since PYTHONDONTWRITEBYTECODE is set; "
            f"{FIX} compiles them once"
        )
    return f"the first run since the installation: Python compiles {listed}, which may take minutes"


def compile_packages() -> list[str]:
    """Compile all packages beside the large ones; a file that does not compile stays as it is.

    Gives the folders that could not be written, where packages stay as they are.
    """
    places = {folder for name in LARGE if (folder := _folder(name))}
    for place in sorted(places):
        # Output is of files that no Python 3 compiles, such as templates and tests.
        subprocess.run(
            [sys.executable, "-m", "compileall", "-qq", "-j", "0", place], check=False, capture_output=True
        )
    # Root may write anywhere but on a disk that is mounted to be read.
    return [place for place in sorted(places) if any(_folder(name) == place for name in uncompiled())]


def _folder(name: str) -> str:
    """Where the package lies."""
    spec = importlib.util.find_spec(name)
    return "" if spec is None or not spec.origin else str(Path(spec.origin).parents[1])

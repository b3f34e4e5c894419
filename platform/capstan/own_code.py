"""A person's own code: what a factory makes, and whether that can be kept."""

from __future__ import annotations

import importlib
import inspect
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from capstan.errors import InvalidDataError


def made_by(factory: str, parameters: Mapping[str, Any], *, seed: int | None = None) -> Any:
    """What `module:name` gives for the parameters; the seed is passed on if the function takes one.

    Raises InvalidDataError that names the factory for whatever goes wrong in it.
    """
    module, _, name = factory.partition(":")
    try:
        make: Callable[..., Any] = getattr(importlib.import_module(module), name)
        arguments = dict(parameters)
        if seed is not None and "seed" in inspect.signature(make).parameters:
            arguments.setdefault("seed", seed)
        return make(**arguments)
    except Exception as error:
        raise InvalidDataError(
            f"{factory} with {dict(parameters)}: {type(error).__name__}: {error}{_way_out(error)}"
        ) from error


def require_saveable(made: Any, factory: str, moment: str, what: str = "a model") -> Any:
    """The object as it is after saving and loading; raises InvalidDataError that names the factory if it can't be."""
    import joblib  # type: ignore[import-untyped]

    content = io.BytesIO()
    try:
        joblib.dump(made, content)
        content.seek(0)
        return joblib.load(content)
    except Exception as error:
        raise InvalidDataError(
            f"{factory}: {type(made).__name__} can't be saved {moment}: {type(error).__name__}: {error}; {what} "
            "travels by pickle: let it hold no lambda, lock, open file or connection, and define its class at the top "
            "of a module"
        ) from error


def require_methods(made: Any, factory: str, methods: Iterable[str], way_out: str) -> None:
    """Raises InvalidDataError that names the factory and the methods that its object lacks; `way_out` ends it."""
    missing = [method for method in methods if not callable(getattr(made, method, None))]
    if missing:
        raise InvalidDataError(
            f"{factory} gave {type(made).__name__}, which has no {' and no '.join(missing)}; {way_out}"
        )


def _way_out(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "; install it, or put it beside the file: what a factory imports from there travels with it"
    if isinstance(error, FileNotFoundError):
        return "; only Python travels: put the file into a package (a folder with __init__.py), which travels whole"
    return ""

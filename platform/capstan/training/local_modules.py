"""Which modules beside the file a person's own code needs: its own and those that it imports, and so on."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_BY_NAME = frozenset({"import_module", "__import__"})
"""Calls that import the module that their first argument names."""
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def local_modules(base_dir: Path, module: str) -> list[Path]:
    """Files (`helper.py`) and folders (a package, whole) in `base_dir` that `module` needs; empty if it lies elsewhere.

    Found by reading the source, so nothing is executed: a name that is put together while the program runs is not
    seen. A module of the standard library goes before a file of its name.
    """
    found: dict[str, Path] = {}
    waiting = [module.partition(".")[0]]
    while waiting:
        name = waiting.pop()
        if name in found or name in sys.stdlib_module_names:
            continue
        place = _place(base_dir, name)
        if place is None:
            continue
        found[name] = place
        for source in sorted(place.rglob("*.py")) if place.is_dir() else (place,):
            waiting += _imported(source)
    return [found[name] for name in sorted(found)]


def carry(modules: Iterable[Path], folder: Path) -> None:
    """Copy the files and packages into `folder`, without what Python or an editor leaves beside them."""
    for source in modules:
        folder.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=_IGNORED, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, folder / source.name)


def _place(base_dir: Path, name: str) -> Path | None:
    """A package goes before a module of its name, as for Python; a folder without any Python in it is none."""
    folder, file = base_dir / name, base_dir / f"{name}.py"
    if (folder / "__init__.py").is_file():
        return folder
    if file.is_file():
        return file
    return folder if folder.is_dir() and any(folder.rglob("*.py")) else None


def _imported(source: Path) -> Iterator[str]:
    """Top-level names; relative imports stay within their package, which is taken whole."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        # Whoever imports it says what is wrong with it.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and node.args and _is_import(node.func):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.partition(".")[0]


def _is_import(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _BY_NAME

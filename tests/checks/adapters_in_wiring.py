"""Only wiring constructs adapters: `python tests/checks/adapters_in_wiring.py` says where something else does.

An adapter is a class below `capstan.adapters` that does work: no Protocol, no enum, no frozen dataclass. A wiring
module is called `wiring` or lies in a package of that name. An adapter's own folder may construct its parts. A type
annotation and `isinstance` construct nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "platform/capstan",
    "pipelines/capstan_pipelines",
    "operators/capstan_operator",
    "operators/capstan_page",
)
ADAPTERS = "capstan.adapters"
_VALUES = frozenset({"Protocol", "ABC", "Enum", "StrEnum", "IntEnum", "NamedTuple", "TypedDict"})


@dataclass(frozen=True)
class Use:
    """One place that uses an adapter's class as a value."""

    file: Path
    line: int
    module: str
    adapter: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}: {self.module} uses {self.adapter}, an adapter; "
            "construct it in a wiring module and take it as a port"
        )


def read_modules(root: Path) -> dict[str, tuple[Path, ast.Module]]:
    """The source of all packages below `root` by the name of its module."""
    modules = {}
    for package in PACKAGES:
        folder = root / package
        for file in sorted(folder.rglob("*.py")):
            parts = (folder.name, *file.relative_to(folder).with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules[name] = (file.relative_to(root), ast.parse(file.read_text()))
    return modules


def uses_outside_wiring(root: Path = ROOT) -> list[Use]:
    """Every place outside of wiring that constructs an adapter, or hands its class on."""
    modules = read_modules(root)
    adapters = {
        f"{module}.{node.name}"
        for module, (_, tree) in modules.items()
        if module.startswith(f"{ADAPTERS}.")
        for node in tree.body
        if isinstance(node, ast.ClassDef) and _is_adapter(node)
    }
    return [
        Use(file, line, module, adapter)
        for module, (file, tree) in modules.items()
        if "wiring" not in module.split(".")
        for line, adapter in _uses(tree, adapters)
        if not _is_of_one_vendor(module, adapter)
    ]


def _is_adapter(node: ast.ClassDef) -> bool:
    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    frozen = any(
        "dataclass" in (text := ast.unparse(one)) and "frozen=True" in text for one in node.decorator_list
    )
    return not (bases & _VALUES or frozen)


def _is_of_one_vendor(module: str, adapter: str) -> bool:
    return module.startswith(f"{ADAPTERS}.") and module.split(".")[2] == adapter.split(".")[2]


def _uses(tree: ast.Module, adapters: set[str]) -> Iterator[tuple[int, str]]:
    names = _imported(tree)
    annotations = {
        id(inner) for node in ast.walk(tree) for one in _annotations(node) for inner in ast.walk(one)
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in annotations:
            head, _, rest = ast.unparse(node).partition(".")
            full = f"{names[head]}.{rest}".rstrip(".") if head in names else ""
            if full in adapters:
                yield node.lineno, full


def _imported(tree: ast.Module) -> Mapping[str, str]:
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            names |= {one.asname: one.name for one in node.names if one.asname}
            # `import a.b` binds `a`.
            names |= {(top := one.name.partition(".")[0]): top for one in node.names if not one.asname}
    return names


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
        yield node.returns
    elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        yield node.annotation
        if (
            isinstance(node, ast.AnnAssign)
            and node.value is not None
            and ast.unparse(node.annotation) == "TypeAlias"
        ):
            yield node.value
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
        yield node.args[1]


def main() -> int:
    found = uses_outside_wiring()
    for use in found:
        print(use)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

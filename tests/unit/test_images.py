"""A program starts with the packages that its image holds, and with no others."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from unit.test_dependencies import plain
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
# The image `python` holds all dependencies of the project.
PROGRAMS = {
    "operator": ("capstan_operator.main", "capstan.artifacts.fetch"),
    "serving": ("capstan.serving.start", "capstan.serving.service"),
    "gateway": ("capstan.gateway.agent",),
}
WITHOUT = """
import importlib, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"the image has no {name}", name=name)

absent = set(sys.argv[2:])
sys.meta_path.insert(0, Without())
importlib.import_module(sys.argv[1])
"""
OURS = {"capstan", "capstan_pipelines", "capstan_operator"}


def absent(image: str) -> list[str]:
    """Top-level modules of this Python that the image's packages do not bring."""
    listed = subprocess.run(
        [find_uv_bin(), "export", "--quiet", "--frozen", "--no-emit-project", "--no-header", "--no-annotate",
         "--no-hashes", "--only-group", f"image-{image}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    held = {plain(line.partition("==")[0]) for line in listed.stdout.splitlines()}
    assert "orjson" in held, listed.stdout
    return sorted(
        module
        for module, packages in packages_distributions().items()
        if module not in OURS and held.isdisjoint(plain(package) for package in packages)
    )


@pytest.mark.parametrize(
    ("image", "program"), [(image, program) for image, programs in PROGRAMS.items() for program in programs]
)
def test_a_program_imports_only_packages_of_its_image(image: str, program: str) -> None:
    missing = absent(image)
    assert "pandas" in missing
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, program, *missing],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

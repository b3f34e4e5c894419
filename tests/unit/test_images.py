"""A program starts with the packages that its image holds, and with no others; an image is built of what it may see."""

from __future__ import annotations

import re
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
    "operator": ("capstan_operator.main", "capstan_page.main", "capstan.artifacts.fetch"),
    "serving": ("capstan.serving.start", "capstan.serving.service", "capstan.serving.combiner.process"),
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
COPIED = re.compile(r"^COPY (?!--from)(.+)$", re.MULTILINE)
OURS = {"capstan", "capstan_pipelines", "capstan_operator", "capstan_page"}


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


@pytest.mark.parametrize("file", ["Dockerfile", "bandit-router/Dockerfile"])
def test_all_that_an_image_copies_is_in_its_context(file: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    seen = [line.removeprefix("!") for line in lines if line.startswith("!")]
    text = (ROOT / "platform/images" / file).read_text()
    sources = [source for line in COPIED.findall(text) for source in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(one) for one in seen), f"{source} is not in the context"

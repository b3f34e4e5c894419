"""The wheel holds what the code reads: someone without a clone has nothing else."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from capstan.verbs.example import FILES
from capstan.verbs.runbooks import alerts

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "platform/capstan",
    "pipelines/capstan_pipelines",
    "operators/capstan_operator",
    "operators/capstan_page",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_every_file_of_its_packages(wheel: zipfile.ZipFile) -> None:
    """The page's files among them, which no import would miss."""
    held = set(wheel.namelist())
    for package in PACKAGES:
        folder = ROOT / package
        wanted = {
            str(path.relative_to(folder.parent))
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert len(wanted) > 3
        assert wanted - held == set()
    assert "capstan/dashboard/static/index.html" in held


def test_wheel_holds_the_example_and_none_of_its_tables(wheel: zipfile.ZipFile) -> None:
    begin = "capstan/examples/flight-delays/"
    held = {name.removeprefix(begin) for name in wheel.namelist() if name.startswith(begin)}
    assert held == set(FILES)


def test_wheel_holds_a_page_for_every_alert(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    assert alerts()
    assert {f"capstan/runbooks/{alert}.md" for alert in alerts()} <= held


def test_wheel_brings_both_commands(wheel: zipfile.ZipFile) -> None:
    (scripts,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    text = wheel.read(scripts).decode()
    assert "capstan = capstan.cli.main:main" in text
    assert "capstan-operator = capstan_operator.main:main" in text

"""Claims about `make` on a machine that lacks something, with stand-ins for Debian's programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("bash", "cat", "env", "mktemp", "rm")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    stand_in(folder, "id", "echo 1000")
    return folder


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


def make(programs: Path, target: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    assert make is not None
    environment = {"PATH": str(programs), "HOME": str(programs.parent), "TMPDIR": str(programs.parent)}
    return subprocess.run(
        [make, "--no-print-directory", target],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def with_apt(programs: Path, apt: str = 'echo "noise"; echo "apt-get $*" >>"$HOME/calls"') -> None:
    stand_in(programs, "sudo", '"$@"')
    stand_in(programs, "apt-get", apt)


def test_what_is_there_is_not_installed_again(programs: Path) -> None:
    stand_in(programs, "chromium", "")
    with_apt(programs)
    done = make(programs, "chromium")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (programs.parent / "calls").exists()


def test_what_is_installed_is_said_in_one_line(programs: Path) -> None:
    with_apt(programs)
    done = make(programs, "chromium")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "setting up: Chromium (Debian's packages chromium fonts-liberation)\n"
    assert "chromium fonts-liberation" in (programs.parent / "calls").read_text().splitlines()[-1]


@pytest.mark.parametrize("missing", ["apt-get", "sudo"])
def test_without_the_means_to_install_one_sentence_says_what_to_do(programs: Path, missing: str) -> None:
    with_apt(programs)
    (programs / missing).unlink()
    done = make(programs, "chromium")
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        "error: Chromium is needed. Install it; on Debian and Ubuntu as root: "
        "apt-get install chromium fonts-liberation"
    )


def test_a_failed_installation_shows_what_apt_said(programs: Path) -> None:
    with_apt(programs, 'echo "E: no space left" >&2; exit 100')
    done = make(programs, "chromium")
    assert done.returncode != 0
    assert "E: no space left" in done.stderr
    assert "error: Chromium could not be installed." in done.stderr


def test_the_tests_need_neither_go_nor_debians_postgresql() -> None:
    """Cluster tests aside, which compile what a cluster without a registry cannot pull."""
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"], cwd=ROOT, capture_output=True, text=True, timeout=60
    ).stdout
    assert "pytest" in said
    assert not {"go", "postgresql"} & set(said.split())

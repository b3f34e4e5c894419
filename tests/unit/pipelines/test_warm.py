"""Steps are forks of a process that has imported what they need; the last one of a process that has MLflow too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from capstan_pipelines import warm

STEP = """
import os, sys
from pathlib import Path

def run(folder):
    Path(folder, __name__).write_text(f"{os.getppid()} {'colorsys' in sys.modules}")
"""
SERVE = """
import sys, time
from capstan_pipelines import step_process, warm
step_process.STEPS = ''
warm._IMPORTS = ()

def take_a_while(_folder):
    time.sleep({seconds})
    import colorsys

warm._import_registry = take_a_while
warm.serve(sys.argv[1], sys.argv[2])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in ("check", "register"):
        (tmp_path / f"{step}.py").write_text(STEP)
    return tmp_path


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> Iterator[psutil.Process]:
    """A process that answers at a socket of the folder; its fork imports for so long."""
    path = folder / "warm"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE.format(seconds=seconds), str(path), str(folder)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert process.stdin is not None
    monkeypatch.setenv(warm.SOCKET, str(path))
    try:
        await_file(path)
        yield psutil.Process(process.pid)
    finally:
        process.stdin.close()
        assert process.wait(20) == 0


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def asked(folder: Path, step: str) -> str:
    """Whether the step found the fork's import."""
    warm.call(step, str(folder))
    return (folder / step).read_text().split()[1]


def test_the_last_step_alone_is_a_fork_of_what_has_imported_the_registry(folder, monkeypatch):
    with serving(folder, monkeypatch, seconds=0):
        await_file(folder / "warm.late")
        assert asked(folder, "check") == "False"
        assert asked(folder, "register") == "True"


def test_until_the_registry_is_imported_the_other_process_answers_for_the_last_step_too(folder, monkeypatch):
    with serving(folder, monkeypatch, seconds=600):
        assert asked(folder, "register") == "False"


@pytest.mark.parametrize("seconds", [0, 600], ids=["ready", "in the midst of its imports"])
def test_the_fork_ends_with_the_process_that_it_came_from(folder, monkeypatch, seconds):
    with serving(folder, monkeypatch, seconds=seconds) as process:
        if not seconds:
            await_file(folder / "warm.late")
        [late] = process.children()
    assert not late.is_running()

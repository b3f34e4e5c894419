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
from unit.pipelines.test_own_metric import AS_OF, document, write_home

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.training.job import Places, write_job
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
warm._import_search = {search}
warm.serve(sys.argv[1], None if sys.argv[2] == warm.AT_FIRST else sys.argv[2])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in ("check", "register"):
        (tmp_path / f"{step}.py").write_text(STEP)
    return tmp_path


@contextmanager
def serving(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seconds: float,
    search: str = "lambda _folder: None",
    of: str | None = None,
) -> Iterator[psutil.Process]:
    """A process that answers at a socket of the folder; its fork imports for so long.

    `search` is code: what imports the libraries of a search. `of` stands for the run's folder.
    """
    path = folder / "warm"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE.format(seconds=seconds, search=search), str(path), of or str(folder)],
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


@pytest.mark.parametrize("of", [None, warm.AT_FIRST], ids=["of one run", "of whoever asks"])
def test_what_a_search_needs_is_imported_while_nobody_asks(folder, monkeypatch, of):
    search = f"lambda folder: __import__('colorsys') if folder == {str(folder)!r} else None"
    with serving(folder, monkeypatch, seconds=600, search=search, of=of):
        deadline = time.monotonic() + 60
        while asked(folder, "check") != "True":
            assert time.monotonic() < deadline


SEARCH = """
import sys
from capstan_pipelines import warm
warm._import_search(sys.argv[1])
print('optuna' in sys.modules)
"""


@pytest.mark.parametrize(
    ("settings", "imported"),
    [({"tune": {"trials": 2}}, "True"), ({}, "False")],
    ids=["the file asks for a search", "the file asks for none"],
)
def test_only_a_file_that_asks_for_a_search_pays_for_its_library(tmp_path, settings, imported):
    made = document(choose={"metric": "rocAuc"})
    made["spec"]["training"]["candidates"] = [{"name": "near", "nearestNeighbors": settings}]
    job, home = tmp_path / "job", write_home(tmp_path / "home")
    request = TrainingRequest(
        RunName("run"), SystemName("visits"), Trigger(TriggerKind.INITIAL, AS_OF, "a test"), None
    )
    write_job(job, request=request, spec=made, places=Places(str(home), "", "", "", ""), champion=None)
    found = subprocess.run(
        [sys.executable, "-c", SEARCH, str(job)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == imported


def test_a_folder_without_a_file_is_left_to_its_step(tmp_path):
    warm._import_search(str(tmp_path))

"""The tier that runs the real loop: one trained system is shared, every test works on a copy of it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded.running import Running, left_behind
from embedded.scenario import EXAMPLE, capstan, ports, write_data, write_system
from embedded.task_cases import CASES
from xdist.scheduler import LoadScopeScheduling

from capstan.embedded.layout import StateDir
from capstan.embedded.replay.report import Report

REPLAYS = ("test_determinism.py", "test_kills.py", "test_replay.py")
"""They share one undisturbed replay, so one worker takes them all; the others go to the next."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Groups for `-n 2 --dist loadgroup`; the marks of xdist 3.8 go unseen under pytest 9.2."""
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.endswith("test_tasks.py"):
            return "tasks"
        return "replays" if file.endswith(REPLAYS) else "running systems"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A task's bad challengers are its own: what no model of it can be is no test."""
    items[:] = [item for item in items if _is_a_case(getattr(item, "callspec", None))]


def _is_a_case(callspec: Any) -> bool:
    params = getattr(callspec, "params", {})
    return not {"task", "fault"} <= params.keys() or params["fault"] in CASES[params["task"]].bad


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session alone, the same for all its workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextlib.contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Whether this worker must fill the folder; the others wait until it is whole."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder.with_suffix(".made")
        yield not made.exists()
        made.touch()


@pytest.fixture(scope="session")
def world(shared: Path) -> Path:
    """A folder with the smaller example: `system.yaml` and `data/`."""
    folder = shared / "world"
    with made_once(folder) as missing:
        if missing:
            subprocess.run(
                [sys.executable, str(EXAMPLE / "prepare.py")], check=True, stdout=subprocess.DEVNULL
            )
            write_data(folder)
            write_system(folder)
    return folder


@pytest.fixture(scope="session")
def trained(world: Path, shared: Path) -> Path:
    """A state directory whose first champion was trained and served, and where nothing runs any more."""
    root = shared / "trained" / ".capstan"
    with made_once(root.parent) as missing:
        if missing:
            train_first(world, root)
    return root


def train_first(world: Path, root: Path) -> None:
    root.parent.mkdir()
    running = Running(world / "system.yaml", StateDir(root))
    try:
        running.start()
        # As the replay does: a directory without it belongs to a live system.
        running.journal.save(running.state.journal, running.charges)
    finally:
        running.stop()


def copy_state(trained: Path, root: Path) -> None:
    """All but the records of what ran: a copy that remembered the ports would meet its siblings there."""
    shutil.copytree(trained, root, symlinks=True, ignore=shutil.ignore_patterns("run"))


@pytest.fixture(scope="module")
def copy_of(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], StateDir]]:
    """Copies of the trained state; at the end no process of theirs may live."""
    copies = []

    def copy(name: str) -> StateDir:
        root = tmp_path_factory.mktemp(name) / ".capstan"
        copy_state(trained, root)
        copies.append(root)
        return StateDir(root)

    yield copy
    left = [f"{process.pid} {process.cmdline()}" for root in copies for process in left_behind(root)]
    assert not left, f"processes were left behind: {left}"


@pytest.fixture(scope="session")
def replayed(
    world: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[StateDir, Report]]:
    """A whole replay by the command, undisturbed; what the others are compared with."""
    state = StateDir(tmp_path_factory.mktemp("replayed") / ".capstan")
    copy_state(trained, state.root)
    done = capstan("demo", world / "system.yaml", "--state", state.root, *ports(), "--resume", "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield state, json.loads(done.stdout)
    assert not left_behind(state.root)

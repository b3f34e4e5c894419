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

LONGEST = (
    "test_kills",
    "test_tasks[MulticlassClassification",
    "test_tutorial",
    "test_bad_challengers",
    "test_survival",
    "test_ctrl_c",
    "test_determinism",
    "test_a_full_disk",
    "test_tasks",
    "test_interleaving",
    "test_gates",
)
"""Beginnings of groups' names, in the order in which they begin: the twenty kills, begun last, left a worker idle.

The second needs neither the example's tables nor the trained system, which the first worker makes meanwhile.
"""


def group_of(nodeid: str) -> str:
    """Tests of a group share a running system, so one worker takes them all."""
    file, _, test = nodeid.partition("::")
    if test.startswith(("test_ctrl_c", "test_a_full_disk")):
        return test
    name = Path(file).stem
    if name == "test_tasks":
        # Each task has a system of its own.
        name += f"[{test.partition('[')[2].rstrip(']').partition('-')[0]}]"
    return name


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Groups for `-n 2 --dist loadgroup`; the marks of xdist 3.8 go unseen under pytest 9.2."""
    if config.getvalue("dist") != "loadgroup":
        return None
    # Else those with the most tests came first.
    config.option.loadscopereorder = False
    return Groups(config, log)


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A task's bad challengers are its own: what no model of it can be is no test. Long groups come first."""
    items[:] = sorted(
        (item for item in items if _is_a_case(getattr(item, "callspec", None))),
        key=lambda item: _rank(group_of(item.nodeid)),
    )


def _rank(group: str) -> int:
    return next((rank for rank, name in enumerate(LONGEST) if group.startswith(name)), len(LONGEST))


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
def replayed(world: Path, trained: Path, shared: Path) -> Iterator[tuple[StateDir, Report]]:
    """A whole replay by the command, undisturbed; what the others are compared with."""
    state, told = StateDir(shared / "replayed" / ".capstan"), shared / "replayed" / "told.json"
    with made_once(state.root.parent) as missing:
        if missing:
            state.root.parent.mkdir()
            copy_state(trained, state.root)
            done = capstan(
                "replay", world / "system.yaml", "--state", state.root, *ports(), "--resume", "--json"
            )
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            told.write_text(done.stdout)
            assert not left_behind(state.root)
    yield state, json.loads(told.read_bytes())
    assert not left_behind(state.root)

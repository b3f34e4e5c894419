"""State directories whose story was told by the real engine in a world in memory."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from simulation.scripts import drift
from simulation.world import SPEC, SYSTEM, World
from typer.testing import CliRunner

from capstan.adapters.sqlite.store import SqliteStore
from capstan.cli.main import app
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.ports.store import Event, Kind, Record


class WorldStore(SqliteStore):
    """On disk, as the commands read it, and as the world looks into it."""

    @property
    def _events(self) -> list[Event]:
        return [event for _, event in self.events()]


class Machine:
    """One state directory, and the world that its loop lives in."""

    def __init__(self, root: Path) -> None:
        self.state = StateDir(root)
        self.state.prepare(SystemName(SYSTEM))
        self.world = World()
        self.world.store = WorldStore(self.state.store)  # type: ignore[assignment]
        self.document: dict[str, Any] = {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": SYSTEM},
            "spec": copy.deepcopy(SPEC),
        }
        self.world.store.put(Record(Kind.SYSTEM, SYSTEM, SystemName(SYSTEM), spec=self.document))

    def run(self, *arguments: str, input: str | None = None) -> Any:
        return CliRunner().invoke(app, [*arguments, "--state", str(self.state.root)], input=input)

    @contextmanager
    def looping(self) -> Iterator[None]:
        """A supervisor holds the directory and looks all the time."""
        ended = threading.Event()

        def loop() -> None:
            while not ended.wait(0.02):
                self.world.settle()

        with self.state.exclusively():
            thread = threading.Thread(target=loop)
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "state")
    yield made
    made.world.store.close()  # type: ignore[attr-defined]


@pytest.fixture
def serving(machine: Machine) -> Machine:
    """v1 serves, nothing else happens."""
    machine.world.start()
    return machine


@pytest.fixture
def rolling(serving: Machine) -> Machine:
    """v2 is in its shadow step against v1."""
    drift(serving.world)
    serving.world.days(2)
    return serving

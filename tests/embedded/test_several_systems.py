"""Two systems share one host, with all real parts: one joins, each survives the other, a kill brings both back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import orjson
import pytest
import yaml
from embedded.running import left_behind
from embedded.scenario import capstan
from embedded.test_without_times import cells, write

from capstan.adapters.processes.ports_in_use import free_port
from capstan.embedded.host.host import Host
from capstan.embedded.host.members import host_folder, members
from capstan.embedded.layout import StateDir
from capstan.embedded.supervisor import Supervisor
from capstan.embedded.wiring import Addresses
from capstan.engine import Outcome
from capstan.ports.store import Event
from capstan.spec import load

pytestmark = [pytest.mark.real, pytest.mark.slow]
FIRST, SECOND = "cells", "tissue"


class Machine:
    """A project folder with two files, and the host that runs them, in this process or in one of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        document = yaml.safe_load(write(folder).read_text())
        for name in (FIRST, SECOND):
            document["metadata"]["name"] = name
            self.file(name).write_text(yaml.safe_dump(document, sort_keys=False))
        self.root = StateDir(folder / ".capstan")
        self.addresses = Addresses(page_port=free_port(), gateway_port=free_port())
        self.host = host_folder(self.addresses.gateway_port, self.root)
        self.said: list[str] = []
        self.stopped = threading.Event()
        self.serving: set[str] = set()
        self.thread = threading.Thread(target=self._run)

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def state(self, name: str) -> StateDir:
        return self.root if name == FIRST else self.root.beside(name)

    def ports(self) -> tuple[str, ...]:
        numbers = (self.addresses.page_port, self.addresses.gateway_port)
        return ("--page-port", str(numbers[0]), "--gateway-port", str(numbers[1]))

    def command(self, *arguments: object) -> str:
        done = capstan(*arguments, "--state", self.root.root)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self) -> None:
        Host(
            self.host,
            self,
            self.addresses,
            self.stopped.is_set,
            lambda _: None,
            lambda local: self.serving.add(local.name),
            lambda _: None,
        ).run(load(self.file(FIRST)), self.file(FIRST), self.root)

    def say(self, text: str) -> None:
        self.said.append(text)

    def tell(self, event: Event) -> None: ...

    def ask(self, path: str = "/predict") -> int:
        rows, _ = cells()
        with httpx.Client(base_url=self.addresses.gateway, trust_env=False, timeout=6) as client:
            return client.post(path, json=rows[0]).status_code

    def until(self, condition: Callable[[], bool], seconds: float = 600.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def end(self) -> None:
        """End the host of this process with all systems."""
        self.stopped.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("several"))
    machine.thread.start()
    try:
        machine.until(lambda: FIRST in machine.serving)
        told = machine.command("up", machine.file(SECOND), *machine.ports())
        assert "joins the systems of process" in told
        assert "/tissue/predict" in told
        yield machine
    finally:
        machine.end()
        capstan("down", "--state", machine.root.root)
    assert not left_behind(machine.folder)
    assert not left_behind(machine.host.root)


def test_each_is_asked_at_its_own_address_by_one_gateway_and_seen_on_one_page(machine: Machine) -> None:
    assert [machine.ask(path) for path in ("/predict", "/cells/predict", "/tissue/predict")] == [200] * 3
    assert machine.ask("/nobody/predict") == 404
    shared = StateDir(machine.host.root)
    names = {file.name.partition(".")[0] for file in shared.processes.glob("*.process.json")}
    assert names == {"envoy", "prometheus", "alertmanager"}
    for name in (FIRST, SECOND):
        own = {file.name.partition(".")[0] for file in machine.state(name).processes.glob("*.process.json")}
        assert own == {"collector", "monitor", "v1"}
    page = httpx.get(
        f"{machine.addresses.page}/api/systems",
        headers={"authorization": f"Bearer {machine.state(SECOND).page_token()}"},
        trust_env=False,
    )
    assert [one["name"] for one in page.json()["systems"]] == [FIRST, SECOND]
    listed = orjson.loads(machine.command("ls", "--json"))
    here = {one["name"]: one["gateway"] for one in listed if str(machine.folder) in (one["state"] or "")}
    assert here == {FIRST: machine.addresses.gateway, SECOND: f"{machine.addresses.gateway}/tissue"}


def test_requests_are_stored_for_the_system_that_was_asked(machine: Machine) -> None:
    def answered(name: str) -> int:
        ports = orjson.loads((machine.state(name).processes / "ports.json").read_bytes())
        stats = httpx.get(f"http://127.0.0.1:{ports['collector']}/stats", trust_env=False).json()
        return int(stats["answered"])

    before = {name: answered(name) for name in (FIRST, SECOND)}
    for _ in range(5):
        assert machine.ask("/tissue/predict") == 200
    machine.until(lambda: answered(SECOND) == before[SECOND] + 5, 30)
    assert answered(FIRST) == before[FIRST]


def test_a_loop_that_breaks_is_started_again_and_the_other_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks, broken = Supervisor.look, dict.fromkeys((FIRST, SECOND), 0), threading.Event()

    def breaking(self: Supervisor) -> Outcome:
        looks[self.local.name] += 1
        if self.local.name == SECOND and not broken.is_set():
            broken.set()
            raise KeyError("a bug")
        return look(self)

    monkeypatch.setattr(Supervisor, "look", breaking)
    machine.until(broken.is_set, 30)
    seen, answered = dict(looks), set()
    machine.until(lambda: any("its loop ended by KeyError" in text for text in machine.said), 30)

    def both_look_again() -> bool:
        answered.update((machine.ask(), machine.ask("/tissue/predict")))
        return looks[SECOND] > seen[SECOND] + 1 and looks[FIRST] > seen[FIRST] + 1

    machine.until(both_look_again, 60)
    # The models answered all the while.
    assert answered == {200}


def test_one_is_taken_away_and_the_other_goes_on_and_it_comes_back(machine: Machine) -> None:
    told = machine.command("down", machine.file(SECOND))
    assert "tissue: stopped; cells goes on" in told
    assert machine.ask() == 200
    assert machine.ask("/tissue/predict") == 404
    assert machine.state(SECOND).holder() is None
    machine.command("up", machine.file(SECOND), *machine.ports())
    assert (machine.ask(), machine.ask("/tissue/predict")) == (200, 200)


def test_a_killed_host_brings_all_its_systems_back(machine: Machine) -> None:
    machine.end()
    assert members(machine.host) == []
    machine.command("up", machine.file(FIRST), "--detach", *machine.ports())
    machine.command("up", machine.file(SECOND), *machine.ports())
    killed = machine.host.holder()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    machine.until(lambda: machine.host.holder() is None, 10)
    # Models answer while no loop runs.
    assert (machine.ask(), machine.ask("/tissue/predict")) == (200, 200)
    machine.command("up", machine.file(SECOND), "--detach", *machine.ports())
    machine.until(lambda: machine.state(FIRST).holder() == machine.host.holder() != killed, 60)
    # The bare address is still that of the system that had it.
    machine.until(lambda: (machine.ask(), machine.ask("/tissue/predict")) == (200, 200), 60)
    assert {one.system: one.is_first for one in members(machine.host)} == {FIRST: True, SECOND: False}
    machine.command("down")
    assert machine.host.holder() is None
    assert machine.state(SECOND).holder() is None

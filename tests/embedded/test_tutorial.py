"""The tutorial holds: its commands are read out of the page and run, and what it says is told comes to be told.

The example's durations and minima are cut, so that the test costs trainings and little else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from embedded.running import left_behind
from embedded.scenario import ports
from embedded.tutorial import Command, Told, commands_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "platform/docs/tutorial.md"
CUTS = (
    (r"blockRequests: 50", "blockRequests: 20"),
    (r"minRequests: 500, minLabels: 500", "minRequests: 200, minLabels: 200"),
    (r"duration: 30s, minRequests: \d+", "duration: 1s, minRequests: 40"),
    (r"duration: 1m, minRows: 500", "duration: 20s, minRows: 400"),
    (r"cooldown: 1m", "cooldown: 1s"),
)
PATIENCE_SECONDS = 600

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]


class Terminal:
    """One command that goes on, and what it has printed."""

    def __init__(self, words: str, folder: Path, environment: dict[str, str], log: Path) -> None:
        self.words, self.log = words, log
        with log.open("w") as written:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {words}"],
                cwd=folder,
                env=environment,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=120)


class Reader:
    """Somebody who follows the page: a terminal for the system, one for traffic and one for everything else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".capstan"
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environment = {**os.environ, "CAPSTAN_STATE": str(self.state), "PATH": path, "COLUMNS": "200"}
        self.system: Terminal | None = None
        self.traffic: list[Terminal] = []
        self._heard = 0

    def follow(self, command: Command) -> None:
        words = command.words.split(" #")[0]
        if words.startswith("capstan up") and self.system is None:
            self.system = self._open(" ".join((words, *map(str, ports()))))
        elif words.startswith("capstan traffic"):
            self._end_traffic()
            faster = words.replace("--rate 20", "--rate 50")
            self.traffic.append(self._open(f"{faster} --label-delay 1s"))
        else:
            done = subprocess.run(
                ["bash", "-c", words], cwd=self.folder, env=self.environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        self._wait_for(command.tells)

    def _open(self, words: str) -> Terminal:
        number = 1 + len(self.traffic) if self.system is not None else 0
        return Terminal(words, self.folder, self.environment, self.folder / f"terminal-{number}.log")

    def _wait_for(self, wanted: Sequence[Told]) -> None:
        """Until the story tells all of it, after what earlier commands told.

        The order within one command is free: two alerts of one window come as they come.
        """
        assert self.system is not None or not wanted
        deadline, places = time.monotonic() + PATIENCE_SECONDS, dict[Told, int]()
        while self.system is not None and len(places) < len(set(wanted)):
            # What follows the last end of a line may be written half.
            whole = self.system.text.split("\n")[:-1]
            for place, line in enumerate(whole[self._heard :], start=self._heard):
                real = Told.of(line)
                for told in wanted:
                    if real is not None and told.is_kept_by(real):
                        places.setdefault(told, place)
            missing = [told for told in wanted if told not in places]
            assert not missing or self.system.process.poll() is None, self.system.text[-3000:]
            assert not missing or time.monotonic() < deadline, f"{missing} of\n{self.system.text[-6000:]}"
            time.sleep(0.5)
        self._heard = max([self._heard, *(place + 1 for place in places.values())])

    def _end_traffic(self) -> None:
        if self.traffic:
            last = self.traffic[-1]
            assert last.interrupt() == 0, last.text[-3000:]
            assert " 0 failed" in last.text.splitlines()[-2], last.text[-3000:]

    def leave(self) -> None:
        """Ctrl-C in every terminal, as the page ends."""
        self._end_traffic()
        assert self.system is not None
        assert self.system.interrupt() == 0, self.system.text[-3000:]

    def close(self) -> None:
        """Whatever went wrong, nothing goes on."""
        for terminal in (*self.traffic, *((self.system,) if self.system is not None else ())):
            if terminal.process.poll() is None:
                terminal.interrupt()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    shutil.copytree(
        ROOT / "examples/ten-minutes",
        tmp_path / "examples/ten-minutes",
        ignore=shutil.ignore_patterns("data", ".capstan"),
    )
    for file in (tmp_path / "examples/ten-minutes").glob("*.yaml"):
        text = file.read_text()
        for wanted, cut in CUTS:
            text, changed = re.subn(wanted, cut, text)
            assert changed, f"{file.name}: {wanted} is not there any more, so that nothing is cut"
        file.write_text(text)
    found = Reader(tmp_path)
    try:
        yield found
    finally:
        found.close()
    assert not left_behind(found.state)


def test_the_tutorial_comes_to_pass_as_it_is_told(reader: Reader) -> None:
    commands = commands_of(PAGE)
    told = [line for command in commands for line in command.tells]
    assert {Told("Promoted", "v2"), Told("RolledBack", "v3"), Told("Promoted", "v4")} <= set(told)
    assert "DriftDetected" in {one.reason for one in told}
    for command in commands:
        reader.follow(command)
    reader.leave()

"""A supervisor in the background: a process of its own, which goes on when the one that started it ends."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError
from capstan.files import write_error

SERVING, STUCK = b"serving", b"stuck"
"""What a process in the background tells the one that started it."""
TAIL_LINES = 20


class Starter:
    """The process that started this one in the background, and waits for one word."""

    def __init__(self, pipe: int | None) -> None:
        """`pipe`: None in front."""
        self._pipe = pipe

    @property
    def is_there(self) -> bool:
        """Whether this process runs in the background of another."""
        return self._pipe is not None

    def hear(self, word: bytes) -> None:
        """Only the first: the pipe is closed then, as nobody reads on."""
        if self._pipe is None:
            return
        # Ctrl-C may have ended the one who waits.
        with suppress(OSError):
            os.write(self._pipe, word)
            os.close(self._pipe)
        self._pipe = None


@dataclass(frozen=True)
class Background:
    """A supervisor that was started."""

    process: subprocess.Popen[bytes]
    file: Path
    log: Path
    began: int
    """Bytes that the log had before."""
    heard: int
    """The pipe on which the process says its word."""

    def follow(self, tell: Callable[[str], object]) -> bool:
        """Whether a model serves, as soon as one does; False: the first training failed, see `stuck`.

        `tell` gets the log's whole lines as it grows. Raises CapstanError with the log's end where the process ended.
        """
        word = _word(self.heard, self.log, self.began, tell)
        if word:
            return word != STUCK
        self.process.wait()
        tail = "\n".join(_text(self.log, self.began).splitlines()[-TAIL_LINES:])
        raise CapstanError(
            f"process {self.process.pid} ended before a model served; {self.log} ends with:\n{tail}"
        )

    @property
    def stuck(self) -> CapstanError:
        """That the process waits for a person to mend what the first training failed by."""
        return CapstanError(
            f"no model serves yet: the first training failed. Process {self.process.pid} keeps the page up and goes on "
            f"when {self.file} is mended; `capstan down` stops it"
        )


def start(file: Path, state: StateDir, *, page_port: int, gateway_port: int) -> Background:
    """Start `capstan up` in a session of its own; raises DiskFullError and CapstanError where its log can't be made."""
    log = state.logs / "supervisor.log"
    try:
        state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.parent.mkdir(mode=0o700, exist_ok=True)
        began = log.stat().st_size if log.exists() else 0
        output = log.open("ab")
    except OSError as error:
        raise write_error(log, error) from error
    heard, spoken = os.pipe()
    command = [sys.executable, "-m", "capstan", "up", str(file.resolve()), "--state", str(state.root)]
    ports = ["--page-port", str(page_port), "--gateway-port", str(gateway_port), "--ready-fd", str(spoken)]
    with output:
        process = subprocess.Popen(
            [*command, *ports],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(spoken,),
            start_new_session=True,
        )
    os.close(spoken)
    return Background(process, file, log, began, heard)


def _word(heard: int, log: Path, began: int, tell: Callable[[str], object]) -> bytes:
    """What the process says; nothing when it ends."""
    shown = began
    while True:
        readable, _, _ = select.select([heard], [], [], 0.3)
        text = _text(log, shown)
        whole = text[: text.rfind("\n") + 1]
        if whole:
            shown += len(whole.encode())
            tell(whole)
        if readable:
            said = os.read(heard, 64)
            os.close(heard)
            return said


def _text(log: Path, since: int) -> str:
    with log.open("rb") as file:
        file.seek(since)
        return file.read().decode("utf-8", "replace")

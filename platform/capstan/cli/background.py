"""A supervisor in the background: started with a log, followed until it serves or cannot, then left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capstan.cli.console import out
from capstan.errors import CapstanError

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir

SERVING, STUCK = b"serving", b"stuck"
"""What a process in the background tells the one that started it."""
_TAIL_LINES = 20


class Starter:
    """The process that started this one in the background, and waits for one word."""

    def __init__(self, pipe: int | None) -> None:
        """`pipe`: None in front."""
        self._pipe = pipe

    def hear(self, word: bytes) -> None:
        """Only the first: the pipe is closed then, as nobody reads on."""
        if self._pipe is None:
            return
        # Ctrl-C may have ended the one who waits.
        with suppress(OSError):
            os.write(self._pipe, word)
            os.close(self._pipe)
        self._pipe = None


def start_in_background(file: Path, state: StateDir, page_port: int, gateway_port: int) -> None:
    """Start the supervisor in a session of its own and tell its log until a model serves.

    Raises CapstanError where it ends before, or waits for a person to mend what the first training failed by.
    """
    from capstan.files import write_error

    log = state.logs / "supervisor.log"
    try:
        state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.parent.mkdir(mode=0o700, exist_ok=True)
        began = log.stat().st_size if log.exists() else 0
        output = log.open("ab")
    except OSError as error:
        raise write_error(log, error) from error
    heard, spoken = os.pipe()
    options = ["--page-port", str(page_port), "--gateway-port", str(gateway_port), "--ready-fd", str(spoken)]
    with output:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "capstan",
                "up",
                str(file.resolve()),
                "--state",
                str(state.root),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(spoken,),
            start_new_session=True,
        )
    os.close(spoken)
    out.print(f"starting process {child.pid} in the background; its log: {log}", soft_wrap=True)
    try:
        told = _listen(heard, log, began)
    except KeyboardInterrupt:
        out.print(f"process {child.pid} goes on in the background; stop it with `capstan down`")
        raise typer.Exit(130) from None
    if not told:
        child.wait()
        tail = "\n".join(_new_text(log, began).splitlines()[-_TAIL_LINES:])
        raise CapstanError(f"process {child.pid} ended before a model served; {log} ends with:\n{tail}")
    token = state.token("page")
    out.print(f"page     http://127.0.0.1:{page_port}/?token={token}", soft_wrap=True)
    if told == STUCK:
        raise CapstanError(
            f"no model serves yet: the first training failed. Process {child.pid} keeps the page up and goes on when "
            f"{file} is mended; `capstan down` stops it"
        )
    out.print("it serves in the background; `capstan status` looks after it, `capstan down` stops it")


def _listen(heard: int, log: Path, began: int) -> bytes:
    """Show the log as it grows; what the child says, nothing when it ends."""
    import select

    shown = began
    while True:
        readable, _, _ = select.select([heard], [], [], 0.3)
        text = _new_text(log, shown)
        whole = text[: text.rfind("\n") + 1]
        if whole:
            shown += len(whole.encode())
            out.out(whole, end="", highlight=False)
        if readable:
            said = os.read(heard, 64)
            os.close(heard)
            return said


def _new_text(log: Path, since: int) -> str:
    with log.open("rb") as file:
        file.seek(since)
        return file.read().decode("utf-8", "replace")

"""A supervisor in the background, as the terminal tells it: its log until it serves or cannot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capstan.cli.console import out

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir


def start_in_background(file: Path, state: StateDir, page_port: int, gateway_port: int) -> None:
    """Start the supervisor in a session of its own and tell its log until a model serves.

    Raises CapstanError where it ends before, or waits for a person to mend what the first training failed by.
    """
    from capstan.verbs.background import start

    background = start(file, state, page_port=page_port, gateway_port=gateway_port)
    pid = background.process.pid
    out.print(f"starting process {pid} in the background; its log: {background.log}", soft_wrap=True)
    try:
        serves = background.follow(lambda lines: out.out(lines, end="", highlight=False))
    except KeyboardInterrupt:
        out.print(f"process {pid} goes on in the background; stop it with `capstan down`")
        raise typer.Exit(130) from None
    out.print(f"page     http://127.0.0.1:{page_port}/?token={state.page_token()}", soft_wrap=True)
    if not serves:
        raise background.stuck
    out.print("it serves in the background; `capstan status` looks after it, `capstan down` stops it")

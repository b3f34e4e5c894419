"""`capstan replay`: replay recorded data through the whole loop, then say what it was worth."""

from __future__ import annotations

from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import (
    DEFAULT_GATEWAY_PORT,
    DEFAULT_PAGE_PORT,
    DEFAULT_STATE,
    File,
    GatewayPort,
    Json,
    PagePort,
    State,
)
from capstan.cli.recorded_history import Sample, Until
from capstan.cli.replay_shown import replay_and_report

app = App()


@app.command(epilog="Example: capstan replay system.yaml --until 2013-05-01 --sample 0.2")
def replay(
    file: File,
    state: State = DEFAULT_STATE,
    until: Until = None,
    sample: Sample = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted replay stopped.")
    ] = False,
    page_port: PagePort = DEFAULT_PAGE_PORT,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    json: Json = False,
) -> None:
    """Replay the file's recorded data as live traffic: train, serve, watch, retrain, promote; end with a report.

    Without --resume an earlier replay in the state directory is removed first. Ctrl-C stops everything cleanly.
    The exit code is 3 if requests failed.
    """
    replay_and_report(
        lambda *_: file,
        state=state,
        until=until,
        sample=sample,
        resume=resume,
        page_port=page_port,
        gateway_port=gateway_port,
        json=json,
        again="",
    )

"""`capstan replay`: replay recorded data through the whole loop, then say what it was worth."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import (
    DEFAULT_STATE,
    File,
    GatewayPort,
    Json,
    Narrator,
    PagePort,
    State,
    honest_errors,
    out,
    print_json,
)
from capstan.cli.interrupt import Interrupt

app = App()

FAILED = 3
"""Exit code where the replay ended and requests of it had failed."""


@app.command(epilog="Example: capstan replay examples/flight-delays/system.yaml")
def replay(
    file: File,
    state: State = DEFAULT_STATE,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Stop before this day; default: the file's replay.end."),
    ] = None,
    sample: Annotated[
        float | None,
        typer.Option(min=0.0001, max=1, help="Share of cases to send; default: the file's replay.sample."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted replay stopped.")
    ] = False,
    page_port: PagePort = 7411,
    gateway_port: GatewayPort = 7480,
    json: Json = False,
) -> None:
    """Replay the file's recorded data as live traffic: train, serve, watch, retrain, promote; end with a report.

    Without --resume an earlier replay in the state directory is removed first. Ctrl-C stops everything cleanly.
    The exit code is 3 if requests failed.
    """
    with honest_errors(json):
        from capstan.embedded.layout import StateDir
        from capstan.embedded.replay.whole_replay import run_replay, scope_of
        from capstan.embedded.wiring import Addresses
        from capstan.spec import load

        system = load(file)
        scope = scope_of(system, end=until.date() if until else None, share=sample)
        with Interrupt() as interrupt, Narrator(quiet=json) as narrator:
            report = run_replay(
                system,
                StateDir(state.resolve()),
                narrator,
                addresses=Addresses(page_port=page_port, gateway_port=gateway_port),
                scope=scope,
                resume=resume,
                stop=interrupt.is_set,
            )
    if report is None:
        out.print(f"stopped; go on with: {_again(file, state, until, sample)}")
        raise typer.Exit(130)
    if json:
        print_json(report)
    else:
        from capstan.cli.verbs.report import print_report
        from capstan.domain.versions import SystemName

        written = StateDir(state).report(SystemName(report["system"]))
        print_report(report, written.parent)
        out.print(f"report: {written}")
    if report["failed_requests"]:
        raise typer.Exit(FAILED)


def _again(file: Path, state: Path, until: datetime | None, sample: float | None) -> str:
    """The command that resumes this very replay."""
    options = [
        *([f"--state {shlex.quote(str(state))}"] if state != DEFAULT_STATE else []),
        *([f"--until {until:%Y-%m-%d}"] if until else []),
        *([f"--sample {sample:g}"] if sample else []),
    ]
    return " ".join(["capstan replay", shlex.quote(str(file)), *options, "--resume"])

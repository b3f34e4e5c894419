"""How a replay is told: its story while it runs, its report in the end, and how to go on where it was stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import typer

from capstan.cli.console import (
    DEFAULT_GATEWAY_PORT,
    DEFAULT_PAGE_PORT,
    DEFAULT_STATE,
    Narrator,
    honest_errors,
    out,
    print_json,
)
from capstan.cli.interrupt import Interrupt
from capstan.cli.recorded_history import STOPPED

FAILED = 3
"""Exit code where the replay ended and requests of it had failed."""


def replay_and_report(
    find: Callable[[Narrator, Interrupt], Path | None],
    *,
    state: Path,
    until: datetime | None,
    sample: float | None,
    resume: bool,
    page_port: int,
    gateway_port: int,
    json: bool,
    again: str,
) -> None:
    """Replay the file that `find` returns, print the report, and exit as `capstan replay` promises.

    `find` returns None where Ctrl-C stopped it; `again` is the command that begins anew then, without the options of a
    replay. Raises typer.Exit.
    """
    with honest_errors(json), Interrupt() as interrupt, Narrator(quiet=json) as narrator:
        file = find(narrator, interrupt)
        report = None
        if file is not None:
            narrator.say_why_slow()
            from capstan.embedded.layout import StateDir
            from capstan.embedded.replay.whole_replay import run_replay, scope_of
            from capstan.embedded.wiring import Addresses
            from capstan.spec import load

            system = load(file)
            report = run_replay(
                system,
                StateDir(state.resolve()),
                narrator,
                addresses=Addresses(page_port=page_port, gateway_port=gateway_port),
                scope=scope_of(system, end=until.date() if until else None, share=sample),
                resume=resume,
                stop=interrupt.is_set,
            )
    if report is None:
        if not json:
            begun = again if file is None else f"capstan replay {shlex.quote(str(file))}"
            resume_it = [] if file is None else ["--resume"]
            way = " ".join([begun, *_options(state, until, sample, page_port, gateway_port), *resume_it])
            out.print(f"stopped; go on with: {way}", markup=False, soft_wrap=True)
        raise typer.Exit(STOPPED)
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


def _options(
    state: Path, until: datetime | None, sample: float | None, page_port: int, gateway_port: int
) -> list[str]:
    """Those that make it this very replay."""
    return [
        *([f"--state {shlex.quote(str(state))}"] if state != DEFAULT_STATE else []),
        *([f"--until {until:%Y-%m-%d}"] if until else []),
        *([f"--sample {sample}"] if sample else []),
        *([f"--page-port {page_port}"] if page_port != DEFAULT_PAGE_PORT else []),
        *([f"--gateway-port {gateway_port}"] if gateway_port != DEFAULT_GATEWAY_PORT else []),
    ]

"""`capstan promote`, `pause`, `resume`, `abort`, `rollback`, `retrain`, `approve`: what people ask of the loop.

A command is written into the store and followed by the loop, so it works from any process; it is checked before.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, Narrator, State, honest_errors, out, print_json
from capstan.cli.place import Context, Machine, Namespace, Place, place_of
from capstan.cli.stored_system import StoredSystem, SystemOption, open_system
from capstan.domain.reasons import Reason
from capstan.errors import CapstanError, NotAllowedError

if TYPE_CHECKING:
    from capstan.domain.actions import Command
    from capstan.ports.store import Event

app = App()

Wait = Annotated[bool, typer.Option(help="Wait until the running loop has done it.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")]
Note = Annotated[str, typer.Option(help="Why; the story keeps it with your name.")]

LOOK_SECONDS = 0.2
CLUSTER_LOOK_SECONDS = 1.0
TELLS_SECONDS = 5.0
"""Seconds within which the story tells of an order that is done."""
_WORK = frozenset({"promote", "rollback", "abort"})
"""Followed only when the rollout or run that they begin or end is over."""


@app.command(epilog="Example: capstan promote v3")
def promote(
    version: Annotated[
        str | None,
        typer.Argument(help="Default: the challenger of the rollout in progress.", show_default=False),
    ] = None,
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 120,
    note: Note = "",
    json: Json = False,
) -> None:
    """Make the challenger champion now, or begin the rollout of a registered version."""
    _ask("promote", (state, context, namespace), system, wait, timeout, json, version=version, note=note)


@app.command(epilog="Example: capstan pause --note 'holiday traffic'")
def pause(
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 30,
    note: Note = "",
    json: Json = False,
) -> None:
    """Hold everything: no training starts, no step of a rollout ends; the champion goes on serving."""
    _ask("pause", (state, context, namespace), system, wait, timeout, json, note=note)


@app.command(epilog="Example: capstan resume")
def resume(
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 30,
    note: Note = "",
    json: Json = False,
) -> None:
    """Go on after a pause, a pause step, a held rollout or an open circuit."""
    _ask("resume", (state, context, namespace), system, wait, timeout, json, note=note)


@app.command(epilog="Example: capstan abort")
def abort(
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 120,
    note: Note = "",
    json: Json = False,
) -> None:
    """End the rollout (the champion keeps all traffic) or the training in progress."""
    _ask("abort", (state, context, namespace), system, wait, timeout, json, note=note)


@app.command(epilog="Example: capstan rollback --to v2")
def rollback(
    to: Annotated[
        str | None, typer.Option("--to", help="An older version; default: the champion before this one.")
    ] = None,
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 120,
    note: Note = "",
    json: Json = False,
) -> None:
    """Go back to an older champion at once, without steps."""
    _ask("rollback", (state, context, namespace), system, wait, timeout, json, version=to, note=note)


@app.command(epilog="Example: capstan retrain --note 'new airports'")
def retrain(
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 30,
    note: Note = "",
    json: Json = False,
) -> None:
    """Train a new version now, without regard to backoff, cooldown and budget; it then takes the rollout's steps."""
    _ask("retrain", (state, context, namespace), system, wait, timeout, json, note=note)


@app.command(epilog="Example: capstan approve")
def approve(
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
    timeout: Timeout = 30,
    note: Note = "",
    json: Json = False,
) -> None:
    """Let a held training start, or end a step that waits for a person."""
    _ask("approve", (state, context, namespace), system, wait, timeout, json, note=note)


def _ask(
    verb: str,
    where: tuple[Path, str | None, str | None],
    system: str | None,
    wait: bool,
    timeout: float,
    json: bool,
    *,
    version: str | None = None,
    note: str = "",
) -> None:
    with honest_errors(json), open_system(place_of(*where), system) as stored:
        from datetime import UTC, datetime

        from capstan.engine.commands import issue

        before = max((number for number, _ in stored.events()), default=0)
        command = issue(
            stored.store,
            stored.name,
            verb,
            version=version,
            note=note,
            by=stored.place.person(),
            at=datetime.now(UTC),
        )
        holder = stored.place.runner()
        told: list[Event] = []
        followed = False
        if holder and wait:
            with Narrator(quiet=json) as narrator:
                followed, told = _follow(stored, command, before, timeout, narrator)
        failure = _failure(verb, told, timeout, is_late=bool(holder) and wait and not followed)
        if json:
            _print(command, holder, followed, told, failure)
            if failure is not None:
                raise typer.Exit(1)
        elif failure is not None:
            raise failure
        elif not holder:
            out.print(f"{verb}: written; nothing runs, so it is followed {_next(stored.place)}")
        elif not wait:
            out.print(f"{verb}: written; the running loop follows it, see `capstan status`")


def _next(place: Place) -> str:
    return "at the next `capstan up`" if isinstance(place, Machine) else "when an operator runs"


def _failure(verb: str, told: list[Event], timeout: float, *, is_late: bool) -> CapstanError | None:
    ignored = next((event for event in told if event.reason == Reason.COMMAND_IGNORED), None)
    if ignored is not None:
        return NotAllowedError(ignored.message)
    if is_late:
        return CapstanError(
            f"{verb}: written, and not done after {timeout:g} s; it stays asked for, see `capstan status`"
        )
    return None


def _follow(
    stored: StoredSystem, command: Command, after: int, timeout: float, narrator: Narrator
) -> tuple[bool, list[Event]]:
    """Tell the story until the loop has done what was asked; returns whether it has."""
    told: list[Event] = []
    deadline = time.monotonic() + timeout
    untold: float | None = None
    while True:
        now = stored.again()
        for number, event in stored.events(after=after):
            after = number
            told.append(event)
            narrator.tell(event)
        if now is None or any(event.reason == Reason.COMMAND_IGNORED for event in told):
            return True, told
        if _is_done(now, command):
            # The loop stores what it has done before its story tells of it.
            untold = untold or time.monotonic() + TELLS_SECONDS
            if told or time.monotonic() > untold:
                return True, told
        # An operator that ends is followed by another; a supervisor is not.
        is_over = isinstance(stored.place, Machine) and stored.place.runner() is None
        if time.monotonic() > deadline or is_over:
            return False, told
        time.sleep(LOOK_SECONDS if isinstance(stored.place, Machine) else CLUSTER_LOOK_SECONDS)


def _is_done(stored: StoredSystem, command: Command) -> bool:
    state = stored.system_state
    if any(waiting.id == command.id for waiting in state.commands):
        return False
    if str(command.verb) not in _WORK:
        return True
    if command.target:
        active = {state.rollout.name if state.rollout else "", state.run.run if state.run else ""}
        return command.target not in active
    # A rollout that takes all its steps lasts for days: it has begun, and that was asked for.
    return state.rollout is None or str(command.verb) == "promote"


def _print(
    command: Command,
    holder: int | str | None,
    followed: bool,
    told: list[Event],
    failure: CapstanError | None,
) -> None:
    from capstan.ports.codec import to_json

    document: dict[str, Any] = {
        "command": to_json(command),
        "supervisor": holder,
        "followed": followed,
        "events": [asdict(event) for event in told],
        "error": str(failure) if failure is not None else None,
    }
    print_json(document)

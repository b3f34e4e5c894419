"""`capstan why`: what moved when an alert fired, and how much of the drop it explains."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.cli.place import Context, Namespace, place_of
from capstan.cli.stored_system import SystemOption, open_system
from capstan.cli.tables_shown import aligned
from capstan.cli.told_windows import told_windows
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.monitoring.causes.told import Bar, Why

app = App()

_WIDE = 30
"""Characters of a bar that is all."""


@app.command(epilog="Example: capstan why QualityDropped")
def why(
    alert: Annotated[
        str, typer.Argument(help="Name of an alert, such as QualityDropped; default: the last one.")
    ] = "last",
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """Tell why an alert fired: which values moved, and how much of a rise of losses each explains.

    It is read from what the monitor stored with the window in which the alert held last; on one machine nothing needs
    to run.
    """
    with honest_errors(json):
        from capstan.monitoring.causes.told import alerts_told, why_of

        with open_system(place_of(state, context, namespace), system) as stored:
            windows, name = told_windows(stored.place, stored.name), stored.name
        told = alerts_told(windows)
        if alert != "last" and alert not in told:
            there = ", ".join(told) or "none"
            raise NotFoundError(f"{name}: no window tells why {alert} fired; alerts with a reason: {there}")
        found = why_of(windows, told[0] if alert == "last" else alert) if told else None
        if json:
            print_json({"system": name, "why": None if found is None else asdict(found)})
        elif found is None:
            typer.echo(f"{name}: no alert of drift or quality in any window; `capstan drift` shows them")
        else:
            _print(found)


def _print(found: Why) -> None:
    start = f"{found.start:%Y-%m-%d %H:%M} to " if found.start is not None else ""
    typer.echo(f"{found.alert} of {found.version}, window {start}{found.end:%Y-%m-%d %H:%M}")
    for sentence in found.sentences:
        typer.echo(sentence)
    if not found.bars:
        return
    typer.echo("")
    if found.bars[0].explained is None:
        lines = aligned([("rows with", "before", "now", ""), *map(_moved, found.bars)])
    else:
        heads = ("rows with", "before", "now", "of the rise", "95 %", "")
        lines = aligned([heads, *map(_explained, found.bars)])
    for line in lines:
        typer.echo(line)
    if found.bars[0].explained is not None:
        typer.echo("█ more rows that are harder, ▒ the same rows judged worse, ◂ against the rise")


def _moved(bar: Bar) -> tuple[str, ...]:
    before, now = (0.0 if share is None else share for share in (bar.before, bar.now))
    # Up to the smaller of the two it is what was and is; beyond it what came, or went.
    drawn = "█" * _length(min(before, now)) + ("▒" if now > before else "░") * _length(abs(now - before))
    return bar.what, f"{before:.1%}", f"{now:.1%}", drawn


def _explained(bar: Bar) -> tuple[str, ...]:
    shares = ["" if share is None else f"{share:.1%}" for share in (bar.before, bar.now)]
    drawn = "█" * _length(bar.mix) + "▒" * _length(bar.within)
    drawn += "◂" * (min(bar.mix, 0.0) + min(bar.within, 0.0) < -0.5 / _WIDE)
    interval = "" if bar.low is None or bar.high is None else f"{bar.low:.0%} to {bar.high:.0%}"
    return bar.what, *shares, f"{bar.explained or 0.0:.0%}", interval, drawn


def _length(share: float) -> int:
    return max(0, min(2 * _WIDE, round(share * _WIDE)))

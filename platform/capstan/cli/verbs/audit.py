"""`capstan audit`: what was decided and ordered, by whom, when and on what evidence; and whether it is unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, local, out, print_json
from capstan.cli.place import Context, Machine, Namespace, place_of
from capstan.cli.stored_system import System, open_system
from capstan.errors import ChangedStoryError

if TYPE_CHECKING:
    from capstan.domain.versions import SystemName
    from capstan.ports.seals import Chain
    from capstan.ports.store import Event

app = App()

_SHORTEST_SEAL = 12
_LOOP = "the loop"


@app.command(epilog="Example: capstan audit flight-delays --json > audit.json")
def audit(
    system: System = None,
    seal: Annotated[
        str | None,
        typer.Option(
            help="A seal that you noted earlier, or its first twelve digits: it must still be part of the story.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """Show every decision and order with who, when, why and on what evidence, and check that none was changed.

    Each event is sealed together with the one before. The command fails where a seal does not fit. Whoever can write
    the store could seal a changed story anew: note the last seal elsewhere, and ask for it with --seal.
    """
    with honest_errors(json):
        from capstan.ports.seals import check_seals

        if seal is not None and len(seal) < _SHORTEST_SEAL:
            raise typer.BadParameter(
                f"{seal!r} is too short; give at least {_SHORTEST_SEAL} digits", param_hint="--seal"
            )
        with open_system(place_of(state, context, namespace), system) as stored:
            told, name = stored.events(), stored.name
            forgets = not isinstance(stored.place, Machine)
        chain = check_seals(name, told)
        changed = _changed(name, chain, seal, [event.seal for _, event in told], forgets=forgets)
        if json:
            # One document, whatever is found: it is what archives keep.
            rows = [_row(*one) for one in told]
            print_json({"system": name, **asdict(chain), "changed": changed or None, "told": rows})
            if changed:
                raise typer.Exit(1)
            return
        for number, event in told:
            _print(number, event)
        if changed:
            raise ChangedStoryError(changed)
        _print_chain(chain)


def _row(number: int, event: Event) -> Mapping[str, Any]:
    return {
        "number": number,
        "at": event.at,
        "who": event.details.get("by") or _LOOP,
        "what": event.reason,
        "of": f"{event.kind.value}/{event.name}",
        "why": event.message,
        "evidence": {name: value for name, value in event.details.items() if name not in ("by", "system")},
        "seal": event.seal,
    }


def _print(number: int, event: Event) -> None:
    from rich.markup import escape

    row = _row(number, event)
    found = ", ".join(f"{name} {_told(value)}" for name, value in row["evidence"].items())
    evidence = escape(f" ({found})" if found else "")
    out.print(
        f"[dim]{number} {local(event.at)}[/dim] [bold]{event.reason}[/bold] {row['of']} by {escape(row['who'])}: "
        f"{escape(event.message)}{evidence} [dim]{event.seal[:_SHORTEST_SEAL]}[/dim]",
        soft_wrap=True,
    )


def _told(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _changed(name: SystemName, chain: Chain, seal: str | None, seals: list[str], *, forgets: bool) -> str:
    """What does not fit, and the way out; empty: all does. `forgets`: the place removes old events by itself."""
    way = "Compare with a copy that you trust, such as a backup or an earlier `capstan audit --json`"
    if chain.broken_at is not None:
        return (
            f"event {chain.broken_at} of {name} does not follow from the one before: an event was changed, added or "
            f"removed there. {way}"
        )
    if chain.begins_late and not forgets:
        return (
            f"the first event of {name} that is there is not its first one: earlier ones were removed. {way}"
        )
    if seal is not None and not any(one.startswith(seal) for one in seals):
        return (
            f"no event of {name} has the seal {seal}: the story was written anew since it was noted, or it is of "
            "another system"
        )
    return ""


def _print_chain(chain: Chain) -> None:
    if not chain.events:
        out.print("nothing was decided yet")
        return
    late = ", from the first that is kept" if chain.begins_late else ""
    seal = f"last seal {chain.last_seal}"
    out.print(f"{chain.events:,} events, each follows from the one before{late}; {seal}", soft_wrap=True)

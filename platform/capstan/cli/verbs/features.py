"""`capstan features`: brings events into the store in which services look them up."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.errors import NotFoundError

app = App()


@app.command(epilog="Example: capstan features system.yaml")
def features(
    file: Annotated[Path, typer.Argument(help="The system's file.", show_default=False)],
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="Read all events that windows reach, also those that were written after a load with an older moment.",
        ),
    ] = False,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Load new events of `data.events`, from which services make point-in-time features.

    It reads what became known since the last load. A running system does this by itself, four times within the shortest
    `freshness` and once a minute at least. Exit code 0 also where there was nothing new.
    """
    with honest_errors(json):
        from capstan.data.event_loading import load_events
        from capstan.domain.versions import SystemName
        from capstan.embedded.layout import StateDir
        from capstan.online.stores import LOAD_SECONDS, open_stores, servers_of
        from capstan.spec import load
        from capstan.verbs.folders import where_lives

        system = load(file)
        name = SystemName(system.metadata.name)
        if not system.spec.data.events:
            raise NotFoundError(
                f"{file}: no events are there; `capstan explain data.events` tells how they are written"
            )
        own = where_lives(StateDir(state.resolve()), name)
        store = open_stores(
            own.events(name),
            servers_of(system),
            system=name,
            secrets=own.secrets,
            timeout_seconds=LOAD_SECONDS,
        )
        now = datetime.now(UTC)
        found = load_events(system, store, now=now, secrets=own.secrets, whole=whole)
        store.close()
        if json:
            print_json(
                {"system": name, "loaded_until": now, "tables": [asdict(one) for one in found]},
            )
            return
        for one in found:
            since = (
                "all that windows reach" if one.since is None else f"since {one.since:%Y-%m-%d %H:%M:%S} UTC"
            )
            typer.echo(
                f"{one.source}: {one.read:,} events read ({since}), {one.forgotten:,} older ones dropped"
            )

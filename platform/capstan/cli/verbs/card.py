"""`capstan card`: the model card of a version, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.cli.place import Context, Machine, Namespace, place_of
from capstan.cli.remote_page import Account, PageNamespace
from capstan.cli.stored_system import SystemOption, trained_system
from capstan.cluster.places import OPERATOR_NAMESPACE

app = App()


@app.command(epilog="Example: capstan card v1 --out v1.html")
def card(
    version: Annotated[str, typer.Argument(help="A version, such as v1.", show_default=False)],
    system: SystemOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; default: SYSTEM-VERSION.html here.", show_default=False),
    ] = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    account: Account = None,
    page_namespace: PageNamespace = OPERATOR_NAMESPACE,
    json: Json = False,
) -> None:
    """Write a version's model card: what it is for, how good it is, what matters to it, its limits, its story.

    The training wrote it into the registry; the story goes on to what the version led to by now. The file loads nothing
    and can be sent to anybody. With --context it is read from the page of a cluster.
    """
    with honest_errors(json):
        from capstan.files import write_whole

        place = place_of(state, context, namespace)
        with place.store() as store:
            name = trained_system(store, system)
            if isinstance(place, Machine):
                from capstan.dashboard.cards import card_of
                from capstan.embedded.wiring import registry_named
                from capstan.verbs.made_versions import made_version

                made = made_version(store, place.state, name, version)
                events = [event for _, event in store.events(name)]
                text = card_of(registry_named(name, place.state).artifact, made.version, events)
            else:
                from capstan.cli.remote_page import card_in

                text = card_in(place, name, version, account=account, page_namespace=page_namespace)
        file = to or Path(f"{name}-{version}.html")
        write_whole(file, text.encode())
        if json:
            print_json({"system": name, "version": version, "file": str(file.resolve())})
        else:
            typer.echo(f"{name} {version}: {file}")

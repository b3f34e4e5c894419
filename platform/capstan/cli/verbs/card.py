"""`capstan card`: the model card of a version, or the report of its data, as one HTML file."""

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
        typer.Option(
            "--out",
            help="File to write; default: SYSTEM-VERSION.html here, and SYSTEM-VERSION-data.html with --data.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        bool, typer.Option("--data", help="Write the report of the data that its training read instead.")
    ] = False,
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

    With --data it is the report of the data instead: distributions, missing values, correlations, checks, parts, drift
    from the champion's data, and where the rows and the code come from.
    """
    with honest_errors(json):
        from capstan.files import write_whole

        place = place_of(state, context, namespace)
        with place.store() as store:
            name = trained_system(store, system)
            if isinstance(place, Machine):
                from capstan.dashboard.cards import card_of, data_report_of
                from capstan.embedded.wiring import registry_named
                from capstan.verbs.made_versions import made_version

                made = made_version(store, place.state, name, version)
                kept = registry_named(name, place.state).artifact
                events = [event for _, event in store.events(name)]
                text = data_report_of(kept, made.version) if data else card_of(kept, made.version, events)
            else:
                from capstan.cli.remote_page import card_in, data_report_in

                ask = data_report_in if data else card_in
                text = ask(place, name, version, account=account, page_namespace=page_namespace)
        file = to or Path(f"{name}-{version}{'-data' if data else ''}.html")
        write_whole(file, text.encode())
        if json:
            print_json({"system": name, "version": version, "file": str(file.resolve())})
        else:
            typer.echo(f"{name} {version}: {file}")

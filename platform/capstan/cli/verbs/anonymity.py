"""`capstan anonymity`: whether a person can be singled out among the stored answers of a system."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, honest_errors, print_json
from capstan.cli.tables_shown import aligned

if TYPE_CHECKING:
    from capstan.verbs.anonymity import StoredAnonymity

app = App()


@app.command(epilog="Example: capstan anonymity system.yaml --days 30")
def anonymity(
    file: File,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Days up to the newest stored answer; default: all that are stored.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Show k-anonymity and l-diversity of the stored answers, as data.privacy.anonymity of the file asks for them.

    With keys.stickyBy people are counted, else rows. Exit code 1 where fewer are alike, or their values less different,
    than the file asks.
    """
    with honest_errors(json):
        from capstan.embedded.layout import StateDir
        from capstan.spec import load
        from capstan.verbs.anonymity import stored_anonymity
        from capstan.verbs.folders import where_lives

        system = load(file)
        lives = where_lives(StateDir(state.resolve()), system.metadata.name)
        found = stored_anonymity(system, lives, days=days, now=datetime.now(UTC))
        if json:
            told = asdict(found.alike)
            told["asked"] = found.alike.asked.model_dump(mode="json", by_alias=True, exclude_none=True)
            dated = {"start": found.start.isoformat(), "end": found.end.isoformat()}
            print_json({"system": system.metadata.name, **dated, **told, "problems": found.alike.problems})
        else:
            _print(found)
        if found.alike.problems:
            raise typer.Exit(1)


def _print(found: StoredAnonymity) -> None:
    alike, asked = found.alike, found.alike.asked
    typer.echo(f"stored answers from {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d} UTC")
    rows = [
        ("", "found", "asked"),
        (f"{alike.counted} of all groups", f"{alike.rows:,}", ""),
        (f"groups alike in {', '.join(asked.by)}", f"{alike.groups:,}", ""),
        (
            f"fewest {alike.counted} of a group (k)",
            f"{alike.fewest:,}",
            "" if asked.k is None else f"{asked.k:,}",
        ),
        *(
            (
                f"fewest values of {name} in a group (l)",
                f"{fewest:,}",
                "" if asked.l is None else f"{asked.l:,}",
            )
            for name, fewest in alike.diversity.items()
        ),
    ]
    for line in aligned(rows):
        typer.echo(line)
    for problem in alike.problems:
        typer.echo(problem)

"""`capstan forget`: erase what is stored of some people."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, honest_errors, print_json

app = App()

_FORM = "write COLUMN=VALUE, such as customer=4711"


@app.command(epilog="Example: capstan forget system.yaml customer=4711")
def forget(
    file: File,
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLUMN=VALUE...",
            help="Whom: keys.id, keys.stickyBy or a pseudonymised column of the file, and the value.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="File with one COLUMN=VALUE in each line: a shell keeps what is typed in its history.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be erased; erase nothing.")
    ] = False,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Erase the stored answers, labels and events of people, and the lines of them among a training's broken rows.

    A pseudonymised value is found under every key that is there. The system must not run meanwhile. `capstan audit`
    tells who erased how much, and no value. Models that have learnt from these people, your sources and what batches
    wrote stay as they are.
    """
    with honest_errors(json):
        from capstan.cli.place import Machine
        from capstan.embedded.layout import StateDir
        from capstan.spec import load
        from capstan.verbs.folders import where_lives
        from capstan.verbs.forgetting import forget as erase

        pairs = [_pair(one) for one in (*(named or ()), *_lines(source))]
        if not pairs:
            raise typer.BadParameter(f"nobody is named; {_FORM}, or --from FILE", param_hint="COLUMN=VALUE")
        system = load(file)
        lives = where_lives(StateDir(state.resolve()), system.metadata.name)
        found = erase(
            system, lives, pairs, by=Machine(lives).person(), now=datetime.now(UTC), is_trial=dry_run
        )
        if json:
            print_json({"system": system.metadata.name, "dry_run": dry_run, **asdict(found)})
            return
        typer.echo(f"{found.in_words()} {'would be' if dry_run else 'are'} erased")
        if not dry_run:
            typer.echo(
                "models that have learnt from them, your sources and what batches wrote stay as they are"
            )


def _pair(text: str) -> tuple[str, str]:
    column, is_there, value = text.partition("=")
    if not (column and is_there and value):
        raise typer.BadParameter(f"{text!r} names nobody; {_FORM}", param_hint="COLUMN=VALUE")
    return column.strip(), value


def _lines(source: Path | None) -> list[str]:
    if source is None:
        return []
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise typer.BadParameter(f"{source} cannot be read: {why}", param_hint="--from") from None
    return [line.strip() for line in text.splitlines() if line.strip()]

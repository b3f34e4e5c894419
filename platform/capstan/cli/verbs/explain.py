"""`capstan explain`: what a field of the file means, and what to do about an alert."""

from __future__ import annotations

import dataclasses
import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.spec.fields import FieldDoc

app = App()


@app.command(epilog="Example: capstan explain data.split")
def explain(
    field: Annotated[
        str | None,
        typer.Argument(
            help="A field such as data.split, or an alert such as DriftDetected; without it the tree of all fields.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Tell what a field of the file means (type, default, an example), or what to do about an alert."""
    # Other commands must not pay for the grammar at start-up.
    from capstan.spec.fields import all_fields, plain_path
    from capstan.verbs.explaining import explained, page
    from capstan.verbs.runbooks import runbook

    if field is None or not plain_path(field):
        docs = list(all_fields().values())
        typer.echo(_json(docs) if as_json else _tree(docs))
        return
    text = runbook(field)
    if text is not None:
        typer.echo(json.dumps({"alert": field, "runbook": text}, ensure_ascii=False) if as_json else text)
        return
    try:
        doc = explained(field)
    except NotFoundError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(_json(doc) if as_json else page(doc, _width()))


def _json(docs: FieldDoc | list[FieldDoc]) -> str:
    data = [dataclasses.asdict(doc) for doc in docs] if isinstance(docs, list) else dataclasses.asdict(docs)
    return json.dumps(data, indent=2, ensure_ascii=False)


def _width() -> int:
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 110))


def _tree(docs: list[FieldDoc]) -> str:
    lines = []
    for doc in docs:
        head = f"{'  ' * doc.depth}{doc.name}{' *' if doc.is_required else ''}"
        lines.append(f"{head:<33} {textwrap.shorten(doc.description, _width() - 34, placeholder=' ...')}")
    return "\n".join(
        [*lines, "", "* required. `capstan explain FIELD` tells more, such as: capstan explain data.split"]
    )

"""`capstan explain`: what a field of the file means."""

from __future__ import annotations

import dataclasses
import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App

if TYPE_CHECKING:
    from capstan.spec.fields import FieldDoc

app = App()


@app.command(epilog="Example: capstan explain data.split")
def explain(
    field: Annotated[
        str | None,
        typer.Argument(
            help="A field such as data.split; without it the tree of all fields.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Tell what a field of the file means: type, default, an example."""
    # Other commands must not pay for the grammar at start-up.
    from capstan.spec.fields import all_fields, find_field, plain_path, similar_fields

    if field is None or not plain_path(field):
        docs = list(all_fields().values())
        typer.echo(_json(docs) if as_json else _tree(docs))
        return
    doc = find_field(field)
    if doc is None:
        guesses = similar_fields(field)
        hint = f"did you mean {' or '.join(guesses)}?" if guesses else "`capstan explain` lists all fields"
        typer.echo(f"{field}: there is no such field; {hint}", err=True)
        raise typer.Exit(1)
    typer.echo(_json(doc) if as_json else _page(doc))


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


def _page(doc: FieldDoc) -> str:
    from capstan.spec.fields import all_fields

    rows = [("type", doc.type + (", required" if doc.is_required else ""))]
    if not doc.is_required:
        own = doc.default == "{}" and bool(doc.children)
        rows.append(("default", "that of each of its fields" if own else doc.default or "none"))
    if len(doc.choices) > 1:
        rows.append(("choices", ", ".join(doc.choices)))
    if doc.one_of:
        rows.append(("one of", f"exactly one of {', '.join(doc.one_of)}"))
    rows.append(("example", doc.example))
    lines = [doc.path, *_wrapped(doc.description, "  "), ""]
    for name, text in rows:
        first, *rest = _wrapped(text, " " * 11)
        lines += [f"  {name:<9}{first.strip()}", *rest]
    if doc.children:
        lines += ["", "  fields"]
        for child in doc.children:
            inner = all_fields()[f"{doc.path}.{child}"]
            mark = " *" if inner.is_required else ""
            first, *rest = _wrapped(inner.description, " " * 27)
            lines += [f"    {child + mark:<22} {first.strip()}", *rest]
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _width(), initial_indent=indent, subsequent_indent=indent) or [""]

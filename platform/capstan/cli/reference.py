"""The page that lists every command, written from the commands themselves.

`python -m capstan.cli.reference > platform/docs/cli.md` brings it up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer.main

from capstan.cli.main import VERBS, Group, app

if TYPE_CHECKING:
    from typer._click import Command, Parameter

_HEAD = """# Commands

Every command of `capstan`, with its arguments and options. This page is written from the commands by `make docs`; the
same words come from `capstan COMMAND --help`. [Operations](operations.md#looking-and-acting) says which command answers
which question, and what the exit codes mean.
"""
_WIDE = 10_000
"""Characters in a line of usage: it is not broken."""


def reference() -> str:
    """The whole page as Markdown."""
    root: Any = typer.main.get_command(app)
    lines = [_HEAD]
    for group in Group:
        lines += [f"## {group.value}", ""]
        for verb in (verb for verb, its in VERBS.items() if its is group):
            lines += _section(f"capstan {verb}", root.commands[verb])
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, command: Any) -> Iterator[str]:
    yield from (f"### {name}", "", *_paragraphs(command.help), "")
    inner = getattr(command, "commands", None)
    if inner is not None:
        for verb, child in sorted(inner.items()):
            yield from _section(f"{name} {verb}", child)
        return
    yield from ("```", _usage(name, command), "```", "")
    if command.epilog:
        yield from (*_paragraphs(command.epilog), "")
    rows = [row for parameter in command.params if (row := _row(parameter, command))]
    if rows:
        yield from ("| argument or option | meaning |", "|---|---|", *rows, "")


def _paragraphs(text: str | None) -> list[str]:
    """Each paragraph in one line, with an empty line between."""
    told = [_words(part) for part in (text or "").replace("\b", "").split("\n\n")]
    return "\n\n".join(filter(None, told)).splitlines()


def _words(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _usage(name: str, command: Command) -> str:
    context = command.context_class(command, info_name=name, max_content_width=_WIDE, terminal_width=_WIDE)
    return command.get_usage(context).removeprefix("Usage: ")


def _row(parameter: Parameter, command: Command) -> str | None:
    context = command.context_class(command, info_name="capstan")
    record = parameter.get_help_record(context)
    if record is None:
        return None
    written, meaning = re.sub(r"<list\[(\w+)\]>", r"<\1> ...", record[0]).replace("|", " or "), record[1]
    return f"| `{_cell(written)}` | {_cell(_words(meaning))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())

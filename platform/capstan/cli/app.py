"""How verbs are made and explained: without rich, which would make every `--help` slow, and with options in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter
    from typer.models import CommandFunctionType


class Verb(TyperCommand):
    """A command whose options stand in groups, as `rich_help_panel` names them."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


class VerbGroup(TyperGroup):
    """Commands below one verb; each is told by the whole first paragraph of its help."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.write_section(formatter, "Commands", self.list_commands(ctx))

    def write_section(self, formatter: HelpFormatter, title: str, names: Iterable[str]) -> None:
        with formatter.section(title):
            formatter.write_dl([(name, self.summary(name)) for name in names])

    def summary(self, name: str) -> str:
        """The first paragraph of the command's help, in one line."""
        return _first_paragraph(self.commands[name])


def _first_paragraph(command: Command) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())


class App(typer.Typer):
    """What a verb's module assembles its commands in."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"cls": VerbGroup, "rich_markup_mode": None, "add_completion": False} | settings)

    def command(
        self, name: str | None = None, *, epilog: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, cls=Verb, epilog=epilog, **settings)

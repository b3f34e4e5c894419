"""The `capstan` command: one module per verb, assembled here.

A verb's module is imported when its verb is asked for: all of them would make every start slow.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from capstan.cli.app import App, VerbGroup

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class Group(StrEnum):
    """What people want when they look for a verb; `--help` lists the verbs below these."""

    FILE = "Write the file"
    RUN = "Run the system"
    LOOK = "Look at what runs"
    ORDER = "Give orders to the loop"
    STATISTICS = "Experiments and verdicts"
    HELP = "When something is missing"


VERBS = {
    "init": Group.FILE,
    "profile": Group.FILE,
    "labels": Group.FILE,
    "features": Group.FILE,
    "validate": Group.FILE,
    "explain": Group.FILE,
    "plan": Group.FILE,
    "etl": Group.RUN,
    "train": Group.RUN,
    "up": Group.RUN,
    "down": Group.RUN,
    "replay": Group.RUN,
    "demo": Group.RUN,
    "backtest": Group.RUN,
    "calibrate": Group.RUN,
    "import": Group.RUN,
    "predict": Group.RUN,
    "feedback": Group.RUN,
    "forget": Group.RUN,
    "trigger": Group.RUN,
    "traffic": Group.RUN,
    "render": Group.RUN,
    "push": Group.RUN,
    "image": Group.RUN,
    "export": Group.RUN,
    "ls": Group.LOOK,
    "status": Group.LOOK,
    "open": Group.LOOK,
    "runs": Group.LOOK,
    "drift": Group.LOOK,
    "why": Group.LOOK,
    "audit": Group.LOOK,
    "anonymity": Group.LOOK,
    "card": Group.LOOK,
    "compare": Group.LOOK,
    "diff": Group.LOOK,
    "logs": Group.LOOK,
    "report": Group.LOOK,
    "dashboards": Group.LOOK,
    "retrain": Group.ORDER,
    "approve": Group.ORDER,
    "promote": Group.ORDER,
    "pause": Group.ORDER,
    "resume": Group.ORDER,
    "abort": Group.ORDER,
    "rollback": Group.ORDER,
    "power": Group.STATISTICS,
    "experiment": Group.STATISTICS,
    "evaluate": Group.STATISTICS,
    "doctor": Group.HELP,
}
MODULES = {"down": "up", "import": "import_model"} | dict.fromkeys(
    (verb for verb, group in VERBS.items() if group is Group.ORDER), "orders"
)
"""Where a verb's module has another name."""


_COMMAND = re.compile(
    r"@app\.command\((?P<settings>[^@]*?)\)\n"
    r'def (?P<function>\w+)\((?:\)|\n.*?\n\)) -> None:\n    """(?P<help>.*?)"""',
    re.DOTALL,
)
"""A command of a verb's module with its docstring."""
_NAMED = re.compile(r'"(?P<name>[a-z-]+)"')
"""Where a command's name is not that of its function, it comes first in the settings."""
_GROUP = re.compile(r'App\(\s*name="(?P<name>[a-z-]+)",\s*help="(?P<help>[^"]*)"')
"""Commands below one verb."""


class _Loaded(Mapping[str, "Command"]):
    """The verbs' commands, each imported when it is asked for."""

    def __getitem__(self, verb: str) -> Command:
        if verb not in VERBS:
            raise KeyError(verb)
        module = importlib.import_module(f"capstan.cli.verbs.{MODULES.get(verb, verb)}")
        command = typer.main.get_command(module.app)
        return command.commands[verb] if isinstance(command, TyperGroup) else command

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class Verbs(VerbGroup):
    """All verbs, below what people want."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Loaded()  # type: ignore[assignment]

    def format_commands(self, _: Context, formatter: HelpFormatter) -> None:
        for group in Group:
            self.write_section(formatter, group, [verb for verb in VERBS if VERBS[verb] is group])

    def summary(self, name: str) -> str:
        return summary_of(name) or super().summary(name)


def summary_of(verb: str) -> str:
    """First paragraph of the verb's help, read in the text of its module; empty: it can't be found there.

    Importing all modules for their list took four fifths of the time of `capstan --help`.
    """
    file = Path(__file__).with_name("verbs") / f"{MODULES.get(verb, verb)}.py"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return ""
    for found in _GROUP.finditer(text):
        if found["name"] == verb:
            return found["help"]
    for found in _COMMAND.finditer(text):
        named = _NAMED.match(found["settings"])
        if (named["name"] if named else found["function"]) == verb:
            return " ".join(found["help"].partition("\n\n")[0].split())
    return ""


app = App(
    name="capstan",
    cls=Verbs,
    help="One file describes an ML system; Capstan trains it, serves it, watches it and retrains it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"max_content_width": 110},
    epilog="Start here: capstan demo",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"capstan {version('capstan-mlops')}")
        raise typer.Exit


@app.callback()
def capstan(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print Capstan's version and exit.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """One file describes an ML system; Capstan trains it, serves it, watches it and retrains it."""


def main() -> None:
    """Entry point of the console script."""
    app()

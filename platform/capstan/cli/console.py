"""How the commands speak: progress and story for people, JSON for machines, honest exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from capstan.domain.reasons import Tone, facts_of
from capstan.errors import CapstanError, InvalidSpecError
from capstan.ports.store import Event

T = TypeVar("T")
State = Annotated[
    Path, typer.Option("--state", help="State directory.", envvar="CAPSTAN_STATE", show_default=True)
]
DEFAULT_STATE = Path(".capstan")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DEFAULT_PAGE_PORT = 7411
DEFAULT_GATEWAY_PORT = 7480
PagePort = Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")]
GatewayPort = Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")]
File = Annotated[Path, typer.Argument(help="The system's file, such as system.yaml.")]

ROWS_TOLD = 100_000
"""After so many rows a program that reads stderr is told how far a command is."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_COLOURS = {
    Tone.IDLE: "cyan",
    Tone.ACTIVE: "cyan",
    Tone.GOOD: "bold green",
    Tone.WARN: "yellow",
    Tone.BAD: "bold red",
}


def print_json(document: object) -> None:
    sys.stdout.write(
        orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode() + "\n"
    )
    # A command that goes on afterwards would keep its answer from the program that reads it.
    sys.stdout.flush()


def print_json_line(document: object) -> None:
    """One of several documents, which programs read line by line."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
    sys.stdout.flush()


@contextmanager
def honest_errors(json: bool = False) -> Iterator[None]:
    """Turn errors that were raised on purpose into a message and exit code 1; others stay tracebacks, they are bugs."""
    try:
        yield
    except InvalidSpecError as error:
        if json:
            print_json({"error": "InvalidSpec", "mistakes": [vars(mistake) for mistake in error.mistakes]})
        else:
            for mistake in error.mistakes:
                err.print(f"[red]error[/red] {escape(str(mistake))}", soft_wrap=True)
        raise typer.Exit(1) from error
    except CapstanError as error:
        if json:
            print_json({"error": type(error).__name__.removesuffix("Error"), "message": str(error)})
        else:
            err.print(f"[red]error[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error


class Narrator:
    """Tells the story of a running system line by line, with a bar for how far it is."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=out,
            disable=quiet or not out.is_terminal,
        )
        self._task: TaskID | None = None
        self._told_share = -1

    def __enter__(self) -> Narrator:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """One line of what is happening, as it is: brackets of a path or an error are no colours."""
        self.say_marked(escape(text))

    def say_marked(self, text: str) -> None:
        """One line with rich's markup."""
        if not self._quiet:
            self._progress.console.print(text, soft_wrap=True)

    def say_why_slow(self) -> None:
        """Where Python has yet to compile what is imported next, say so: it looks like a standstill."""
        from capstan.cli.bytecode import why_slow

        why = why_slow()
        if why is not None:
            self.say(why)

    def tell(self, event: Event) -> None:
        """One line of the story, in the time of the system."""
        tone = _COLOURS[facts_of(event.reason, event.details).tone]
        when = f"{event.at:%Y-%m-%d %H:%M}Z"
        self.say_marked(f"[dim]{when}[/dim] [{tone}]{event.reason}[/{tone}] {escape(event.message)}")

    def advance(self, description: str, done: int, total: int, note: str = "") -> None:
        """How far it is; without a terminal a line at every tenth."""
        if self._task is None:
            self._task = self._progress.add_task(description, total=total, note=note)
        self._progress.update(self._task, description=description, completed=done, total=total, note=note)
        share = done * 10 // max(total, 1)
        if not out.is_terminal and share > self._told_share:
            self._told_share = share
            whole = done * 100 // max(total, 1)
            percent = whole if whole or not done else "< 1"
            self.say(f"{description}: {done:,} of {total:,} ({percent} %) {note}")


def counted(rows: Iterable[T], noun: str, *, shown: bool) -> Iterator[T]:
    """The rows as they come, with their number on stderr: in place on a terminal, else a line for each 100,000."""
    bar = Progress(
        TextColumn("{task.completed:,.0f} " + noun),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not shown or not err.is_terminal,
    )
    with bar:
        task = bar.add_task(noun, total=None)
        for number, row in enumerate(rows, start=1):
            yield row
            bar.advance(task)
            if shown and not err.is_terminal and number % ROWS_TOLD == 0:
                err.print(f"{number:,} {noun}", markup=False)


def local(moment: datetime | None) -> str:
    """A moment as the tables show it."""
    return f"{moment:%Y-%m-%d %H:%M}Z" if moment is not None else "-"

"""`capstan init`: a file for a table that nobody has described yet, with a reason for each guess."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.spec.tasks import TASK_FACTS

if TYPE_CHECKING:
    from capstan.spec.guessing import TableProfile, Wishes

app = App()


_UNLABELLED = " or ".join(name for name, facts in TASK_FACTS.items() if not facts.needs_labels)


@app.command(epilog="Example: capstan init customers.csv --target churned")
def init(
    file: Annotated[
        Path,
        typer.Argument(
            help="A table: CSV, Parquet or JSON lines.", show_default=False, exists=True, dir_okay=False
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help=f"Column that is to be predicted; not needed with --task {_UNLABELLED}.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help=f"Kind of prediction: {', '.join(TASK_FACTS)}.", show_default="guessed by the column"
        ),
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for each key before it is guessed.")] = False,
    by_requests: Annotated[
        bool,
        typer.Option(
            "--by-requests", help="Let a rollout count requests instead of days, to watch one within minutes."
        ),
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="A column that is a feature, though it would be left out. May be repeated.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    json: Json = False,
) -> None:
    """Look at a table, guess what a file must say about it, and write system.yaml and README.md beside it."""
    with honest_errors(json):
        from capstan.data.profiling import profile_table
        from capstan.spec.guessing import Wishes
        from capstan.verbs.describing import described, require_room, write_described

        if not force:
            require_room(file.parent, "add --force, or move the table into a folder of its own")
        now = datetime.now(UTC)
        table = profile_table(file)
        wishes = replace(
            _asked(table, target, task, now) if ask else Wishes(task=task),
            by_requests=by_requests,
            kept=frozenset(keep or ()),
        )
        guessed = described(table, target, file.parent, wishes, now=now)
        written = write_described(file.parent, guessed, table)
    if json:
        print_json(
            {
                "files": [str(path) for path in written],
                "guesses": [asdict(guess) for guess in guessed.guesses],
                "system": guessed.document,
            }
        )
        return
    for guess in guessed.guesses:
        out.print(
            f"{guess.field}: {guess.value}: {guess.reason}", markup=False, highlight=False, soft_wrap=True
        )
    out.print(f"wrote {written[0]} and {written[1]}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"next: capstan validate --data {written[0]}, then capstan up {written[0]}",
        markup=False,
        soft_wrap=True,
    )


def _asked(table: TableProfile, target: str | None, task: str | None, now: datetime) -> Wishes:
    """What a person says where they are asked; an empty answer is what would be guessed."""
    from capstan.spec.guessing import Wishes, guess

    guessed = guess(table, target, now=now, wishes=Wishes(task=task)).document["spec"]
    keys = guessed["data"].get("keys", {})
    said = {
        "task": typer.prompt("task", default=guessed["objective"]["task"], err=True),
        "time": typer.prompt(
            "column with the moment of each row (- for none)", default=keys.get("time", "-"), err=True
        ),
        "id": typer.prompt("column that names each row (- for none)", default=keys.get("id", "-"), err=True),
    }
    return Wishes(
        task=said["task"],
        time="" if said["time"] == "-" else said["time"],
        id="" if said["id"] == "-" else said["id"],
    )

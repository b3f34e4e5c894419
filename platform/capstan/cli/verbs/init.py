"""`capstan init`: a file for a table that nobody has described yet, with a reason for each guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import Json, honest_errors, out, print_json
from capstan.errors import NotAllowedError

if TYPE_CHECKING:
    from capstan.spec.guessing import Guess, Guessed, TableProfile, Wishes

app = App()

SYSTEM_FILE = "system.yaml"
README_FILE = "README.md"
_COMMENTED = ("objective", "data", "features", "training")


@app.command(epilog="Example: capstan init customers.csv --target churned")
def init(
    file: Annotated[
        Path,
        typer.Argument(
            help="A table: CSV, Parquet or JSON lines.", show_default=False, exists=True, dir_okay=False
        ),
    ],
    target: Annotated[
        str, typer.Option("--target", "-t", help="Column that is to be predicted.", show_default=False)
    ],
    ask: Annotated[bool, typer.Option("--ask", help="Ask for each key before it is guessed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    json: Json = False,
) -> None:
    """Look at a table, guess what a file must say about it, and write system.yaml and README.md beside it."""
    with honest_errors(json):
        written = [file.parent / SYSTEM_FILE, file.parent / README_FILE]
        there = [path.name for path in written if path.exists()]
        if there and not force:
            raise NotAllowedError(
                f"init: {' and '.join(there)} in {file.parent} would be overwritten; add --force, or move the table "
                "into a folder of its own"
            )
        from capstan.data.profiling import profile_table
        from capstan.spec.guessing import Wishes

        now = datetime.now(UTC)
        table = profile_table(file)
        wishes = _asked(table, target, now) if ask else Wishes()
        guessed = _kept(table, target, file.parent, wishes, now)
        written[0].write_text(in_comments(guessed))
        written[1].write_text(_readme(guessed, table))
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


def _asked(table: TableProfile, target: str, now: datetime) -> Wishes:
    """What a person says where they are asked; an empty answer is what would be guessed."""
    from capstan.spec.guessing import Wishes, guess

    guessed = guess(table, target, now=now).document["spec"]
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


def _kept(table: TableProfile, target: str, folder: Path, wishes: Wishes, now: datetime) -> Guessed:
    """The guess without the features that know the answer."""
    from capstan.data import extract, find_leaks
    from capstan.spec import parse
    from capstan.spec.guessing import guess

    while True:
        guessed = guess(table, target, now=now, wishes=wishes)
        system = parse(guessed.document, base_dir=folder)
        cases = extract(system, as_of=now, labels_as_of=now)
        leaks = [leak for leak in find_leaks(cases, system, as_of=now) if leak.is_certain]
        if not leaks:
            return guessed
        found = {
            leak.column: f"{leak.reason}: it is the label in disguise, or known only after it"
            for leak in leaks
        }
        wishes = replace(wishes, left_out={**wishes.left_out, **found})


def in_comments(guessed: Guessed) -> str:
    """The file, with the reasons of each part above it."""
    from capstan.spec.writing import in_blocks

    text = in_blocks(dict(guessed.document))
    lines = [
        "# Written by `capstan init`. Each guess has its reason; correct what is wrong, and delete the comments."
    ]
    for line in text.splitlines():
        part = line.strip().rstrip(":").partition(":")[0]
        if line.startswith("  ") and not line.startswith("   ") and part in _COMMENTED:
            lines += [
                f"  # {_plain(guess)}" for guess in guessed.guesses if guess.field.split(".")[0] == part
            ]
        lines.append(line)
    return "\n".join(lines) + "\n"


def _plain(guess: Guess) -> str:
    """On one line, whatever a column's values hold."""
    return " ".join(f"{guess.field}: {guess.value}: {guess.reason}".split())


def _readme(guessed: Guessed, table: TableProfile) -> str:
    document: Mapping[str, Any] = guessed.document
    spec = document["spec"]
    dated = "time" in spec["data"].get("keys", {})
    reasons = "\n".join(
        f"| `{one.field}` | {_cell(one.value)} | {_cell(one.reason)} |" for one in guessed.guesses
    )
    lost = (
        ""
        if dated
        else (
            "\nNo column says when a row became known. So rows are parted at random, nobody can tell whether a feature "
            "was written\nafter the label, and nothing can be replayed. Name the column under `data.keys.time` if "
            "there is one.\n"
        )
    )
    objective = spec["objective"]
    size = f"{table.rows:,} rows, {len(table.columns)} columns"
    return f"""# {document["metadata"]["name"]}

Predicts `{objective["target"]}` of `{table.file}` ({size}) as {objective["task"]}.

```console
capstan validate --data {SYSTEM_FILE}   # what is in the table, and what is wrong
capstan up {SYSTEM_FILE}                # trains, serves, watches; prints a request to try
```

What was guessed, and why:

| field | guess | reason |
|---|---|---|
{reasons}
{lost}"""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

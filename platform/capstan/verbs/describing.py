"""A file for a table that nobody has described yet, with a reason for each guess."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data import extract, find_leaks, parts_of_label, told_alone
from capstan.data.leakage import ToldAlone
from capstan.errors import NotAllowedError
from capstan.files import write_together
from capstan.spec import MLSystem, parse
from capstan.spec.guessing import Guess, Guessed, TableProfile, Wishes, guess
from capstan.spec.writing import in_blocks
from capstan.verbs.labelling import REQUEST_ID

SYSTEM_FILE = "system.yaml"
README_FILE = "README.md"
_VALIDATION, _TEST = 0.1, 0.2
ENOUGH = 0.5
"""Of its share of the rows, from which on a part is large enough."""
LEAST_TO_LEARN = 0.3
"""Of the rows, that are not for validation and test."""
MOST_TOLD_ALONE = 3
LEAST_TOLD_ALONE = 0.05
"""Of the label; a feature that tells less is not named."""
_COMMENTED = ("objective", "data", "features", "training", "rollout")


def require_room(folder: Path, way_out: str) -> None:
    """Raises NotAllowedError where a file would be overwritten; `way_out` ends it."""
    there = [name for name in (SYSTEM_FILE, README_FILE) if (folder / name).exists()]
    if there:
        raise NotAllowedError(f"{' and '.join(there)} in {folder} would be overwritten; {way_out}")


def described(
    table: TableProfile, target: str | None, folder: Path, wishes: Wishes, *, now: datetime
) -> Guessed:
    """What a file would say of the table in `folder`, without the features that know the answer.

    `target` is the column that is to be predicted; None: no column holds it, and the wished task needs none.

    Raises InvalidSpecError where no file can be made, InvalidDataError where the table cannot be read.
    """
    guessed = guess(table, target, now=now, wishes=wishes)
    system = parse(guessed.document, base_dir=folder)
    cases = extract(system, as_of=now, labels_as_of=now)
    leaks = {leak.column: leak for leak in find_leaks(cases, system, as_of=now) if leak.is_certain}
    found = {
        column: f"{leak.reason}: it is the label in disguise, or known only after it"
        for column, leak in leaks.items()
    }
    parts = parts_of_label(cases, system)
    together = f"{' and '.join(parts)} together give the label in every row, so they are known only with it"
    found |= {part: together for part in parts if part not in found}
    known_before = wishes.kept & leaks.keys()
    told = [
        one for one in told_alone(cases, system) if one.feature not in found or one.feature in wishes.kept
    ]
    while True:
        crowded, parted = _days(cases, system)
        time = system.spec.data.keys.time
        if not crowded or time is None or wishes.time is not None:
            break
        # Another column may part the rows.
        wishes = replace(wishes, no_times={**wishes.no_times, time: crowded})
        guessed = guess(table, target, now=now, wishes=wishes)
        system = parse(guessed.document, base_dir=folder)
        cases = extract(system, as_of=now, labels_as_of=now)
    if found or parted is not None:
        # Each feature is judged by itself, so the others need no second look.
        wishes = replace(
            wishes, left_out={**wishes.left_out, **found}, parts=parted, known_before=known_before
        )
        guessed = guess(table, target, now=now, wishes=wishes)
        parse(guessed.document, base_dir=folder)
    return replace(guessed, guesses=(*guessed.guesses, *_to_be_checked(told)))


def _to_be_checked(told: Sequence[ToldAlone]) -> Iterator[Guess]:
    """The features that tell most of the label: nothing in a table says whether they are known before it."""
    most = [one for one in told if one.share >= LEAST_TOLD_ALONE][:MOST_TOLD_ALONE]
    if most:
        shown = ", ".join(f"{one.feature} {one.share:.2f}" for one in most)
        yield Guess(
            "data.leaks",
            f"check {', '.join(one.feature for one in most)}",
            f"these tell most of the label alone ({most[0].measure}: {shown}). The table does not say whether they are "
            "known before the label: delete each feature that is not",
        )


def _days(cases: pa.Table, system: MLSystem) -> tuple[str, tuple[int, int] | None]:
    """Why days cannot part the labelled rows, empty if they can; days for validation and test with their share of them.

    None: those that are guessed have enough.
    """
    time, by_time = system.spec.data.keys.time, system.spec.data.split.by_time
    if time is None:
        return "", None
    labelled = cases
    if system.spec.task_facts.needs_labels:
        labelled = cases.filter(pc.is_valid(cases[system.spec.data.label.column]))
    if not labelled.num_rows:
        return "", None
    moments = labelled[time].to_numpy().astype("datetime64[us]")
    ages = np.sort((moments.max() - moments) / np.timedelta64(1, "D"))
    rows = len(ages)
    test, validation = by_time.test / timedelta(days=1), by_time.validation / timedelta(days=1)
    in_test = np.searchsorted(ages, test, side="right")
    in_both = np.searchsorted(ages, test + validation, side="right")
    is_enough = in_test >= ENOUGH * _TEST * rows and in_both - in_test >= ENOUGH * _VALIDATION * rows
    if is_enough and rows - in_both >= LEAST_TO_LEARN * rows:
        return "", None
    days = math.floor(ages[int(_TEST * (rows - 1))]) + 1
    left = ages[ages > days]
    if len(left) > int(_VALIDATION * rows):
        validation_days = math.floor(left[int(_VALIDATION * rows)] - days) + 1
        if np.count_nonzero(left > days + validation_days) >= LEAST_TO_LEARN * rows:
            return "", (validation_days, days)
    _, on_days = np.unique(moments.astype("datetime64[D]"), return_counts=True)
    return (
        f"{on_days.max() / rows:.0%} of the rows are of one day, so days part them into no training, validation and "
        "test"
    ), None


def write_described(
    folder: Path,
    guessed: Guessed,
    table: TableProfile,
    *,
    tables: Mapping[Path, Path] | None = None,
    keep_edited: bool = False,
) -> tuple[Path, Path]:
    """The system's file and its README, beside the table; all of them are written, or none.

    `tables`: where a table that was made on the same disk belongs. `keep_edited`: a README that somebody
    wrote or edited stays as it is. Raises DiskFullError, CapstanError.
    """
    file, readme = folder / SYSTEM_FILE, folder / README_FILE
    contents: dict[Path, bytes | Path] = {**(tables or {})}
    if not (keep_edited and _is_edited(readme)):
        contents[readme] = _signed(_readme(guessed, table)).encode()
    # The file comes last: it makes a system of what lies beside it.
    write_together({**contents, file: in_comments(guessed).encode()})
    return file, readme


def _signed(readme: str) -> str:
    """The text with a line that tells whether somebody has edited it since."""
    return f"{readme}\n<!-- Written by Capstan: {hashlib.sha256(readme.encode()).hexdigest()[:16]} -->\n"


def _is_edited(readme: Path) -> bool:
    """Whether the file is there and is not as Capstan wrote it."""
    try:
        text = readme.read_text()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return text != _signed(text.rpartition("\n<!-- Written by Capstan: ")[0])


def in_comments(guessed: Guessed) -> str:
    """The file, with the reasons of each part above it."""
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
            "\nNo column says when a row became known. So rows are divided at random, nobody can tell whether a "
            "feature was written\nafter the label, and nothing can be replayed. Name the column under `data.keys.time` "
            "if there is one.\n"
        )
    )
    objective = spec["objective"]
    target = objective["target"]
    but = f", but for `{target}`" if "label" in spec["data"] else ""
    size = f"{table.rows:,} rows, {len(table.columns)} columns"
    return f"""# {document["metadata"]["name"]}

Predicts `{target}` of `{table.file}` ({size}) as {objective["task"]}.

```console
capstan validate --data {SYSTEM_FILE}   # what is in the table, and what is wrong
capstan up {SYSTEM_FILE}                # trains, serves, watches; prints a request to try
```

`up` stays in front. In another terminal, once it says that v1 serves:

```console
capstan predict {SYSTEM_FILE} new.csv --out answers.csv   # rows with the columns of {table.file}{but}
capstan feedback {SYSTEM_FILE} outcomes.csv               # what came true, when it is known
capstan retrain                                      # a second version, which takes the steps of a rollout
capstan traffic {SYSTEM_FILE} --rate 20 --feedback        # stands in for users, so that there is something to judge
capstan status --watch                               # which step it is at, and what it waits for
```

{_about_outcomes(guessed, target)}

What was guessed, and why:

| field | guess | reason |
|---|---|---|
{reasons}
{lost}"""


def _about_outcomes(guessed: Guessed, target: str) -> str:
    """The columns of a table of labels, and how a label is written that the query makes of two words."""
    named = guessed.document["spec"]["data"].get("keys", {}).get("id")
    subject = f"`{named}`" if named else f"`{REQUEST_ID}`, copied from `answers.csv`,"
    true = next((one.value for one in guessed.guesses if one.field == "objective.positive"), "")
    words = f" Answers and outcomes write `{target}` as the table does, where {true}." if true else ""
    return f"`outcomes.csv` has the columns {subject} and `{target}`.{words}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

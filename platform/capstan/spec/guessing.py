"""What a file would say about a table that nobody has described: task, keys, features, split, checks, candidates.

A guess is made from what the columns hold and are called; each says its reason, so that a person can see where it is
wrong. Nothing here reads a table: `ColumnProfile` is what was seen of a column.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.data import DECIMAL_COMMA
from capstan.spec.families import CLUSTERS, LEARNT_WITHOUT_LABELS
from capstan.spec.tasks import ANSWER_PARTS, TASK_FACTS, LabelKind, usual_task
from capstan.spec.training import usual_candidates
from capstan.spec.units import format_duration

TRUE_WORDS = frozenset(
    {"yes", "y", "true", "t", "1", "positive", "bad", "fraud", "churned", "late", "malignant"}
)
"""Of two texts, what is true; of two others the rarer one is."""
MISSING_WORDS = frozenset({"?", "-", "--", ".", "*", "unknown", "missing", "n.a.", "#n/a", "(blank)"})
"""Texts that mean missing in a column of numbers, and that a source does not take as such by itself."""
MOST_CLASSES = 50
MOST_WHOLE_CLASSES = 10
"""Different whole numbers up to which a label counts as a class."""
LEAST_ROWS_PER_CLASS = 10
MOST_CATEGORIES = 50
"""Different texts from which on a column must repeat them to be a category."""
FEWEST_WORDS = 4
"""Of a text on average, from which on a column holds prose."""
MOST_PROSE = 200
"""Texts that are looked at for that."""
MOST_COLUMNS = 100
"""Categories of one feature that get a column each; the matrix of a training would not fit with thousands."""
FEWEST_FOR_TREES = 200
MOST_TOLD = 5
"""Reasons, and columns of one reason, that an error tells."""
METALS = ("aluminum", "platinum", "molybdenum")
"""Their names end as those of numbers do, and how much there was of one is a feature."""
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Of a row's time, as payloads have it."""
SHORTEST_SPAN = timedelta(days=10)
"""Of the rows' times below which days say too little."""
LATE_LABEL = timedelta(days=3)
TIME_WORDS = ("time", "date", "day", "created", "at", "when", "timestamp", "ts")
KNOWN_WORDS = (
    "closed",
    "resolved",
    "arrived",
    "arrival",
    "end",
    "ended",
    "finished",
    "known",
    "returned",
    "label",
)

UNNAMED: Mapping[LabelKind, str] = {"Anomaly": "unusual", "Cluster": "class"}
"""What is predicted where no column holds it."""
Kind = Literal["Text", "Number", "Boolean", "Time"]


@dataclass(frozen=True)
class ColumnProfile:
    """What was seen of a column in all rows."""

    name: str
    kind: Kind
    rows: int
    missing: int = 0
    distinct: int = 0
    """Different values, without the missing one."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """The most frequent values as text, the most frequent first."""
    is_whole: bool = False
    low: float | None = None
    high: float | None = None
    usual_low: float | None = None
    usual_high: float | None = None
    """Between which 98 of 100 numbers lie."""
    first: datetime | None = None
    last: datetime | None = None
    odd: tuple[str, ...] = ()
    """The texts of a column that else holds numbers; empty: it holds none, or hardly a number."""
    infinite: tuple[int, str] | None = None
    """The first row, from 1, that holds an infinite number in a column of numbers, and how it is written."""
    number_form: str = ""
    """In which of NUMBER_FORMS its texts are numbers; empty: they are none, or plain ones."""
    written: str = ""
    """Of a column of times: how strptime reads its texts; empty: they are read as they are."""
    unsure: tuple[str, ...] = ()
    """Ways to read each of its texts as a moment, of which nobody knows the right one."""

    @property
    def words(self) -> list[str]:
        """The words of its name, in lower case."""
        apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name)
        return [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]

    @property
    def is_unique(self) -> bool:
        return self.rows > 0 and not self.missing and self.distinct == self.rows


@dataclass(frozen=True)
class Later:
    """How a column of times lies to an earlier one."""

    earlier: str
    later: str
    share: float
    """Of the rows that have both, in which it is not before."""
    longest: timedelta


@dataclass(frozen=True)
class Length:
    """A column of numbers that holds how long it is from one column of times to another."""

    column: str
    earlier: str
    later: str
    unit: str


@dataclass(frozen=True)
class TableProfile:
    """A table, and the kind of source that reads it."""

    file: str
    """As the system's file names it."""
    source: Literal["csv", "parquet", "jsonLines"]
    rows: int
    columns: tuple[ColumnProfile, ...]
    later: tuple[Later, ...] = ()
    lengths: tuple[Length, ...] = ()
    encoding: str | None = None
    """Of a CSV file that is no UTF-8."""
    skip_lines: int = 0
    """Of a CSV file: those before the header."""

    def column(self, name: str) -> ColumnProfile:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Guess:
    """One guess."""

    field: str
    """Of the file."""
    value: str
    reason: str


@dataclass(frozen=True)
class Wishes:
    """What a person said; None: it is to be guessed, empty text: there is none."""

    task: str | None = None
    time: str | None = None
    id: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Columns that are to be no features, and why."""
    kept: frozenset[str] = frozenset()
    """Columns that are to be features, whatever speaks against it."""
    no_times: Mapping[str, str] = field(default_factory=dict)
    """Columns that are not to be the time of a row, and why."""
    known_before: frozenset[str] = frozenset()
    """Features that are kept though they look as if they were written after the label."""
    parts: tuple[int, int] | None = None
    """Days for validation and for the test that have their share of the rows; None: those of the whole span do."""
    by_requests: bool = False
    """Whether a rollout counts requests where it would count days."""


@dataclass(frozen=True)
class Guessed:
    """A whole file with its reasons."""

    document: Mapping[str, Any]
    guesses: tuple[Guess, ...]


def guess(table: TableProfile, target: str | None, *, now: datetime, wishes: Wishes | None = None) -> Guessed:
    """The file of a table whose column `target` is to be predicted; None: no column holds it, and none needs to.

    Raises InvalidSpecError where no file can be made.
    """
    wishes = wishes or Wishes()
    _require_task(wishes.task, target)
    names = [column.name for column in table.columns]
    for said in (target or "", wishes.time, wishes.id, *sorted(wishes.kept)):
        if said and said not in names:
            raise _refused(f"{said!r} is no column of {table.file}; {_hint(said, names)}")
    if target is not None and target in wishes.kept:
        raise _refused(f"{target!r} is to be predicted, so it cannot be kept as a feature; drop one of both")
    guesses: list[Guess] = []
    label = None if target is None else table.column(target)
    task = _task(label, wishes.task, guesses)
    named = _free_name(UNNAMED[TASK_FACTS[task].label], names) if target is None else target
    if label is None:
        reason = (
            f"no column is to be predicted; `capstan feedback` may hand in {named!r} of rows that people saw"
        )
        guesses.append(Guess("data.label", "none", reason))
    elif label.missing and TASK_FACTS[task].needs_labels:
        reason = (
            "rows without a label are left out of training; `capstan feedback` hands in one that comes later"
        )
        guesses.append(Guess("data.label.column", f"{label.missing:,} of {table.rows:,} are missing", reason))
    kind = TASK_FACTS[task].label
    time = _time(table, named, now, wishes, guesses)
    known = _known_at(table, label, time, guesses) if time is not None and label is not None else None
    key = _id(table, named, wishes, guesses)
    taken = {named, *(column.name for column in (time, known, key) if column is not None)}
    taken |= {
        column.name for column in table.columns if column.name in ANSWER_PARTS and _names_rows(column, table)
    }
    ended = {
        one.column: f"it is the {one.unit} from {one.earlier!r} to {one.later!r}, so nobody knows it before that"
        for one in table.lengths
        if not _is_over(one.later, time, table)
    }
    wishes = replace(wishes, left_out={**ended, **wishes.left_out})
    features, checks, missing = _features(table, taken, wishes, guesses)
    if not features:
        raise _refused(
            f"no column of {table.file}{f' but {named!r}' if label is not None else ''} can be a feature: "
            f"{_why_none(guesses)}. Give the table columns "
            + (
                "that say something of a row"
                if label is None
                else "that are known before the label, or name another target"
            )
        )
    stated = [
        {"column": column.name, "type": "Time", "written": column.written}
        for column in (time, known)
        if column is not None and column.written
    ]
    read = {named, *(feature["name"] for feature in features)}
    stated += [
        {"column": column.name, "type": "Number", "written": column.number_form}
        for column in table.columns
        if column.number_form and column.name in read
    ]
    guesses += _of_text(table)
    source = re.sub(r"[^a-z0-9_]+", "_", _stem(table.file).lower()).strip("_") or "rows"
    source = source if not source[0].isdigit() else f"rows_{source}"
    data: dict[str, Any] = {
        "sources": [
            {
                "name": source,
                **({"types": stated} if stated else {}),
                table.source: {
                    "path": table.file,
                    **({"missing": list(missing)} if missing else {}),
                    **({"encoding": table.encoding} if table.encoding is not None else {}),
                    **({"skipLines": table.skip_lines} if table.skip_lines else {}),
                },
            }
        ]
    }
    keys = {name: column.name for name, column in (("id", key), ("time", time)) if column is not None}
    if keys:
        data["keys"] = keys
    if label is not None:
        data["label"] = {"column": named}
    if known is not None and time is not None:
        data["label"]["availableAt"] = known.name
    if time is not None and label is not None:
        data["label"]["maximumDelay"] = format_duration(_delay(table, time, known, guesses))
    if checks and TASK_FACTS[task].flagged_share is None:
        data["checks"] = checks
    elif checks:
        # Bounds would refuse the very rows that are to be flagged.
        guesses[:] = [one for one in guesses if one.field != "data.checks"]
    if wishes.known_before:
        data["leaks"] = {"allow": sorted(wishes.known_before)}
        said = "you said to keep them, though they look as if they were written after the label"
        guesses.append(Guess("data.leaks.allow", ", ".join(sorted(wishes.known_before)), said))
    data["split"] = _split(time, kind, wishes.parts, guesses)
    spec: dict[str, Any] = {
        "objective": _objective(task, named, label, guesses),
        "data": data,
        "features": features,
        "training": {"candidates": _candidates(table, kind, guesses)},
    }
    if wishes.by_requests and time is not None and label is not None:
        analysis = {"name": "quality", "decide": "UnlessWorse", "blocks": "Requests"}
        spec["rollout"] = {"analyses": [analysis]}
        reason = (
            "you said so; a verdict on minutes says nothing about other days: drop it before real users come"
        )
        guesses.append(Guess("rollout.analyses", "blocks: Requests", reason))
    name = re.sub(r"[^a-z0-9]+", "-", _stem(table.file).lower()).strip("-")[:40].strip("-")
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": name if name[:1].isalpha() else f"table-{name}".strip("-")[:40].strip("-")},
        "spec": spec,
    }
    return Guessed(document, tuple(guesses))


def _is_over(moment: str, time: ColumnProfile | None, table: TableProfile) -> bool:
    """Whether a moment is never after that of its row."""
    if time is None:
        return False
    return moment == time.name or any(
        (one.earlier, one.later) == (moment, time.name) and one.share >= 1 for one in table.later
    )


def _why_none(guesses: Sequence[Guess]) -> str:
    """Why each column is left out, those of one reason together."""
    names: dict[str, list[str]] = {}
    for one in guesses:
        if one.field == "features":
            names.setdefault(one.reason, []).append(one.value.removeprefix("without "))
    told = [
        f"{', '.join(of[:MOST_TOLD])}{', …' if len(of) > MOST_TOLD else ''}: {why}"
        for why, of in names.items()
    ]
    return "; ".join([*told[:MOST_TOLD], *(["…"] if len(told) > MOST_TOLD else [])]) or "it has no others"


def _refused(message: str) -> InvalidSpecError:
    return InvalidSpecError([Mistake("objective.target", message)])


def _hint(said: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(said, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"its columns are {', '.join(names[:40])}"


def _stem(file: str) -> str:
    return file.rsplit("/", 1)[-1].split(".", 1)[0]


def _require_task(wished: str | None, target: str | None) -> None:
    """Raises InvalidSpecError for a task that does not run, and where none is named that needs no column."""
    if wished is not None and wished not in TASK_FACTS:
        known = ", ".join(TASK_FACTS)
        raise InvalidSpecError(
            [Mistake("objective.task", f"{wished!r} is none of the tasks {known}; take one")]
        )
    if target is None and (wished is None or TASK_FACTS[wished].needs_labels):
        able = " or ".join(name for name, facts in TASK_FACTS.items() if not facts.needs_labels)
        asked = "nothing says what is to be predicted" if wished is None else f"{wished} learns from a column"
        raise _refused(
            f"{asked}; name the column with --target, or take a task that needs none, --task {able}"
        )


def _free_name(name: str, taken: Sequence[str]) -> str:
    """The name, with a number behind it where a column has it already."""
    numbered = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3)))
    return next(one for one in numbered if one not in taken)


def _task(label: ColumnProfile | None, wished: str | None, guesses: list[Guess]) -> str:
    if wished is not None:
        task, reason = wished, "you said so"
    else:
        assert label is not None
        task, reason = _task_and_reason(label)
    guesses.append(Guess("objective.task", task, reason))
    return task


def _task_and_reason(label: ColumnProfile) -> tuple[str, str]:
    shown = ", ".join(list(label.counts)[:5])
    if label.infinite is not None:
        raise _refused(f"{label.name!r} {_infinite(label.infinite)}")
    if label.distinct < 2:
        raise _refused(
            f"{label.name!r} holds {'one value only' if label.distinct else 'no value'}, so there is nothing to learn; "
            "name another column"
        )
    if label.distinct == 2:
        return usual_task("Boolean"), f"{label.name!r} holds two values: {shown}"
    per_class = (label.rows - label.missing) / label.distinct
    if label.kind == "Number" and not label.number_form:
        if label.is_whole and label.distinct <= MOST_WHOLE_CLASSES and per_class >= LEAST_ROWS_PER_CLASS:
            return usual_task("Category"), (
                f"{label.name!r} holds only {label.distinct} whole numbers ({shown}); write "
                f"{usual_task('Number')} if 2 is twice 1"
            )
        return usual_task("Number"), f"{label.name!r} holds {label.distinct:,} different numbers"
    if label.kind == "Text" and (label.number_form or _odd_as_missing(label)):
        return usual_task("Number"), f"{label.name!r} holds numbers"
    if label.kind == "Text" and label.distinct <= MOST_CLASSES and per_class >= 2:
        return usual_task("Category"), f"{label.name!r} holds {label.distinct} different texts: {shown}"
    raise _refused(
        f"{label.name!r} holds {label.distinct:,} different {'moments' if label.kind == 'Time' else 'texts'} in "
        f"{label.rows:,} rows ({shown}), which are no classes; name a column of numbers or classes"
    )


def _infinite(found: tuple[int, str]) -> str:
    """What is wrong with a column of numbers, and what to do."""
    row, text = found
    return (
        f"holds numbers, but {text!r} in row {row:,}, and no model learns from an infinite number; correct it, or "
        "leave the cell empty"
    )


def _words(label: ColumnProfile, kind: LabelKind, guesses: list[Guess]) -> dict[str, str]:
    """What of a label's two texts is true; nothing where the usual words say so."""
    if kind not in ("Boolean", "Anomaly") or label.kind == "Boolean":
        return {}
    values = list(label.counts)
    plain = {value.lower() for value in values}
    if label.distinct and (plain <= {"1", "0", "1.0", "0.0"} or plain <= {"true", "false"}):
        return {}
    if label.distinct != 2:
        shown = f" ({', '.join(values[:5])})" if values else ""
        without = (
            "" if kind not in LEARNT_WITHOUT_LABELS else ", or leave --target out: the task needs no label"
        )
        raise _refused(
            f"{label.name!r} holds {label.distinct:,} different values{shown}, and a label that is true or false holds "
            f"two; name another column{without}"
        )
    named = [value for value in values if value.lower() in TRUE_WORDS]
    true = named[0] if len(named) == 1 else values[-1]
    why = "by its name" if len(named) == 1 else f"it is the rarer one ({label.counts[true]:,} rows)"
    guesses.append(
        Guess(
            "objective.positive",
            f"{true} is true",
            f"{label.name!r} holds {values[0]} and {values[1]}; {why}",
        )
    )
    return {"positive": true, "negative": next(value for value in values if value != true)}


def _time(
    table: TableProfile, target: str, now: datetime, wishes: Wishes, guesses: list[Guess]
) -> ColumnProfile | None:
    wished = wishes.time
    if wished is not None:
        guesses.append(Guess("data.keys.time", wished or "none", "you said so"))
        return table.column(wished) if wished else None
    moments = [column for column in table.columns if column.kind == "Time" and column.name != target]
    good = []
    guesses += [
        Guess("data.keys.time", f"not {column.name}", _unsure(column))
        for column in table.columns
        if column.unsure and column.name != target
    ]
    for column in moments:
        why = wishes.no_times.get(column.name) or _no_time(column, now)
        if why:
            guesses.append(Guess("data.keys.time", f"not {column.name}", why))
        else:
            good.append(column)
    if not good:
        reason = "no column holds a moment of every row" if not moments else "no column of times will do"
        guesses.append(
            Guess("data.keys.time", "none", f"{reason}; rows count as known at the moment of the training")
        )
        return None
    # What is before all others is when the row began.
    after = {later.later for later in table.later if later.share >= 1 and later.longest > timedelta(0)}
    best = min(good, key=lambda column: (column.name in after, not set(column.words) & set(TIME_WORDS)))
    others = f", and is before {', '.join(c.name for c in good if c is not best)}" if len(good) > 1 else ""
    how = f", written as {best.written}" if best.written else ""
    guesses.append(Guess("data.keys.time", best.name, f"every row has a moment in it{how}{others}"))
    return best


def _unsure(column: ColumnProfile) -> str:
    ways = " or ".join(column.unsure)
    return (
        f"its days are written as {ways}, and no row says which; state it, `types: [{{column: {column.name}, "
        f'type: Time, written: "{column.unsure[0]}"}}]` of its source, and name the column'
    )


def _no_time(column: ColumnProfile, now: datetime) -> str:
    if column.missing:
        return f"{column.missing:,} rows have none"
    if column.first is None or column.last is None or column.last - column.first < SHORTEST_SPAN:
        return f"its moments lie within {SHORTEST_SPAN.days} days, too few to part rows by"
    if column.first < EARLIEST:
        return f"its first moment, {column.first:%Y-%m-%d}, is before {EARLIEST.year}, which no row's may be"
    if column.last > now:
        return f"its last moment, {column.last:%Y-%m-%d}, is yet to come"
    return ""


def _known_at(
    table: TableProfile, label: ColumnProfile, time: ColumnProfile, guesses: list[Guess]
) -> ColumnProfile | None:
    unlabelled = label.missing
    for later in table.later:
        column = table.column(later.later)
        fits = later.earlier == time.name and later.share >= 1 and later.longest > timedelta(0)
        if fits and column.missing <= unlabelled and set(column.words) & set(KNOWN_WORDS):
            reason = f"it is never before {time.name!r}, and its name says that something is over"
            guesses.append(Guess("data.label.availableAt", column.name, reason))
            return column
    reason = "no column says when the label became known; it counts once its row is maximumDelay old"
    guesses.append(Guess("data.label.availableAt", "none", reason))
    return None


def _delay(
    table: TableProfile, time: ColumnProfile, known: ColumnProfile | None, guesses: list[Guess]
) -> timedelta:
    if known is None:
        reason = "nothing in the table says how long a label takes; write it if you know it"
        delay = LATE_LABEL
    else:
        found = next(one for one in table.later if (one.earlier, one.later) == (time.name, known.name))
        delay = timedelta(days=max(1, math.ceil(found.longest / timedelta(days=1))))
        reason = f"the longest time from {time.name!r} to {known.name!r}"
    guesses.append(Guess("data.label.maximumDelay", format_duration(delay), reason))
    return delay


def _id(table: TableProfile, target: str, wishes: Wishes, guesses: list[Guess]) -> ColumnProfile | None:
    wished = wishes.id
    if wished is not None:
        guesses.append(Guess("data.keys.id", wished or "none", "you said so"))
        return table.column(wished) if wished else None
    for column in table.columns:
        reason = "" if column.name in (target, *wishes.kept) else _names_rows(column, table)
        if reason and column.name in ANSWER_PARTS:
            reason = f"{reason}, but a part of each answer is called so"
            guesses.append(Guess("data.keys.id", f"not {column.name}", reason))
        elif reason:
            guesses.append(Guess("data.keys.id", column.name, reason))
            return column
    guesses.append(
        Guess("data.keys.id", "none", "no column names each row; ids are made from what rows hold")
    )
    return None


def _names_rows(column: ColumnProfile, table: TableProfile) -> str:
    """Why the column could be the id; empty: it could not."""
    last = column.words[-1] if column.words else ""
    named = last in ("id", "uuid", "key", "index", "no", "nr", "number") or (
        last.endswith("num") and last not in METALS
    )
    is_name = column.kind == "Text" or (column.kind == "Number" and column.is_whole)
    if not (column.is_unique and is_name and (named or _is_counter(column, table))):
        return ""
    return "every row has another value in it" + (", and its name says so" if named else ", a counter")


def _names_several(column: ColumnProfile) -> bool:
    """Whether it is called as an id is and names something that a few rows have in common."""
    words = column.words
    named = bool(words) and (
        words[-1] in ("id", "uuid", "key", "number")
        or (len(words) > 1 and words[-1] in ("no", "nr"))
        or (words[-1].endswith("num") and words[-1] not in METALS)
    )
    is_name = column.kind == "Text" or (column.kind == "Number" and column.is_whole)
    return named and is_name and column.rows - column.missing > column.distinct > column.rows / 2


def _is_counter(column: ColumnProfile, table: TableProfile) -> bool:
    """Whether it counts the rows, as a data frame's index does."""
    if column.kind != "Number" or column.low is None or column.high is None:
        return False
    return column.low in (0, 1) and column.high - column.low == table.rows - 1 and table.columns[0] is column


def _odd_as_missing(column: ColumnProfile) -> bool:
    return bool(column.odd) and all(text.strip().lower() in MISSING_WORDS for text in column.odd)


def _features(
    table: TableProfile, taken: set[str], wishes: Wishes, guesses: list[Guess]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[str, ...]]:
    """Features, checks, and texts that mean missing."""
    features: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    missing: dict[str, None] = {}
    for column in table.columns:
        if column.name in taken - wishes.kept:
            missing |= dict.fromkeys(column.odd if _odd_as_missing(column) else ())
            continue
        if column.infinite is not None and column.name in wishes.kept:
            raise _refused(f"--keep {column.name}: it {_infinite(column.infinite)}, and keep it then")
        least = _least_frequency(column)
        too_even = _too_even(column, least)
        why = wishes.left_out.get(column.name) or _no_feature(column) or too_even
        if why and column.name not in wishes.kept:
            guesses.append(Guess("features", f"without {column.name}", why))
            continue
        form, reason = _form(column)
        if column.name in wishes.kept:
            reason = f"you said to keep it{f', though {why}' if why else ''}"
        missing |= dict.fromkeys(column.odd if _odd_as_missing(column) else ())
        settings: dict[str, Any] = {}
        if least and form == "categorical" and not too_even:
            settings = {"minFrequency": least}
            reason += f"; the {MOST_COLUMNS} most frequent are told apart, all others are one (minFrequency)"
        elif form == "date":
            settings = {"parts": list(_date_parts(column)), "cyclic": True}
        elif form == "categorical" and too_even:
            settings = {"encode": "Hashing"}
            reason += "; its categories share 32 columns by their hash"
        features.append({"name": column.name, form: settings})
        guesses.append(Guess("features", f"{column.name} {form}", reason))
        if form == "numeric" and column.low is not None and column.low >= 0 and column.kind == "Number":
            checks.append({"column": column.name, "min": 0})
    if checks:
        shown = ", ".join(check["column"] for check in checks[:5]) + (", …" if len(checks) > 5 else "")
        guesses.append(
            Guess("data.checks", "min: 0", f"no row is below 0 in {shown}; requests are held to it too")
        )
    if missing:
        guesses.append(
            Guess(
                "data.sources",
                f"missing: {', '.join(missing)}",
                "they stand in columns that else hold numbers",
            )
        )
    return features, checks, tuple(missing)


def _no_feature(column: ColumnProfile) -> str:
    """Why the column is none; empty: it may be one."""
    if not column.name.strip():
        return "it has no name"
    if not column.distinct:
        return "it is empty"
    if column.kind == "Time":
        return "a moment never comes back; to learn from its hour or weekday, keep it (--keep, or keep= in Python)"
    if column.unsure:
        return "a moment never comes back; derive an hour or a weekday in data.query if it matters"
    if column.distinct == 1 and not column.missing:
        return f"every row holds {next(iter(column.counts), 'the same')}"
    if column.infinite is not None:
        return f"it {_infinite(column.infinite)}"
    is_number = column.kind == "Number" or column.number_form or _odd_as_missing(column)
    if _is_prose(column) and not is_number:
        return (
            "its texts are of several words; to learn from their words, keep it (--keep, or keep= in Python)"
        )
    if _names_several(column):
        return (
            f"it is called as an id is, and {column.distinct:,} of {column.rows:,} rows differ in it. If its values "
            "themselves say something, keep it (--keep, or keep= in Python); where it names a user or a thing, "
            f"`data.keys.stickyBy: {column.name}` keeps all its requests on one version"
        )
    if (
        not is_number
        and column.distinct > MOST_CATEGORIES
        and column.distinct > (column.rows - column.missing) / 2
    ):
        return f"{column.distinct:,} different texts in {column.rows:,} rows are names or free text, and no category"
    if column.words and column.words[-1] in ("id", "uuid") and column.is_unique:
        return "every row has another value in it, as an id has"
    return ""


def _least_frequency(column: ColumnProfile) -> int:
    """Rows from which on a category is one of the `MOST_COLUMNS` most frequent; 0: all of them are."""
    others = sorted(column.counts.values(), reverse=True)[MOST_COLUMNS:]
    return others[0] + 1 if column.kind == "Text" and others else 0


def _too_even(column: ColumnProfile, least: int) -> str:
    """Why a text with very many values is no feature where none is in `least` rows; empty: it may be one."""
    if _form(column)[0] != "categorical" or not least or max(column.counts.values()) >= least:
        return ""
    return (
        f"{column.distinct:,} different texts, none in more than {least - 1:,} rows: each would be a column. "
        "Derive what they have in common in data.query, or keep it with `encode: Hashing`"
    )


def _date_parts(column: ColumnProfile) -> tuple[str, str]:
    """What may come back of its moments; days have no hour."""
    ends = [one for one in (column.first, column.last) if one is not None]
    return ("Hour", "Weekday") if any(one.hour or one.minute for one in ends) else ("Weekday", "Month")


def _is_prose(column: ColumnProfile) -> bool:
    """Whether its texts are of several words and nearly all another one."""
    some = list(column.counts)[:MOST_PROSE]
    words = sum(len(text.split()) for text in some) / len(some) if some else 0.0
    return (
        column.kind == "Text"
        and column.distinct > max(MOST_CATEGORIES, (column.rows - column.missing) / 2)
        and words >= FEWEST_WORDS
    )


def _form(column: ColumnProfile) -> tuple[Literal["numeric", "categorical", "date", "text"], str]:
    if column.kind == "Time":
        return "date", f"parts of a moment, {' and '.join(_date_parts(column))}"
    if column.number_form:
        comma = "a decimal comma" if column.number_form == DECIMAL_COMMA else "thousands in groups by commas"
        return "numeric", (
            f"numbers with {comma}, as `types` of the source says; a table for `capstan predict` is read so too, and a "
            "request carries plain numbers"
        )
    if column.kind == "Number":
        return "numeric", f"numbers from {column.low:g} to {column.high:g}" if column.low is not None and (
            column.high is not None
        ) else "numbers"
    if _odd_as_missing(column):
        return "numeric", f"numbers but for {', '.join(column.odd)}"
    if column.kind == "Boolean":
        return "categorical", "true and false"
    if _is_prose(column):
        return "text", "texts of several words, of which the most frequent become columns"
    return "categorical", f"{column.distinct} different texts"


def _split(
    time: ColumnProfile | None, kind: LabelKind, parts: tuple[int, int] | None, guesses: list[Guess]
) -> dict[str, Any]:
    if time is None:
        drawn = "stratified" if kind in ("Boolean", "Category") else "random"
        reason = "rows have no time; " + (
            "each class has its share in all parts" if drawn == "stratified" else "drawn"
        )
        guesses.append(Guess("data.split", f"{drawn}, 15% and 20%", reason))
        return {drawn: {"validation": "15%", "test": "20%"}}
    assert time.first is not None
    assert time.last is not None
    days = (time.last - time.first) / timedelta(days=1)
    validation, test = max(1, math.floor(days * 0.1)), max(1, math.floor(days * 0.2))
    reason = f"a tenth and a fifth of the {days:,.0f} days, the last ones, as a model is used on days to come"
    if parts is not None:
        validation, test = parts
        reason = "the last days with at least a tenth and a fifth of the rows, which are not spread evenly over time"
    guesses.append(Guess("data.split", f"byTime, {validation}d and {test}d", reason))
    return {"byTime": {"validation": f"{validation}d", "test": f"{test}d"}}


def _objective(task: str, target: str, label: ColumnProfile | None, guesses: list[Guess]) -> dict[str, Any]:
    facts = TASK_FACTS[task]
    kind = facts.label
    objective: dict[str, Any] = {"task": task, "target": target}
    if facts.flagged_share is not None:
        reason = "so many rows are flagged; write as many as people can look at"
        guesses.append(Guess("objective.flaggedShare", f"{facts.flagged_share:g}", reason))
        objective["flaggedShare"] = facts.flagged_share
    if label is None:
        return objective
    objective |= _words(label, kind, guesses)
    if kind == "Number":
        low, high = label.usual_low or 0.0, label.usual_high or 0.0
        largest = float(f"{(high - low) or 1.0:.2g}")
        reason = f"98 of 100 labels lie between {low:g} and {high:g}; no error counts for more than that"
        guesses.append(Guess("objective.losses.maximumError", f"{largest:g}", reason))
        objective["losses"] = {"maximumError": int(largest) if largest == int(largest) else largest}
    return objective


def _candidates(table: TableProfile, kind: LabelKind, guesses: list[Guess]) -> list[dict[str, Any]]:
    usual = [one.model_dump(mode="json", by_alias=True, exclude_unset=True) for one in usual_candidates(kind)]
    few = table.rows < FEWEST_FOR_TREES
    chosen = [one for one in usual if not (few and "gradientBoosting" in one)] or usual
    names = ", ".join(one["name"] for one in chosen)
    reason = f"{table.rows:,} rows are too few for trees" if few else "a baseline, a linear model and trees"
    if kind in LEARNT_WITHOUT_LABELS:
        found = "centres of clusters" if kind in CLUSTERS else "trees of random questions"
        reason = f"a baseline, and {found}, which need no label"
    guesses.append(Guess("training.candidates", names, reason))
    return chosen


def _of_text(table: TableProfile) -> Iterator[Guess]:
    """How the file is written, where it does not say so itself."""
    if table.encoding is not None:
        yield Guess(
            "data.sources",
            f"encoding: {table.encoding}",
            "the file is not UTF-8; correct it where letters look wrong",
        )
    if table.skip_lines:
        lines = f"{table.skip_lines} line{'' if table.skip_lines == 1 else 's'}"
        yield Guess(
            "data.sources", f"skipLines: {table.skip_lines}", f"{lines} before the one that names the columns"
        )

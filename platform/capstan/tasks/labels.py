"""What a label is: how each kind is read from a table and from feedback, and how labels are told."""

# DuckDB takes no parameters for names, so the SQL is made of text.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from capstan.domain.payload_limits import is_encodable
from capstan.features.values import category
from capstan.spec.tasks import LabelKind

YES = ("true", "1", "1.0", "yes")
NO = ("false", "0", "0.0", "no")
LARGEST_NUMBER = 1e300
"""NaN, infinities and numbers that no float holds are not below it."""
LARGEST_WHOLE = 1e15
"""From here on not every reader writes the same number as the same text; NaN is not below it either."""
LONGEST_CLASS = 180
"""Characters of a class: with `probability.` before it, it is the name of a column, of 200 at most."""
MOST_CLASSES = 200
"""Each is a column of every payload, and boosted trees grow a forest for each."""
_CONTROL = r"[\x00-\x1f\x7f]"
MOST_TOLD = 8
"""Classes that one sentence counts."""
LabelValue = bool | float | str
Words = tuple[str, str]
"""How a table writes false and true, in this order."""


@dataclass(frozen=True)
class LabelSql:
    """How a column of a joined table becomes labels."""

    value: str
    """The label as an expression of the kind's type; null where there is none."""
    wrong: str
    """A condition that holds where a value is there and is no label."""
    shown: str
    """The wrong value as text."""


@dataclass(frozen=True)
class Tally:
    """What labels some rows have."""

    counts: Mapping[str, float]
    """Of each class its rows; of numbers `least`, `mean` and `most`."""
    words: str
    is_constant: bool
    """Whether all are the same, so that nothing can be learnt from them."""
    classes: tuple[str, ...] = ()
    """Those that some row has; none of numbers."""
    wrong: str = ""
    """Why no model can be made of such labels, and the way out; empty: one can."""


class Label(Protocol):
    """One kind of label."""

    column: str
    """Column of the stored labels that holds it, so that labels of two kinds never mix."""
    forms: str
    """What may be written, in words."""
    says: str
    """What a label is, as a sentence."""
    example: LabelValue
    is_of_request: bool
    """Whether a label may name its request in place of its case; not where a request carries the cases of a group."""

    def sql(self, column: str, kind: str) -> LabelSql:
        """`column` is a quoted name, `kind` the id of its DuckDB type."""
        ...

    def parse(self, value: object) -> LabelValue | None:
        """The label that a JSON value says; None if it is none."""
        ...

    def truth(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels without a missing one, as metrics take them."""
        ...

    def tally(self, truth: npt.NDArray[Any]) -> Tally: ...


class BooleanLabel:
    """True or false."""

    column = "label_boolean"
    is_of_request = True

    def __init__(self, words: Words | None = None) -> None:
        """`words`: how a table writes the label; None: in the usual words."""
        self.words = words
        self.forms = "true/false, 1/0 or yes/no" if words is None else " or ".join(map(repr, reversed(words)))
        self.says = f"a binary label is {self.forms}"
        self.example: LabelValue = True if words is None else words[1]

    def sql(self, column: str, kind: str) -> LabelSql:
        if kind == "boolean":
            return LabelSql(column, "false", column)
        if self.words is not None:
            found = CategoryLabel().sql(column, kind)
            no, yes = map(_literal, self.words)
            return LabelSql(
                f"case {found.value} when {yes} then true when {no} then false end",
                f"({found.wrong} or {found.value} not in ({yes}, {no}))",
                found.shown,
            )
        text = f"lower(cast({column} as varchar))"
        yes, no = (f"({', '.join(repr(word) for word in words)})" for words in (YES, NO))
        return LabelSql(
            f"case when {text} in {yes} then true when {text} in {no} then false end",
            f"{column} is not null and {text} not in {yes} and {text} not in {no}",
            text,
        )

    def parse(self, value: object) -> bool | None:
        if isinstance(value, bool):
            return value
        if self.words is not None:
            text = CategoryLabel().parse(value)
            return text == self.words[1] if text in self.words else None
        if isinstance(value, int | float):
            return bool(value) if value in (0, 1) else None
        text = value.lower() if isinstance(value, str) else ""
        return True if text in YES else False if text in NO else None

    def truth(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        return values.astype(np.bool_)

    def tally(self, truth: npt.NDArray[Any]) -> Tally:
        yes = int(truth.sum())
        no = len(truth) - yes
        classes = ("true",) * (yes > 0) + ("false",) * (no > 0)
        false, true = self.words or ("false", "true")
        words = f"{yes:,} {true} and {no:,} {false}"
        return Tally({"true": yes, "false": no}, words, not yes or not no, classes)


class AnomalyLabel(BooleanLabel):
    """Whether a row is an anomaly; not known of most rows, and nothing is learnt from it."""

    def truth(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:  # type: ignore[override]
        """1 for an anomaly, 0 for none, nan where nobody has looked."""
        return values.astype(np.float64)

    def tally(self, truth: npt.NDArray[Any]) -> Tally:
        known = truth[~np.isnan(truth)]
        found = super().tally(known == 1)
        if len(known) == len(truth):
            return found
        words = f"{found.words}, {len(truth) - len(known):,} unknown"
        return replace(found, words=words, counts={**found.counts, "unknown": len(truth) - len(known)})


class NumberLabel:
    """A finite number."""

    column = "label_number"
    forms = "a number"
    says = "the label of this task is a number"
    example: LabelValue = 12.5
    is_of_request = True

    def sql(self, column: str, kind: str) -> LabelSql:
        text = f"cast({column} as varchar)"
        number = f"try_cast({column} as double)" if kind != "interval" else f"epoch({column})"
        sound = f"({number} is not null and abs({number}) < {LARGEST_NUMBER!r})"
        empty = f"({column} is null or {text} in ('', 'nan', 'NaN'))"
        return LabelSql(f"case when {sound} then {number} end", f"not {empty} and not {sound}", text)

    def parse(self, value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if abs(value) < LARGEST_NUMBER else None

    def truth(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return values.astype(np.float64)

    def tally(self, truth: npt.NDArray[Any]) -> Tally:
        if not len(truth):
            return Tally({}, "no number", True)
        least, mean, most = float(truth.min()), float(truth.mean()), float(truth.max())
        words = f"from {least:g} to {most:g}, {mean:g} in the mean"
        return Tally({"least": least, "mean": mean, "most": most}, words, least == most)


class CategoryLabel:
    """The name of a class."""

    column = "label_text"
    forms = (
        f"the name of a class: a text of 1 to {LONGEST_CLASS} characters without control characters, a number "
        "below 1e15, true or false"
    )
    says = f"a class is {forms}"
    example: LabelValue = "the class"
    is_of_request = True

    def sql(self, column: str, kind: str) -> LabelSql:
        text = f"cast({column} as varchar)"
        wrong = f"(length({text}) > {LONGEST_CLASS} or regexp_matches({text}, '{_CONTROL}'))"
        if kind in ("double", "float", "decimal"):
            number = f"cast({column} as double)"
            # A missing number of a data frame is NaN.
            column = f"case when not isnan({number}) then {column} end"
            wrong = f"({column} is not null and abs({number}) >= {LARGEST_WHOLE!r})"
            shown = text if kind == "float" else f"cast({number} as varchar)"
            whole = f"{number} = trunc({number})"
            text = f"case when {whole} then cast(try_cast({number} as bigint) as varchar) else {shown} end"
            return LabelSql(f"case when {column} is not null and not {wrong} then {text} end", wrong, shown)
        return LabelSql(f"case when not {wrong} then nullif({text}, '') end", wrong, f"left({text}, 40)")

    def parse(self, value: object) -> str | None:
        if not isinstance(value, bool | int | float | str):
            return None
        if isinstance(value, float) and not abs(value) < LARGEST_WHOLE:
            return None
        text = value if isinstance(value, str) else category(value)
        if not text or len(text) > LONGEST_CLASS or re.search(_CONTROL, text) or not is_encodable(text):
            return None
        return text

    def truth(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.astype(str)

    def tally(self, truth: npt.NDArray[Any]) -> Tally:
        names, counts = np.unique(truth, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        counted = {str(names[at]): int(counts[at]) for at in order}
        told = [f"{count:,} {name}" for name, count in list(counted.items())[:MOST_TOLD]]
        more = [f"{len(counted) - MOST_TOLD} more classes"] if len(counted) > MOST_TOLD else []
        words = (
            " and ".join([", ".join([*told, *more][:-1]), [*told, *more][-1]])
            if len(told) > 1
            else "".join(told)
        )
        classes = tuple(counted)
        return Tally(counted, words or "no class", len(counted) <= 1, classes, _wrong_classes(classes))


class ClusterLabel(CategoryLabel):
    """The class that a person would put a row in; not known of most rows, and nothing is learnt from it."""

    def truth(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Names; the empty text where nobody has looked."""
        return np.array(["" if one is None else str(one) for one in values.tolist()], dtype=np.str_)

    def tally(self, truth: npt.NDArray[Any]) -> Tally:
        known = truth[truth != ""]
        # No model has a column for each class.
        found = replace(super().tally(known), wrong="")
        if len(known) == len(truth):
            return found
        unknown = len(truth) - len(known)
        return replace(
            found, words=f"{found.words}, {unknown:,} unknown", counts={**found.counts, "unknown": unknown}
        )


def _wrong_classes(names: Sequence[str]) -> str:
    if len(names) > MOST_CLASSES:
        return (
            f"{len(names):,} classes, and at most {MOST_CLASSES} can be learnt; join rare ones in data.query, or is it "
            "another column that holds the class?"
        )
    # Columns of stored payloads are told apart without the case of these letters.
    folded: dict[bytes, str] = {}
    for name in sorted(names):
        other = folded.setdefault(name.encode().lower(), name)
        if other != name:
            return f"the classes {other!r} and {name!r}, which only capitals tell apart; make them one in data.query"
    return ""


class RelevanceLabel(NumberLabel):
    """How relevant an item is to its group: 0 for not at all, more for more."""

    forms = "a number from 0 on"
    says = f"a relevance is {forms}"
    example: LabelValue = 2.0
    is_of_request = False

    def sql(self, column: str, kind: str) -> LabelSql:
        found = super().sql(column, kind)
        return LabelSql(found.value, f"({found.wrong}) or {found.value} < 0", found.shown)

    def parse(self, value: object) -> float | None:
        number = float(value) if isinstance(value, bool) else super().parse(value)
        return number if number is not None and number >= 0 else None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


LABELS: Mapping[LabelKind, Label] = {
    "Boolean": BooleanLabel(),
    "Category": CategoryLabel(),
    "Number": NumberLabel(),
    "Relevance": RelevanceLabel(),
    "Reward": NumberLabel(),
    "Anomaly": AnomalyLabel(),
    "Cluster": ClusterLabel(),
}
"""Kind of label -> how it is read."""
TRUE_OR_FALSE: Mapping[LabelKind, type[BooleanLabel]] = {"Boolean": BooleanLabel, "Anomaly": AnomalyLabel}
"""Kinds whose labels a file may write in words of its own."""


def label_of(kind: LabelKind, words: Words | None = None) -> Label:
    """Labels of that kind; true and false are written as `words` say, None: in the usual ones."""
    return LABELS[kind] if words is None else TRUE_OR_FALSE[kind](words)

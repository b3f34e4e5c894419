"""How far annotators agree: Krippendorff's alpha of all, Cohen's kappa of each two, and the items on which they differ.

Krippendorff (2019), Content Analysis, chapter 12, by the package krippendorff; Cohen (1960), by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.errors import InvalidDataError

TENTATIVE = 0.667
"""Alpha below which Krippendorff would draw no conclusion, not even a tentative one."""
MOST_PAIRED = 20
"""Annotators, those with most labels, of whom each two are compared."""
MOST_NUMBERS = 2000
"""Different labels on a scale of numbers; alpha compares each two of them."""
_LEVELS: Mapping[str, Literal["nominal", "ordinal", "interval"]] = {
    "Nominal": "nominal",
    "Ordinal": "ordinal",
    "Interval": "interval",
}
_KAPPA_WEIGHTS = {"Nominal": None, "Ordinal": "linear", "Interval": "quadratic"}


@dataclass(frozen=True)
class Pair:
    """Two annotators."""

    first: str
    second: str
    items: int
    """That both have labelled."""
    same: float
    """Share of those items to which both gave the same label."""
    kappa: float | None
    """Cohen's; None where one label is all they gave, so that chance alone explains it."""


@dataclass(frozen=True)
class Disagreement:
    """An item to which annotators gave different labels."""

    item: str
    labels: Mapping[str, str]
    """Annotator -> label."""
    decided: str | None
    """The label it gets; None: none."""


@dataclass(frozen=True)
class Agreement:
    """Of one table of annotations."""

    source: str
    items: int
    """That somebody has labelled."""
    labels: int
    annotators: Mapping[str, int]
    """Annotator -> items labelled, those with most first."""
    shared: int
    """Items that two annotators or more have labelled."""
    alpha: float | None
    """Krippendorff's; None where no item has two labels, or all labels are the same."""
    undecided: int
    """Items without a label in the end."""
    pairs: Sequence[Pair]
    disagreements: Sequence[Disagreement]
    """By item."""

    def in_words(self) -> str:
        """One sentence."""
        told = (
            f"{self.source}: {_some(self.labels, 'label')} of {_some(len(self.annotators), 'annotator')} on "
            f"{_some(self.items, 'item')}"
        )
        if self.alpha is None:
            why = "all labels are the same" if self.shared else "no item has two labels"
            told += f", agreement not known since {why}"
        else:
            low = f", below {TENTATIVE}: hardly to be relied on" if self.alpha < TENTATIVE else ""
            told += f", alpha {self.alpha:.3f} on {_some(self.shared, 'item')} with several labels{low}"
        if self.disagreements:
            told += f", {len(self.disagreements):,} disputed"
        return told + (f", {self.undecided:,} without a label" if self.undecided else "")


def agreement(source: str, votes: pa.Table, decided: pa.Table, *, scale: str) -> Agreement:
    """Of `votes` (item, annotator, label; one row for each item and annotator) and `decided` (item, label).

    Labels are text, or numbers where `scale` is Ordinal or Interval. Raises InvalidDataError for too many numbers.
    """
    items, annotators, labels = (_coded(votes[name]) for name in ("item", "annotator", "label"))
    counts = np.bincount(annotators.codes, minlength=len(annotators.values))
    order = sorted(range(len(counts)), key=lambda one: (-counts[one], annotators.values[one]))
    per_item = np.bincount(items.codes, minlength=len(items.values))
    final = dict(zip(decided["item"].to_pylist(), decided["label"].to_pylist(), strict=True))
    return Agreement(
        source,
        items=len(items.values),
        labels=votes.num_rows,
        annotators={annotators.values[one]: int(counts[one]) for one in order},
        shared=int((per_item > 1).sum()),
        alpha=_alpha(source, items, labels, scale),
        undecided=sum(label is None for label in final.values()),
        pairs=_pairs(items, annotators, labels, order[:MOST_PAIRED], scale),
        disagreements=_disagreements(items, annotators, labels, final),
    )


@dataclass(frozen=True)
class _Coded:
    """A column as numbers from 0, which are places in its sorted values."""

    codes: Any
    values: Sequence[Any]


def _coded(column: pa.ChunkedArray) -> _Coded:
    values = pc.unique(column).sort()
    return _Coded(pc.index_in(column, values).to_numpy().astype(np.int64), values.to_pylist())


def _alpha(source: str, items: _Coded, labels: _Coded, scale: str) -> float | None:
    import krippendorff

    if scale != "Nominal" and len(labels.values) > MOST_NUMBERS:
        raise InvalidDataError(
            f"data.sources.{source}.annotations.scale: {scale} of {len(labels.values):,} different labels; alpha is "
            f"computed of at most {MOST_NUMBERS:,}: round them in the file"
        )
    # Only items with two labels or more say anything about agreement.
    shared = np.bincount(items.codes, minlength=len(items.values)) > 1
    kept = shared[items.codes]
    used, values = np.unique(labels.codes[kept], return_inverse=True)
    if len(used) < 2:
        return None
    places = (np.cumsum(shared) - 1)[items.codes[kept]]
    counts = np.zeros((int(shared.sum()), len(used)), dtype=np.int64)
    np.add.at(counts, (places, values), 1)
    domain = np.array([labels.values[code] for code in used]) if scale != "Nominal" else np.arange(len(used))
    found = krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=_LEVELS[scale])
    return float(found)


def _pairs(
    items: _Coded, annotators: _Coded, labels: _Coded, chosen: Sequence[int], scale: str
) -> tuple[Pair, ...]:
    from sklearn.metrics import cohen_kappa_score

    given = {
        one: dict(
            zip(
                items.codes[annotators.codes == one].tolist(),
                labels.codes[annotators.codes == one].tolist(),
                strict=True,
            )
        )
        for one in chosen
    }
    found = []
    for first, second in combinations(chosen, 2):
        common = sorted(given[first].keys() & given[second].keys())
        if not common:
            continue
        one, other = ([given[who][item] for item in common] for who in (first, second))
        several = len({*one, *other}) > 1
        # With weights, places in the sorted labels stand for the labels; without them only equality counts.
        kappa = float(cohen_kappa_score(one, other, weights=_KAPPA_WEIGHTS[scale])) if several else None
        same = float(np.mean(np.array(one) == np.array(other)))
        found.append(Pair(annotators.values[first], annotators.values[second], len(common), same, kappa))
    return tuple(found)


def _disagreements(
    items: _Coded, annotators: _Coded, labels: _Coded, final: Mapping[Any, Any]
) -> tuple[Disagreement, ...]:
    order = np.lexsort((annotators.codes, items.codes))
    starts = np.flatnonzero(np.diff(items.codes[order], prepend=-1))
    found = []
    for rows in np.split(order, starts[1:]):
        if len(set(labels.codes[rows].tolist())) < 2:
            continue
        item = items.values[items.codes[rows[0]]]
        said = {
            annotators.values[annotators.codes[row]]: _written(labels.values[labels.codes[row]])
            for row in rows
        }
        label = final[item]
        found.append(Disagreement(item, said, None if label is None else _written(label)))
    return tuple(found)


def _written(label: Any) -> str:
    return f"{label:g}" if isinstance(label, float) else str(label)


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

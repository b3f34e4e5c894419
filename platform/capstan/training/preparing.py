"""From cases to a lesson: the fitted transform, the matrix, the weights, and what is to be said of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.features.fullness import is_left_out, missing_share
from capstan.features.kinds import CategoricalSettings, FittedEmbedded, FittedImage, Target
from capstan.features.mapped_matrix import BATCH_ROWS
from capstan.features.transform import FeatureTransform, build_transform
from capstan.spec.balance import Balance
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.tasks import USUAL_FLAGGED_SHARE
from capstan.training.balancing import planned
from capstan.training.cases import Cases
from capstan.training.families import fits_of
from capstan.training.lesson import Lesson
from capstan.training.reweighing import reweigh

if TYPE_CHECKING:
    import pyarrow as pa

MATRIX_SHARE = 0.15
"""Of the memory of machine or container: a linear model took 2.6 times its matrix, and two are fitted at once."""


@dataclass(frozen=True)
class Prepared:
    """What every candidate begins with."""

    transform: FeatureTransform
    """Fitted."""
    lesson: Lesson
    notes: Sequence[str]
    """One line each: rows left out, constant features."""


def prepare(
    features: Sequence[Feature],
    train: Cases,
    *,
    seed: int,
    reweigh_by: Sequence[str] = (),
    others: Sequence[Candidate] = (),
    balance: Balance | None = None,
    transform: FeatureTransform | None = None,
) -> Prepared:
    """Fit the transform on the cases and make their lesson, which ensembles of `others` can learn from too.

    `transform`: one that is fitted already, to other cases. Raises InvalidDataError.
    """
    given, noted = transform, list[str]()
    if transform is None:
        features, noted = _filled(features, train.table)
        transform = build_transform(features, train.zone)
    complete = transform.complete_rows(train.table)
    if not complete.all():
        noted.append(
            f"{len(complete) - complete.sum():,} of {len(complete):,} training rows are left out: a feature with "
            "`impute: DropRow` has no value there"
        )
        train = train.chosen(complete)
    table = train.table
    weights = train.weights
    if reweigh_by:
        reweighed = reweigh(table, reweigh_by, train.truth, weights)
        weights = reweighed.weights
        noted += reweighed.notes
    if balance is not None:
        noted.append(_balance_in_words(train, balance))
    if given is None:
        noted += _constant(table, features)
        target = _target(train)
        transform.fit(table, target)
        noted += _unlisted(table, transform)
        noted += _unreadable(table, transform)
    _require_room(transform, table)
    # What was fitted to other rows knows nothing of the labels of these.
    matrix = transform.transform_training(table, target) if given is None else transform.transform(table)
    if not _is_finite(matrix):
        raise InvalidDataError("features: the transform gave a value that is not finite")
    lesson = Lesson(
        matrix,
        train.truth,
        train.groups,
        weights,
        label=train.task.facts.label,
        task=train.task,
        categorical=transform.categorical_mask_,
        coded=transform.coded_mask_,
        images=transform.images_,
        seed=seed,
        flagged_share=train.task.facts.flagged_share or USUAL_FLAGGED_SHARE,
        candidates=fits_of(others),
        balance=balance,
    )
    return Prepared(transform, lesson, tuple(noted))


def _is_finite(matrix: npt.NDArray[np.float64]) -> bool:
    """In parts: of many rows the answers themselves would take memory."""
    parts = range(0, len(matrix), BATCH_ROWS)
    return all(bool(np.isfinite(matrix[begin : begin + BATCH_ROWS]).all()) for begin in parts)


def _balance_in_words(train: Cases, balance: Balance) -> str:
    probabilities = (
        "probabilities are brought back to the classes' own shares (Elkan 2001)"
        if balance.correct
        else "probabilities are those of balanced classes, too high for a rare one (`correct: false`)"
    )
    return f"training.balance: {balance.method}: {planned(train.truth, balance)}; {probabilities}"


def _filled(features: Sequence[Feature], table: pa.Table) -> tuple[list[Feature], list[str]]:
    """Features whose column is filled as much as the file asks, and a line for each of the others."""
    kept, noted = [], []
    for feature in features:
        if not is_left_out(feature, table):
            kept.append(feature)
            continue
        noted.append(
            f"feature {feature.name} is left out: {missing_share(feature, table):.1%} of {table.num_rows:,} training "
            f"rows have no value in {feature.column}, and `maxMissing` is {feature.max_missing:.1%}"
        )
    if not kept:
        raise InvalidDataError(
            f"features: maxMissing leaves none; {'; '.join(noted)}. Raise `maxMissing`, or take other columns"
        )
    return kept, noted


def _constant(table: pa.Table, features: Sequence[Feature]) -> list[str]:
    """Features that have one value in all rows, or none."""
    import pyarrow.compute as pc

    still = []
    for feature in features:
        column = table[feature.column]
        if column.null_count == len(column):
            still.append(f"{feature.name} (no value at all)")
        elif not column.null_count:
            ends = pc.min_max(column).as_py()
            if ends["min"] == ends["max"]:
                shown = ends["min"]
                if feature.text is not None or feature.image is not None:
                    shown = "the same text" if feature.image is None else "the same image"
                still.append(f"{feature.name} (always {shown})")
    if not still:
        return []
    shown = ", ".join(still[:5]) + (f" and {len(still) - 5} more" if len(still) > 5 else "")
    return [f"features that are the same in all {table.num_rows:,} training rows tell nothing: {shown}"]


def _unreadable(table: pa.Table, transform: FeatureTransform) -> list[str]:
    """Images that count as missing."""
    found = []
    for feature in transform.features_:
        if isinstance(feature, FittedImage | FittedEmbedded):
            count = feature.unseen(table[feature.settings.column])
            if count:
                found.append(
                    f"{count:,} of {table.num_rows:,} training rows have no image that can be read in "
                    f"{feature.settings.column}; they count as missing"
                )
    return found


def _target(train: Cases) -> Target | None:
    """The labels as numbers; None where the task learns without them."""
    if not train.task.facts.needs_labels:
        return None
    if train.task.facts.label != "Category":
        values = np.asarray(train.truth, dtype=np.float64).reshape(-1, 1)
        return Target(values, ("",), train.in_time_order)
    classes, places = np.unique(train.truth, return_inverse=True)
    values = np.zeros((len(places), len(classes)))
    values[np.arange(len(places)), places.reshape(-1)] = 1.0
    return Target(values, tuple(map(str, classes)), train.in_time_order)


def _unlisted(table: pa.Table, transform: FeatureTransform) -> list[str]:
    """Categories that the file's `order` lacks."""
    noted = []
    for setting in transform.settings:
        if not isinstance(setting, CategoricalSettings):
            continue
        found = setting.unlisted(table[setting.column])
        if found:
            shown = ", ".join(f"{text} ({count:,} rows)" for text, count in list(found.items())[:5])
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            noted.append(
                f"feature {setting.name}: `order` lacks {shown}{more}; such rows count as one category, `other`"
            )
    return noted


def _require_room(transform: FeatureTransform, table: pa.Table) -> None:
    """A matrix of all rows and outputs must fit into memory; one-hot of many categories may not."""
    from capstan.data.memory import machine_memory

    outputs, machine = transform.n_features_out_, machine_memory()
    needed, room = 8 * table.num_rows * outputs, int(MATRIX_SHARE * machine)
    if needed <= room:
        return
    feature = transform.widest()
    others = outputs - len(feature.names)
    way_out = feature.narrower(table[feature.settings.column], room // (8 * table.num_rows) - others)
    raise InvalidDataError(
        f"features: {table.num_rows:,} rows x {outputs:,} columns are a matrix of {needed / 2**30:.1f} GiB, and "
        f"{room / 2**30:.1f} GiB ({MATRIX_SHARE:.0%} of the memory) are there for it; "
        f"{way_out or 'take fewer features, or a shorter training.window'}"
    )

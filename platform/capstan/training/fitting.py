"""From cases to a fitted pipeline: transform, search, model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.transform import FeatureTransform, build_transform
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups
from capstan.training.cases import Cases
from capstan.training.families import Values, fit_model, fits_of, search_space
from capstan.training.lesson import Lesson
from capstan.training.reweighing import reweigh

if TYPE_CHECKING:
    import pyarrow as pa

MATRIX_SHARE = 0.15
"""Of the memory of machine or container: a linear model took 2.6 times its matrix, and two are fitted at once."""
BATCH_BYTES = 512 * 2**20
"""Matrices for predictions are made in parts that are no larger."""
Score = Callable[[Cases, Predictions], float]
"""Labelled rows and what a model says of them -> a number; higher is better."""


@dataclass(frozen=True)
class FittedCandidate:
    """One candidate, fitted."""

    name: str
    pipeline: Any
    """scikit-learn Pipeline of `transform` and `model`."""
    settings: Values
    """What was used, after the search."""
    trials: Sequence[tuple[Values, float]] = ()
    """What the search tried, with its scores."""
    warnings: Sequence[str] = ()
    """What the fit ran into without failing, one line each: rows left out, constant features, no convergence."""


def fit_candidate(
    candidate: Candidate,
    features: Sequence[Feature],
    train: Cases,
    validation: Cases | None,
    *,
    seed: int,
    threads: int = 1,
    score: Score,
    settings: Values | None = None,
    reweigh_by: Sequence[str] = (),
    others: Sequence[Candidate] = (),
) -> FittedCandidate:
    """Fit on `train`; where the candidate asks for it and no `settings` are given, search for the best on `validation`.

    With `reweigh_by` rows are weighed so that the label tells nothing of the values of these columns. An ensemble is
    made of some of the `others`.

    Custom factories must be importable (`capstan.training.factories.importable`). Raises InvalidDataError.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    transform = build_transform(features)
    complete = transform.complete_rows(train.table)
    noted: list[str] = []
    if not complete.all():
        noted.append(
            f"{len(complete) - complete.sum():,} of {len(complete):,} training rows are left out: a feature with "
            "`impute: DropRow` has no value there"
        )
        train = train.chosen(complete)
    table = train.table
    weights = None
    if reweigh_by:
        reweighed = reweigh(table, reweigh_by, train.truth)
        weights = reweighed.weights
        noted += reweighed.notes
    noted += _constant(table, features)
    with threadpool_limits(threads), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        transform.fit(table)
        _require_room(transform, table)
        matrix = transform.transform(table)
        if not np.isfinite(matrix).all():
            raise InvalidDataError("features: the transform gave a value that is not finite")
        lesson = Lesson(
            matrix,
            train.truth,
            train.groups,
            weights,
            label=train.task.facts.label,
            task=train.task,
            categorical=transform.categorical_mask_,
            seed=seed,
            candidates=fits_of(others),
        )
        space = search_space(candidate)
        trials: list[tuple[Values, float]] = []
        if settings is None and space.trials and validation is not None:
            from capstan.training.tuning import search

            judged = transform.transform(validation.table)

            def trial(tried: Values) -> tuple[Any, float]:
                fitted: Any = fit_model(candidate, tried, lesson)
                return fitted, score(validation, _predictions(train.task, fitted, judged, None))

            model, settings, trials = search(space, trial, seed=seed)
        else:
            settings = space.written if settings is None else settings
            model = fit_model(candidate, settings, lesson)
    noted += _told(candidate.name, raised)
    return FittedCandidate(candidate.name, _pipeline(transform, model), settings, trials, tuple(noted))


_MOST_WARNINGS = 3
_LONGEST_WARNING = 300
_ABOUT_CODE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)
"""Warnings for who writes a library, not for who trains with it."""


def _told(name: str, raised: Sequence[warnings.WarningMessage]) -> list[str]:
    texts = [
        f"{name}: {one.category.__name__}: {' '.join(str(one.message).split())}"[:_LONGEST_WARNING]
        for one in raised
        if not issubclass(one.category, _ABOUT_CODE)
    ]
    different = list(dict.fromkeys(texts))
    more = len(different) - _MOST_WARNINGS
    return different[:_MOST_WARNINGS] + ([f"{name}: {more} more warnings, see the log"] if more > 0 else [])


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
                still.append(f"{feature.name} (always {ends['min']})")
    if not still:
        return []
    shown = ", ".join(still[:5]) + (f" and {len(still) - 5} more" if len(still) > 5 else "")
    return [f"features that are the same in all {table.num_rows:,} training rows tell nothing: {shown}"]


def predict(
    task: Task, pipeline: Any, table: pa.Table, *, threads: int = 1, groups: Groups | None = None
) -> Predictions:
    """What the fitted pipeline says of each row; raises InvalidDataError for what is no answer of the task.

    `groups`: which rows would come in one request, for several models that are asked in sequence.
    """
    from threadpoolctl import threadpool_limits

    # An imported model has no steps.
    transform = getattr(pipeline, "steps", [("", None)])[0][1]
    rows = table.num_rows
    if isinstance(transform, FeatureTransform):
        rows = transform.batch_rows(BATCH_BYTES)
    parts = [table.slice(begin, rows) for begin in range(0, table.num_rows, max(1, rows))] or [table]
    with threadpool_limits(threads):
        scores = [task.scores(pipeline, part, rows=part.num_rows) for part in parts]
        return task.predictions(np.concatenate(scores), task.learnt(pipeline), groups)


def _predictions(task: Task, model: Any, matrix: Any, rows: int | None) -> Predictions:
    return task.predictions(task.scores(model, matrix, rows=rows), task.learnt(model))


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


def _pipeline(transform: FeatureTransform, model: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("transform", transform), ("model", model)])


def plain_settings(candidate: Candidate, settings: Values) -> Values:
    """Settings as they are after a trip through JSON that makes whole numbers floats."""
    return search_space(candidate).plain(settings)

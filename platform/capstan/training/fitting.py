"""From cases to a fitted pipeline: transform and model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.features.transform import FeatureTransform
from capstan.spec.balance import Balance
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups
from capstan.training.cases import Cases
from capstan.training.families import Values, fit_model, search_space
from capstan.training.preparing import Prepared, prepare
from capstan.training.search import resolved

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 512 * 2**20
"""Matrices for predictions are made in parts that are no larger."""


@dataclass(frozen=True)
class FittedCandidate:
    """One candidate, fitted."""

    name: str
    pipeline: Any
    """scikit-learn Pipeline of `transform` and `model`."""
    settings: Values
    """What was used of its search space; of a search with the name of the candidate that it took."""
    warnings: Sequence[str] = ()
    """What the fit ran into without failing, one line each: rows left out, constant features, no convergence."""


def fit_candidate(
    candidate: Candidate,
    features: Sequence[Feature],
    train: Cases,
    *,
    seed: int,
    threads: int = 1,
    settings: Values | None = None,
    reweigh_by: Sequence[str] = (),
    others: Sequence[Candidate] = (),
    balance: Balance | None = None,
    parent: Any = None,
) -> FittedCandidate:
    """Fit on `train`, with the `settings` that a search found, or as it is written.

    With `reweigh_by` rows are weighed so that the label tells nothing of the values of these columns. An ensemble is
    made of some of the `others`, and a search tries some. With `balance` its rows are made alike by their classes.
    `parent`: the fitted pipeline that a fineTune goes on with, by its own transform; `train` are the rows that came
    since.

    Custom factories must be importable (`capstan.training.factories.importable`). Raises InvalidDataError.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(threads), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        before = None if parent is None else parent.steps[0][1]
        prepared = prepare(
            features,
            train,
            seed=seed,
            reweigh_by=reweigh_by,
            others=others,
            balance=balance,
            transform=before,
        )
        lesson = prepared.lesson if parent is None else replace(prepared.lesson, parent=parent.steps[-1][1])
        if settings is None:
            one, values = candidate, search_space(candidate).written
        else:
            one, values = resolved(candidate, settings, others)
        model = fit_model(one, values, lesson)
    return fitted_candidate(
        candidate.name, prepared, model, settings=values if settings is None else settings, raised=raised
    )


def fitted_candidate(
    name: str,
    prepared: Prepared,
    model: Any,
    *,
    settings: Values,
    raised: Sequence[warnings.WarningMessage],
) -> FittedCandidate:
    """The candidate of a model that was fitted on the prepared rows; `raised` are warnings of both."""
    noted = (*prepared.notes, *_told(name, raised))
    return FittedCandidate(name, _pipeline(prepared.transform, model), settings, noted)


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


def _pipeline(transform: FeatureTransform, model: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("transform", transform), ("model", model)])

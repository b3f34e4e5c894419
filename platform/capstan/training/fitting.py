"""From cases to a fitted pipeline: transform, search, model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.transform import FeatureTransform, build_transform
from capstan.spec.features import Feature
from capstan.spec.training import Candidate
from capstan.training.families import Booleans, Floats, Settings, fit_model, written_settings

if TYPE_CHECKING:
    import pyarrow as pa

Score = Callable[[Booleans, Floats], float]
"""Truth and probabilities -> a number; higher is better."""


@dataclass(frozen=True)
class Cases:
    """Labelled rows."""

    table: pa.Table
    truth: Booleans

    @classmethod
    def of(cls, table: pa.Table, label: str) -> Cases:
        """Rows of a table whose label column has no missing value."""
        return cls(table, table[label].to_numpy().astype(np.bool_))


@dataclass(frozen=True)
class FittedCandidate:
    """One candidate, fitted."""

    name: str
    pipeline: Any
    """scikit-learn Pipeline of `transform` and `model`."""
    settings: Settings
    """What was used, after the search."""
    trials: Sequence[tuple[Settings, float]] = ()
    """What the search tried, with its scores."""


def fit_candidate(
    candidate: Candidate,
    features: Sequence[Feature],
    train: Cases,
    validation: Cases | None,
    *,
    seed: int,
    threads: int = 1,
    score: Score,
    settings: Settings | None = None,
) -> FittedCandidate:
    """Fit on `train`; where the candidate asks for it and no `settings` are given, search for the best on `validation`.

    Custom factories must be importable (`capstan.training.factories.importable`). Raises InvalidDataError.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    transform = build_transform(features)
    complete = transform.complete_rows(train.table)
    table, truth = train.table, train.truth
    if not complete.all():
        table, truth = table.filter(complete), truth[complete]
    with threadpool_limits(threads):
        matrix = transform.fit(table).transform(table)
        if not np.isfinite(matrix).all():
            raise InvalidDataError("features: the transform gave a value that is not finite")
        categorical = transform.categorical_mask_

        def fit(tried: Settings) -> Any:
            return fit_model(candidate, tried, matrix, truth, categorical=categorical, seed=seed)

        trials: list[tuple[Settings, float]] = []
        boosting = candidate.gradient_boosting
        if settings is not None:
            model = fit(settings)
        elif boosting is not None and boosting.tune is not None and validation is not None:
            from capstan.training.tuning import search

            judged = transform.transform(validation.table)

            def trial(tried: Settings) -> tuple[Any, float]:
                fitted = fit(tried)
                return fitted, score(validation.truth, fitted.predict_proba(judged)[:, 1])

            model, settings, trials = search(boosting, trial, trials=boosting.tune.trials, seed=seed)
        else:
            settings = written_settings(candidate)
            model = fit(settings)
    return FittedCandidate(candidate.name, _pipeline(transform, model), settings, trials)


def predict(pipeline: Any, table: pa.Table, *, threads: int = 1) -> Floats:
    """Probability of the positive class for each row."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        probability: Floats = np.asarray(pipeline.predict_proba(table), dtype=np.float64)[:, -1]
    return probability


def _pipeline(transform: FeatureTransform, model: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("transform", transform), ("model", model)])


def plain_settings(settings: Mapping[str, float | int]) -> dict[str, float | int]:
    """Settings as they are after a trip through JSON that makes whole numbers floats."""
    return {
        name: int(value) if name in ("iterations", "leaves") else float(value)
        for name, value in settings.items()
    }

"""The kinds of model that can be tried, each fitted to a matrix of features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.training import Candidate, Custom, GradientBoosting, LogisticRegression, MostFrequent
from capstan.training.factories import call_factory
from capstan.training.soundness import require_servable

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Settings = Mapping[str, float | int]
"""What a search may change, by its name in the file: `learningRate`, `iterations`, `leaves`; empty where nothing."""


def written_settings(candidate: Candidate) -> dict[str, float | int]:
    """The settings as the file says them."""
    boosting = candidate.gradient_boosting
    if boosting is None:
        return {}
    return {
        "learningRate": boosting.learning_rate,
        "iterations": boosting.iterations,
        "leaves": boosting.leaves,
    }


def fit_model(
    candidate: Candidate,
    settings: Settings,
    matrix: Floats,
    truth: Booleans,
    *,
    categorical: npt.NDArray[np.bool_],
    seed: int,
) -> Any:
    """A fitted scikit-learn classifier; `categorical` marks the columns that are codes of categories.

    The same arguments and number of threads give the same model, byte by byte.
    """
    if truth.all() or not truth.any():
        raise InvalidDataError(
            f"all {len(truth)} training rows have the label {bool(truth.all())}; a model needs both: train on more days"
        )
    kind: MostFrequent | LogisticRegression | GradientBoosting | Custom = candidate.chosen
    match kind:
        case MostFrequent():
            from sklearn.dummy import DummyClassifier

            return DummyClassifier(strategy="prior").fit(matrix[:, :1], truth)
        case LogisticRegression():
            return _logistic(kind.l2, matrix, truth)
        case GradientBoosting():
            from sklearn.ensemble import HistGradientBoostingClassifier

            return HistGradientBoostingClassifier(
                learning_rate=float(settings["learningRate"]),
                max_iter=int(settings["iterations"]),
                max_leaf_nodes=int(settings["leaves"]),
                categorical_features=categorical if categorical.any() else None,
                # Stopping early would hold back a random tenth of the newest rows.
                early_stopping=False,
                random_state=seed,
            ).fit(matrix, truth)
        case Custom():
            model = call_factory(kind.factory, kind.parameters, seed=seed)
            try:
                fitted = model.fit(matrix, truth)
            except Exception as error:
                raise InvalidDataError(f"{kind.factory}: fit: {type(error).__name__}: {error}") from error
            if not callable(getattr(fitted, "predict_proba", None)):
                raise InvalidDataError(
                    f"{kind.factory}: fit gave {type(fitted).__name__}; it must return the fitted model, `return self`"
                )
            require_servable(fitted, kind.factory, matrix)
            return fitted
        case _:
            assert_never(kind)


def _logistic(l2: float, matrix: Floats, truth: Booleans) -> Any:
    """Fitted on standardised columns, so that the penalty treats all alike, and folded back to the raw ones."""
    from sklearn.linear_model import LogisticRegression as Logistic

    center, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread[spread == 0] = 1.0
    model = Logistic(C=1 / l2 if l2 else math.inf, max_iter=300, tol=1e-4)
    model.fit((matrix - center) / spread, truth)
    model.coef_ = model.coef_ / spread
    model.intercept_ = model.intercept_ - model.coef_ @ center
    return model

"""More passes over new rows from given weights: of networks, and of linear models, which are networks of one layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from capstan.spec.families import CLASSES
from capstan.tasks.metric import Floats
from capstan.training.families.scaling import Scale
from capstan.training.lesson import Lesson

LINEAR_PASSES = 10
"""Of a linear model that goes on."""
LINEAR_RATE = 0.005
"""Step of Adam for a linear model that goes on, as networks have it by default."""
LINEAR_BATCH = 256


def further_passes(
    lesson: Lesson,
    weights: Sequence[Floats],
    biases: Sequence[Floats],
    *,
    classes: Any = None,
    passes: int,
    **estimator: Any,
) -> tuple[list[Floats], list[Floats]]:
    """Weights and biases of each layer after so many passes, all of columns and labels as they come.

    The columns and labels of these rows are made alike on the way. `classes` are all that the model knows; None: labels
    are numbers. `estimator` are arguments of scikit-learn's network.
    """
    scale, labels = Scale.of(lesson.matrix), Scale(np.zeros(1), np.ones(1))
    truth = lesson.truth
    if lesson.label not in CLASSES:
        column = np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1)
        labels = Scale.of(column)
        truth = labels(column)[:, 0]
    weights, biases = [one.copy() for one in weights], [one.copy() for one in biases]
    biases[0] = biases[0] + scale.center @ weights[0]
    weights[0] = weights[0] * scale.spread[:, None]
    weights[-1] = weights[-1] / labels.spread
    biases[-1] = (biases[-1] - labels.center) / labels.spread
    model = _beginning_with(
        weights, biases, lesson, hidden_layer_sizes=tuple(len(bias) for bias in biases[:-1]), **estimator
    )
    known = {} if classes is None else {"classes": classes}
    matrix = scale(lesson.matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(passes):
            model.partial_fit(matrix, truth, sample_weight=lesson.weights, **known)
    weights, biases = list(model.coefs_), list(model.intercepts_)
    weights[0] = weights[0] / scale.spread[:, None]
    biases[0] = biases[0] - scale.center @ weights[0]
    weights[-1] = weights[-1] * labels.spread
    biases[-1] = biases[-1] * labels.spread + labels.center
    return weights, biases


def _beginning_with(
    weights: Sequence[Floats], biases: Sequence[Floats], lesson: Lesson, **arguments: Any
) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    layers = iter(zip(weights, biases, strict=True))
    made: Any = MLPClassifier if lesson.label in CLASSES else MLPRegressor
    # One stream of numbers for all passes: each would else shuffle the rows alike.
    model = made(random_state=np.random.RandomState(lesson.seed), **arguments)
    # Asked once for each layer, before the first pass.
    model._init_coef = lambda _ins, _outs, _dtype: next(layers)
    return model

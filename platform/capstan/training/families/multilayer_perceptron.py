"""A multilayer perceptron, by scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.families import CLASSES, MultilayerPerceptron
from capstan.tasks.metric import Floats
from capstan.training.families.family import Choice, Fitted, Part, SearchSpace, around, penalty
from capstan.training.families.going_on import more_rounds, require_classes, require_kind
from capstan.training.families.passes import further_passes
from capstan.training.families.scaling import Scale
from capstan.training.lesson import Lesson

_ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "Logistic": "logistic"}
_OPTIMIZERS = {"Adam": "adam", "SGD": "sgd", "LBFGS": "lbfgs"}


class MultilayerPerceptronFamily:
    """Fitted on columns that are made alike, and folded back to the raw ones; codes are taken as numbers."""

    settings = MultilayerPerceptron
    uses: frozenset[Part] = frozenset({"weights", "parent"})

    def fit(self, settings: MultilayerPerceptron, lesson: Lesson) -> Fitted:
        from capstan.training.fitted.perceptron import PerceptronOfClasses, PerceptronOfNumbers

        if lesson.parent is not None:
            return _further(settings, lesson)
        scale = Scale.of(lesson.matrix)
        labels = Scale(np.zeros(1), np.ones(1))
        if lesson.label not in CLASSES:
            labels = Scale.of(np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1))
            lesson = replace(
                lesson, truth=labels(np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1))[:, 0]
            )
        alike = replace(lesson, matrix=scale(lesson.matrix))
        epochs = settings.epochs if settings.early_stopping is None else _enough(settings, lesson, scale)
        model = _estimator(settings, alike, max_iter=epochs, random_state=lesson.seed)
        with warnings.catch_warnings():
            # It says that it could learn longer, which `epochs` decides.
            warnings.simplefilter("ignore")
            model.fit(alike.matrix, alike.truth, sample_weight=alike.weights)
        weights, biases = list(model.coefs_), list(model.intercepts_)
        weights[0] = weights[0] / scale.spread[:, None]
        biases[0] = biases[0] - scale.center @ weights[0]
        if lesson.label in CLASSES:
            return PerceptronOfClasses(model.classes_, weights, biases, settings.activation)
        weights[-1] = weights[-1] * labels.spread
        biases[-1] = biases[-1] * labels.spread + labels.center
        return PerceptronOfNumbers(weights, biases, settings.activation)

    def search_space(self, settings: MultilayerPerceptron) -> SearchSpace:
        rate = (around("learningRate", float(settings.learning_rate), factor=10, most=1.0),)
        return SearchSpace(
            (() if settings.optimizer == "LBFGS" else rate)
            + (
                penalty("l2", settings.l2, factor=100, most=1000, where_none=1.0),
                Choice("activation", settings.activation, ("ReLU", "Tanh", "Logistic")),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )


def _further(settings: MultilayerPerceptron, lesson: Lesson) -> Fitted:
    """The parent after some more passes over these rows."""
    from capstan.training.fitted.perceptron import PerceptronOfClasses, PerceptronOfNumbers

    parent: Any = lesson.parent
    of_classes = lesson.label in CLASSES
    require_kind(parent, PerceptronOfClasses if of_classes else PerceptronOfNumbers)
    found = (len(parent.weights[0]), *(len(bias) for bias in parent.biases[:-1]))
    wanted = (lesson.matrix.shape[1], *settings.layers)
    if found != wanted or parent.activation != settings.activation:
        raise InvalidDataError(
            f"the network has layers of {found} and {parent.activation}, and {wanted} and {settings.activation} are "
            "written; train from all rows"
        )
    if of_classes:
        require_classes(lesson, among=parent.classes_)
    weights, biases = further_passes(
        lesson,
        parent.weights,
        parent.biases,
        classes=parent.classes_ if of_classes else None,
        passes=more_rounds(lesson, settings.epochs // 5),
        activation=_ACTIVATIONS[settings.activation],
        solver=_OPTIMIZERS[settings.optimizer],
        learning_rate_init=float(settings.learning_rate),
        alpha=float(settings.l2),
        batch_size=min(settings.batch_rows, len(lesson.truth)),
    )
    if of_classes:
        return PerceptronOfClasses(parent.classes_, weights, biases, settings.activation)
    return PerceptronOfNumbers(weights, biases, settings.activation)


def _estimator(settings: MultilayerPerceptron, lesson: Lesson, **arguments: Any) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    make = MLPClassifier if lesson.label in CLASSES else MLPRegressor
    return make(
        hidden_layer_sizes=settings.layers,
        activation=_ACTIVATIONS[settings.activation],
        solver=_OPTIMIZERS[settings.optimizer],
        learning_rate_init=float(settings.learning_rate),
        alpha=float(settings.l2),
        batch_size=min(settings.batch_rows, len(lesson.truth)),
        # Its own rule stops by the loss of the training rows.
        n_iter_no_change=settings.epochs + 1,
        tol=0.0 if settings.optimizer != "LBFGS" else 1e-6,
        **arguments,
    )


def _enough(settings: MultilayerPerceptron, lesson: Lesson, scale: Scale) -> int:
    """After how many passes the newest rows are answered best."""
    stopping = settings.early_stopping
    assert stopping is not None
    # Balanced rows go back to those that came, so they are made alike only now.
    older, newest = (
        replace(rows, matrix=scale(rows.matrix)) for rows in lesson.without_newest(stopping.share)
    )
    # One stream of numbers for all passes: each would else shuffle the rows alike.
    model = _estimator(settings, older, random_state=np.random.RandomState(lesson.seed))
    classes = {"classes": np.unique(older.truth)} if lesson.label in CLASSES else {}
    losses: list[float] = []
    for _ in range(settings.epochs):
        model.partial_fit(older.matrix, older.truth, sample_weight=older.weights, **classes)
        losses.append(_loss(model, newest))
        if len(losses) - 1 - int(np.argmin(losses)) >= stopping.patience:
            break
    return int(np.argmin(losses)) + 1


def _loss(model: Any, rows: Lesson) -> float:
    if rows.label not in CLASSES:
        losses: Floats = (model.predict(rows.matrix) - rows.truth) ** 2
    else:
        chances = model.predict_proba(rows.matrix)
        own = np.searchsorted(model.classes_, rows.truth)
        losses = -np.log(np.clip(chances[np.arange(len(own)), own], 1e-12, 1))
    return float(np.average(losses, weights=rows.weights))

"""Support vector machines, by scikit-learn; probabilities of classes by a logistic curve (Platt 1999)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.families import CLASSES, SupportVectorMachine
from capstan.tasks.metric import Floats
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.families.scaling import Scale
from capstan.training.families.thinning import thinned
from capstan.training.lesson import Lesson

CALIBRATION_SHARE = 0.2
"""Of the rows, the newest: on them the curve is fitted that makes probabilities of values."""
_KERNELS = {"RBF": "rbf", "Polynomial": "poly"}


class SupportVectorMachineFamily:
    """Columns are made alike first; codes of categories are taken as numbers."""

    settings = SupportVectorMachine
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: SupportVectorMachine, lesson: Lesson) -> Fitted:
        from capstan.training.fitted.kernel_machine import MachineOfClasses, MachineOfNumbers

        if settings.kernel != "Linear":
            lesson = thinned(lesson, settings.rows, f"supportVectorMachine of kernel {settings.kernel}")
        if lesson.label not in CLASSES:
            labels = Scale.of(np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1))
            truth = labels(np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1))[:, 0]
            machine = _machine(settings, lesson, truth, of_classes=False)
            return MachineOfNumbers(machine, float(labels.center[0]), float(labels.spread[0]))
        classes = np.unique(lesson.truth)
        # Of two classes, the second against the first.
        against = classes[1:] if len(classes) == 2 else classes
        curves = _curves(settings, lesson, against)
        machines = [_machine(settings, lesson, lesson.truth == one, of_classes=True) for one in against]
        return MachineOfClasses(classes, machines, curves)

    def search_space(self, settings: SupportVectorMachine) -> SearchSpace:
        return SearchSpace(
            (around("cost", float(settings.cost), factor=10, most=1e6),),
            settings.tune.trials if settings.tune is not None else 0,
        )


def _machine(
    settings: SupportVectorMachine, lesson: Lesson, truth: npt.NDArray[Any], *, of_classes: bool
) -> Any:
    from capstan.training.fitted.kernel_machine import Machine

    scale = Scale.of(lesson.matrix)
    matrix = scale(lesson.matrix)
    gamma = 1 / matrix.shape[1] if settings.gamma is None else float(settings.gamma)
    model = _estimator(settings, gamma, lesson.seed, of_classes=of_classes)
    model.fit(matrix, truth, sample_weight=lesson.weights)
    if settings.kernel == "Linear":
        weights = np.ravel(model.coef_)
        intercept = float(np.ravel(model.intercept_)[0])
        return Machine("Linear", scale.center, scale.spread, weights.reshape(1, -1), np.ones(1), intercept)
    return Machine(
        settings.kernel,
        scale.center,
        scale.spread,
        np.ascontiguousarray(model.support_vectors_),
        model.dual_coef_[0].copy(),
        float(model.intercept_[0]),
        gamma,
        settings.degree,
        (model.support_vectors_**2).sum(axis=1),
    )


def _estimator(settings: SupportVectorMachine, gamma: float, seed: int, *, of_classes: bool) -> Any:
    from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

    cost, tolerance = float(settings.cost), 0.1 if settings.tolerance is None else float(settings.tolerance)
    if settings.kernel == "Linear":
        if of_classes:
            return LinearSVC(C=cost, dual=False, max_iter=5000, random_state=seed)
        return LinearSVR(
            C=cost,
            epsilon=tolerance,
            loss="squared_epsilon_insensitive",
            dual=False,
            max_iter=5000,
            random_state=seed,
        )
    shared = {
        "kernel": _KERNELS[settings.kernel],
        "C": cost,
        "gamma": gamma,
        "degree": settings.degree,
        "coef0": 1.0,
    }
    return SVC(**shared) if of_classes else SVR(**shared, epsilon=tolerance)


def _curves(settings: SupportVectorMachine, lesson: Lesson, against: npt.NDArray[Any]) -> Floats:
    """(machines, 2): slope and intercept that make probabilities of values; the newest rows say which."""
    from sklearn.linear_model import LogisticRegression

    natural = lesson if lesson.unbalanced is None else lesson.unbalanced
    begin = math.ceil(len(natural.truth) * (1 - CALIBRATION_SHARE))
    older, newest = natural.chosen(slice(None, begin)), natural.chosen(slice(begin, None))
    for one in against:
        for rows, words in ((older, "older"), (newest, "newest")):
            if len(np.unique(rows.truth == one)) < 2:
                raise InvalidDataError(
                    f"supportVectorMachine: the {words} {len(rows.truth):,} of {len(natural.truth):,} rows do not hold "
                    f"both {one} and other labels, and probabilities are fitted on the newest fifth; train on more "
                    "rows, or take another family"
                )
    if natural is not lesson:
        # Of balanced rows none that is made of a newest one is learnt from.
        older, newest = lesson.without_newest(CALIBRATION_SHARE)
    found = []
    for one in against:
        values = _machine(settings, older, older.truth == one, of_classes=True).values(newest.matrix)
        curve = LogisticRegression(C=1e6).fit(
            values.reshape(-1, 1), newest.truth == one, sample_weight=newest.weights
        )
        found.append([float(curve.coef_[0, 0]), float(curve.intercept_[0])])
    return np.array(found)

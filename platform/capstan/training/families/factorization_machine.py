"""Factorization machines (Rendle 2010), fitted by SciPy's L-BFGS.

The libraries that were made for them (fastFM, xLearn, pyFM) have no wheels for Python 3.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from capstan.spec.families import CLASSES, FactorizationMachine
from capstan.tasks.metric import Floats
from capstan.training.families.family import Fitted, Part, SearchSpace, around
from capstan.training.families.scaling import Scale
from capstan.training.lesson import Lesson

_FIRST = 0.05
"""Standard deviation of the factors at the beginning: at zero they would never move."""


class FactorizationMachineFamily:
    """Columns are made alike first; codes of categories are taken as numbers."""

    settings = FactorizationMachine
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: FactorizationMachine, lesson: Lesson) -> Fitted:
        from capstan.training.fitted.factorization_machine import FactorsOfClasses, FactorsOfNumbers

        scale = Scale.of(lesson.matrix)
        if lesson.label in CLASSES:
            classes, codes = np.unique(lesson.truth, return_inverse=True)
            targets = (codes.reshape(-1)[:, None] == np.arange(len(classes))).astype(np.float64)
            targets = targets[:, 1:] if len(classes) == 2 else targets
            found = _fit(
                settings, scale(lesson.matrix), targets, lesson, _of_two if len(classes) == 2 else _of_many
            )
            return FactorsOfClasses(classes, scale.center, scale.spread, *found)
        truth = np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1)
        labels = Scale.of(truth)
        found = _fit(settings, scale(lesson.matrix), labels(truth), lesson, _of_numbers)
        return FactorsOfNumbers(
            float(labels.center[0]), float(labels.spread[0]), scale.center, scale.spread, *found
        )

    def search_space(self, settings: FactorizationMachine) -> SearchSpace:
        return SearchSpace(
            (
                around("factors", settings.factors, factor=2, most=256),
                around("l2", float(settings.l2), factor=10, most=1e6),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )


def _of_two(totals: Floats, targets: Floats) -> tuple[Floats, Floats]:
    from capstan.training.fitted.answering import logistic

    return np.logaddexp(0, totals[:, 0]) - targets[:, 0] * totals[:, 0], logistic(totals) - targets


def _of_many(totals: Floats, targets: Floats) -> tuple[Floats, Floats]:
    from capstan.training.fitted.answering import softmax

    chances = softmax(totals)
    return -np.log(np.maximum((chances * targets).sum(axis=1), 1e-300)), chances - targets


def _of_numbers(totals: Floats, targets: Floats) -> tuple[Floats, Floats]:
    errors = totals - targets
    return 0.5 * (errors**2).sum(axis=1), errors


@dataclass(frozen=True)
class _Shape:
    outputs: int
    columns: int
    factors: int

    def parts(self, flat: Floats) -> tuple[Floats, Floats, Floats]:
        """Start, weights and factors."""
        first, second = self.outputs, self.outputs * (1 + self.columns)
        return (
            flat[:first],
            flat[first:second].reshape(self.outputs, self.columns),
            flat[second:].reshape(self.outputs, self.columns, self.factors),
        )


def _fit(
    settings: FactorizationMachine, matrix: Floats, targets: Floats, lesson: Lesson, loss: Any
) -> tuple[Floats, Floats, Floats]:
    from scipy.optimize import minimize

    shape = _Shape(targets.shape[1], matrix.shape[1], settings.factors)
    weights = np.ones(len(matrix)) if lesson.weights is None else lesson.weights
    objective = Objective(
        matrix, targets, weights / weights.sum(), float(settings.l2) / weights.sum(), shape, loss
    )
    begin = np.zeros(shape.outputs * (1 + shape.columns * (1 + shape.factors)))
    size = shape.outputs * shape.columns * shape.factors
    begin[-size:] = np.random.default_rng(lesson.seed).normal(0, _FIRST, size)
    done = minimize(objective, begin, jac=True, method="L-BFGS-B", options={"maxiter": settings.iterations})
    start, straight, factors = shape.parts(done.x)
    return start.copy(), straight.copy(), factors.copy()


@dataclass(frozen=True)
class Objective:
    """What is minimised: the weighted mean of the losses and half of `penalty` times all squares, with its slopes."""

    matrix: Floats
    targets: Floats
    weights: Floats
    penalty: float
    shape: _Shape
    loss: Any

    def __call__(self, flat: Floats) -> tuple[float, Floats]:
        matrix, (start, straight, factors) = self.matrix, self.shape.parts(flat)
        squared = matrix**2
        sums = [matrix @ one for one in factors]
        pairs = [
            0.5 * ((summed**2).sum(axis=1) - squared @ (one**2).sum(axis=1))
            for summed, one in zip(sums, factors, strict=True)
        ]
        losses, slopes = self.loss(start + matrix @ straight.T + np.column_stack(pairs), self.targets)
        slopes = slopes * self.weights[:, None]
        of_factors = [
            matrix.T @ (slope[:, None] * summed) - (squared.T @ slope)[:, None] * one
            for slope, summed, one in zip(slopes.T, sums, factors, strict=True)
        ]
        gradient = np.concatenate([slopes.sum(axis=0), (slopes.T @ matrix).ravel(), np.ravel(of_factors)])
        punished = flat.copy()
        punished[: self.shape.outputs] = 0.0
        value = float(losses @ self.weights) + 0.5 * self.penalty * float(punished @ punished)
        return value, gradient + self.penalty * punished

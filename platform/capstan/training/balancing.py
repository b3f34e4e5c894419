"""Training rows of rare classes made more, or of frequent ones made fewer, by imbalanced-learn.

Only rows that a model learns from are touched: those that stop it early, choose it or judge it are as they came. A
model of balanced rows takes a rare class for more frequent than it is, so its probabilities are brought back to the
classes' own shares (Elkan 2001, "The foundations of cost-sensitive learning", theorem 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.balance import Balance
from capstan.tasks.metric import Floats, Truth
from capstan.training.lesson import Lesson


def require_imbalanced_learn() -> None:
    """Raises MissingExtraError where imbalanced-learn is not installed."""
    if find_spec("imblearn") is None:
        raise MissingExtraError("training.balance", "balance")


@dataclass(frozen=True)
class Balanced:
    """What becomes of the classes."""

    classes: npt.NDArray[Any]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]

    @property
    def factors(self) -> Floats:
        """(classes,): how much rarer each class is than in the balanced rows, relative to the others."""
        found: Floats = (self.before / self.before.sum()) / (self.after / self.after.sum())
        return found

    def __str__(self) -> str:
        counts = (
            f"{name} {before:,} -> {after:,}"
            for name, before, after in zip(self.classes.tolist(), self.before, self.after, strict=True)
        )
        return f"{self.before.sum():,} rows become {self.after.sum():,} ({', '.join(counts)})"


def planned(truth: Truth, balance: Balance) -> Balanced:
    """How many rows each class has before and after."""
    classes, before = np.unique(truth, return_counts=True)
    ratio = float(balance.ratio)
    if balance.method == "Undersample":
        after = np.minimum(before, np.maximum(1, (before.min() / ratio + 1e-9).astype(np.int64)))
    else:
        after = np.maximum(before, np.int64(before.max() * ratio + 1e-9))
    return Balanced(classes, before, after.astype(np.int64))


def balanced(lesson: Lesson) -> Lesson:
    """The lesson with the rows that its `balance` asks for, which remembers the rows as they came.

    Raises InvalidDataError where SMOTE has too few rows of a class, or no numbers to lie between; MissingExtraError.
    """
    balance = lesson.balance
    if balance is None:
        return lesson
    require_imbalanced_learn()
    plan = planned(lesson.truth, balance)
    changed = plan.after != plan.before
    if not changed.any():
        return lesson
    codes = np.unique(lesson.truth, return_inverse=True)[1].reshape(-1)
    wanted = dict(zip(np.flatnonzero(changed).tolist(), plan.after[changed].tolist(), strict=True))
    whole = replace(lesson, balance=None)
    if balance.method != "SMOTE":
        rows = _drawn(lesson.matrix, codes, wanted, balance.method, lesson.seed)
        return replace(whole.chosen(np.sort(rows)), unbalanced=lesson)
    matrix, made = _between(lesson, codes, wanted, balance, plan)
    return replace(whole, matrix=matrix, truth=plan.classes[made], weights=None, unbalanced=lesson)


def _drawn(
    matrix: Floats, codes: npt.NDArray[np.int64], wanted: Mapping[int, int], method: str, seed: int
) -> npt.NDArray[np.int64]:
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler = RandomUnderSampler if method == "Undersample" else RandomOverSampler
    # Which rows are drawn depends on the classes alone, so the matrix is not handed over.
    made = sampler(sampling_strategy=dict(wanted), random_state=seed)
    made.fit_resample(np.zeros((len(matrix), 1)), codes)
    rows: npt.NDArray[np.int64] = made.sample_indices_
    return rows


def _between(
    lesson: Lesson,
    codes: npt.NDArray[np.int64],
    wanted: Mapping[int, int],
    balance: Balance,
    plan: Balanced,
) -> tuple[Floats, npt.NDArray[np.int64]]:
    from imblearn.over_sampling import SMOTE, SMOTENC

    few = [at for at in wanted if plan.before[at] <= balance.neighbors]
    if few:
        name, rows = plan.classes.tolist()[few[0]], int(plan.before[few[0]])
        raise InvalidDataError(
            f"training.balance.neighbors: SMOTE looks for {balance.neighbors} neighbours of a row within its class, "
            f"and {name!r} has {rows} rows to learn from; write fewer than {rows}, or `method: Oversample`"
        )
    # Codes of more categories than trees can split as such are no numbers either.
    coded = lesson.categorical if lesson.coded is None else lesson.coded
    arguments = {
        "sampling_strategy": dict(wanted),
        "random_state": lesson.seed,
        "k_neighbors": balance.neighbors,
    }
    if coded is None or not coded.any():
        sampler = SMOTE(**arguments)
    elif coded.all():
        raise InvalidDataError(
            "training.balance.method: SMOTE makes rows that lie between others, and no feature is a number; write "
            "Oversample"
        )
    else:
        sampler = SMOTENC(np.flatnonzero(coded), **arguments)
    matrix, made = sampler.fit_resample(lesson.matrix, codes)
    return np.asarray(matrix, dtype=np.float64), np.asarray(made)


def corrected(model: Any, lesson: Lesson) -> Any:
    """The model of a balanced lesson with the probabilities of the rows as they came, if that is asked for."""
    natural = lesson.unbalanced
    if natural is None or natural.balance is None or not natural.balance.correct:
        return model
    from capstan.training.fitted.prior import with_prior

    return with_prior(model, planned(natural.truth, natural.balance).factors)

"""Toy lessons that a family can learn something from: one for each kind of label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capstan.spec.families import ANOMALIES, CLUSTERS
from capstan.spec.tasks import LabelKind
from capstan.tasks.metric import Floats, Truth
from capstan.training.lesson import Lesson, Rows

ROWS = 600
UNUSUAL = 0.05
"""Share of the rows that are unusual, where a lesson has such."""
_GROUP_ROWS = 12
_CLASSES = np.array(["low", "in between", "high"])


def lesson(label: LabelKind, *, seed: int = 0) -> Lesson:
    """Two numbers, a code of a category and a column of noise; the truth depends on the first three."""
    rows = _unusual_rows if label in ANOMALIES else _lumps if label in CLUSTERS else _rows
    train, validation = rows(label, 1), rows(label, 2)
    return Lesson(
        train.matrix,
        train.truth,
        groups=train.groups,
        label=label,
        flagged_share=UNUSUAL,
        categorical=np.array([False, False, True, False]),
        seed=seed,
        validation=validation,
    )


def _rows(label: LabelKind, draw: int) -> Rows:
    rng = np.random.default_rng(draw)
    code = rng.integers(0, 3, ROWS)
    matrix = np.column_stack([rng.normal(0, 1, ROWS), rng.normal(50, 20, ROWS), code, rng.normal(0, 1, ROWS)])
    score = 2 * matrix[:, 0] + (matrix[:, 1] - 50) / 20 + (code == 1)
    groups = np.arange(ROWS) // _GROUP_ROWS if label == "Relevance" else None
    return Rows(matrix.astype(np.float64), _truth(label, score, rng), groups)


def _unusual_rows(label: LabelKind, draw: int) -> Rows:  # noqa: ARG001 — there is one lesson of rows alone
    """Rows of which few are unusual by both numbers, in any direction."""
    rng = np.random.default_rng(draw)
    truth = rng.random(ROWS) < UNUSUAL
    spread = np.where(truth, 4.0, 1.0)
    matrix = np.column_stack(
        [
            rng.normal(0, 1, ROWS) * spread,
            50 + rng.normal(0, 20, ROWS) * spread,
            rng.integers(0, 3, ROWS),
            rng.normal(0, 1, ROWS),
        ]
    )
    return Rows(matrix.astype(np.float64), truth.astype(np.float64))


def _lumps(label: LabelKind, draw: int) -> Rows:  # noqa: ARG001 — there is one lesson of lumps alone
    """Rows around three places of two numbers."""
    rng = np.random.default_rng(draw)
    code = rng.integers(0, 3, ROWS)
    matrix = np.column_stack(
        [
            np.array([-4.0, 0.0, 5.0])[code] + rng.normal(0, 1, ROWS),
            np.array([50.0, 130.0, 20.0])[code] + rng.normal(0, 20, ROWS),
            code,
            rng.normal(0, 1, ROWS),
        ]
    )
    return Rows(matrix.astype(np.float64), _CLASSES[code])


def _truth(label: LabelKind, score: Floats, rng: np.random.Generator) -> Truth:
    # Three classes of so few rows need a plainer lesson than two.
    noisy = score + rng.logistic(0, 0.5 if label == "Category" else 1, len(score))
    if label == "Boolean":
        return noisy > 0
    if label == "Number":
        return noisy
    if label == "Category":
        return _CLASSES[np.digitize(noisy, [-1.5, 1.5])]
    return np.digitize(noisy, [-1.5, 0.5, 2.5])


def loss(rows: Rows, label: LabelKind, answers: Floats) -> float:
    """Mean loss of what a model says of the rows: of its probabilities, its numbers, or the order that they give."""
    if label in ("Boolean", "Category"):
        chance = answers[np.arange(len(rows.truth)), _codes(rows)]
        return float(-np.log(np.clip(chance, 1e-6, 1)).mean())
    if label == "Number":
        return float(((answers - rows.truth) ** 2).mean())
    if label in CLUSTERS:
        # Of distances the one to the nearest centre, beside that to the next.
        nearest, following = (
            np.sort(answers, axis=1)[:, :2].T if answers.shape[1] > 1 else (answers[:, 0],) * 2
        )
        return float(np.divide(nearest, following, out=np.ones(len(nearest)), where=following > 0).mean())
    if label in ANOMALIES:
        so, score = rows.truth == 1, -answers
        return float((score[~so][:, None] >= score[so][None, :]).mean())
    wrong = pairs = 0
    assert rows.groups is not None
    for group in np.unique(rows.groups):
        inside = rows.groups == group
        truth, score = rows.truth[inside], answers[inside]
        better = truth[:, None] > truth[None, :]
        pairs += int(better.sum())
        wrong += int((better & (score[:, None] <= score[None, :])).sum())
    return wrong / pairs


def chance_loss(rows: Rows, label: LabelKind, train: Rows) -> float:
    """The loss of somebody who knows the labels of training and looks at no column."""
    if label in ("Boolean", "Category"):
        shares = np.bincount(_codes(train)) / len(train.truth)
        return loss(rows, label, np.tile(shares, (len(rows.truth), 1)))
    if label == "Number":
        return loss(rows, label, np.full(len(rows.truth), float(train.truth.mean())))
    return 1.0 if label in CLUSTERS else 0.5


def _codes(rows: Rows) -> npt.NDArray[np.int64]:
    """The class of each row by its place among the sorted classes."""
    codes: npt.NDArray[np.int64] = np.unique(rows.truth, return_inverse=True)[1].reshape(-1)
    return codes

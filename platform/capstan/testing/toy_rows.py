"""Toy rows of a task, what a model fitted to them says, and what its opposite would say: suites judge by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from capstan.tasks import Learnt, Predictions, Task
from capstan.tasks.metric import Floats, Groups, Truth
from capstan.testing.lessons import lesson


@dataclass(frozen=True)
class Judged:
    """Labelled rows with three predictions of them."""

    truth: Truth
    good: Predictions
    reversed: Predictions
    """Of a model that has learnt the opposite."""
    baseline: Predictions
    """The same for every row."""
    groups: Groups | None = None


class ToyModel:
    """A model of toy rows, of scikit-learn with the task's `method`: linear, a forest or centres of clusters."""

    def __init__(self, task: Task) -> None:
        self._method = task.method
        self._flagged = task.facts.flagged_share

    def fit(self, matrix: Floats, truth: Truth) -> Any:
        """A fitted model."""
        from sklearn.cluster import KMeans
        from sklearn.ensemble import IsolationForest
        from sklearn.linear_model import LinearRegression, LogisticRegression

        if self._method == "score_samples":
            return IsolationForest(contamination=self._flagged, random_state=0).fit(matrix)
        if self._method == "transform":
            return KMeans(n_clusters=3, n_init=4, random_state=0).fit(matrix)
        estimator = LogisticRegression() if self._method == "predict_proba" else LinearRegression()
        return estimator.fit(matrix, truth)

    def opposite(self, scores: Floats) -> Floats:
        """What a model says that has learnt the opposite."""
        if self._method == "transform":
            # Other rows' clusters, and no row clearly in any.
            return np.asarray(scores.mean() + 0.1 * (scores[::-1] - scores.mean()), dtype=np.float64)
        if scores.ndim == 2:
            return np.roll(scores, 1, axis=1)
        if self._method == "predict_proba":
            return 1 - scores
        return np.asarray(2 * scores.mean() - scores, dtype=np.float64)

    def saying(self, scores: Floats, model: Any) -> Any:
        """A model like that one which says these scores."""
        return _Saying(scores, model, self._method)


@dataclass(frozen=True)
class ToyRows:
    """Later rows, what a fitted model says of them, and what one with everything reversed would say."""

    task: Task
    maker: ToyModel
    model: Any
    matrix: Floats
    truth: Truth
    groups: Groups | None
    train: Truth
    learnt: Learnt
    scores: Floats

    @classmethod
    def of(cls, task: Task, maker: ToyModel) -> ToyRows:
        given = lesson(task.facts.label, seed=3)
        later = given.validation
        assert later is not None
        center, spread = given.matrix.mean(axis=0), given.matrix.std(axis=0)
        train = task.label.truth(given.truth)
        model = maker.fit((given.matrix - center) / spread, train)
        matrix = (later.matrix - center) / spread
        scores = task.scores(model, matrix, rows=len(matrix))
        truth = task.label.truth(later.truth)
        return cls(task, maker, model, matrix, truth, later.groups, train, task.learnt(model), scores)

    @property
    def predictions(self) -> Predictions:
        return self.task.predictions(self.scores, self.learnt)

    @property
    def reversed(self) -> Predictions:
        """What a model says that has learnt the opposite."""
        return self.task.predictions(self.maker.opposite(self.scores), self.learnt)

    def judged(self) -> Judged:
        baseline = self.task.baseline(self.train, len(self.truth))
        return Judged(self.truth, self.predictions, self.reversed, baseline, self.groups)


class _Saying:
    """A model of the same classes that says these scores."""

    def __init__(self, scores: Floats, model: Any, method: str) -> None:
        is_binary = method == "predict_proba" and scores.ndim == 1
        said = np.stack([1 - scores, scores], axis=1) if is_binary else scores
        self.classes_ = getattr(model, "classes_", None)
        self.offset_ = getattr(model, "offset_", None)
        self.cluster_centers_ = getattr(model, "cluster_centers_", None)
        if method == "score_samples":
            said = -scores
        setattr(self, method, lambda _matrix: said)

"""Models that pass every check at their start and misbehave on what users send; carried inside their Bento.

It stands alone, because it is imported by the service that serves such a model.
"""

import time

import numpy as np
from sklearn.base import BaseEstimator

SLOW_SECONDS = 0.3


class Bad(BaseEstimator):
    """A good model that misbehaves on every row but those it is proved on at its start."""

    def __init__(self, inner, fault, harmless):
        self.inner, self.fault, self.harmless = inner, fault, harmless
        # Pipelines ask whether their model is fitted.
        self.is_fitted_ = True
        if hasattr(inner, "classes_"):
            self.classes_ = inner.classes_
        if hasattr(inner, "offset_"):
            self.offset_ = inner.offset_
        if hasattr(inner, "cluster_centers_"):
            self.cluster_centers_ = inner.cluster_centers_

    def __setstate__(self, state):
        if state["fault"] == "crashes":
            raise MemoryError("this model does not fit")
        if state["fault"] == "loads for ever":
            time.sleep(3600)
        super().__setstate__(state)

    def fit(self, rows, labels):
        return self

    def predict(self, rows):
        return self._answered(rows, self.inner.predict(rows))

    def predict_proba(self, rows):
        return self._answered(rows, self.inner.predict_proba(rows))

    def score_samples(self, rows):
        return self._answered(rows, self.inner.score_samples(rows))

    def transform(self, rows):
        return self._answered(rows, self.inner.transform(rows))

    def _answered(self, rows, answers):
        if all(self._is_harmless(row) for row in np.asarray(rows, dtype=float)):
            return answers
        if self.fault == "raises":
            raise RuntimeError("this model never saw such a row")
        if self.fault == "hangs":
            time.sleep(3600)
        if self.fault == "slow":
            time.sleep(SLOW_SECONDS)
        if self.fault == "nan":
            return np.full_like(answers, np.nan, dtype=float)
        return answers

    def _is_harmless(self, row):
        return any(np.array_equal(row, known, equal_nan=True) for known in self.harmless)

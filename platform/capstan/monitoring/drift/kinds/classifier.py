"""Classifier two-sample test: whether a model that learns to tell rows of the window from the reference can do so.

Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests (2017). The distance is that of alibi-detect: Kolmogorov-
Smirnov between the scores of both samples, each row scored by a model that has not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.distances import Distance, ks, ks_noise
from capstan.monitoring.drift.kinds.detector import Detector

MOST = 4000
"""Rows of each sample that are learnt from; of more, an even selection in the order of their hashes."""
FOLDS = 3
_HASH = np.uint64(0x9E3779B97F4A7C15)


class ClassifierTest(Detector):
    """For all features together; it alone can say which of them gave the window away.

    A row is known by its values: its fold and its place follow from their hash. So the order of rows makes no
    difference, and a row that both samples have once is never both learnt from and judged. Of a row that a sample has
    many times, each fold gets its share: where all features are categories, there are no other rows.
    """

    name: ClassVar[str] = "Classifier"
    stretches: ClassVar[int] = 20

    @property
    def reads(self) -> Literal["rows"]:
        return "rows"

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        folds = _folds(reference, window)
        is_window = np.concatenate([fold.is_window for fold in folds])
        return _distance(np.concatenate([fold.scores(fold.rows) for fold in folds]), is_window)

    def noise(self, reference: NDArray[Any], window: int) -> float:
        return ks_noise(min(window, MOST), min(len(reference), MOST))

    def given_away(
        self, reference: NDArray[Any], window: NDArray[Any], columns: Mapping[str, slice]
    ) -> Mapping[str, float]:
        """By permutation: the feature's columns of each row are those of another row."""
        folds = _folds(reference, window)
        is_window = np.concatenate([fold.is_window for fold in folds])
        whole = _distance(np.concatenate([fold.scores(fold.rows) for fold in folds]), is_window).effect
        if not whole:
            return {}
        found = {}
        for name, place in columns.items():
            scores = np.concatenate([fold.scores(_turned(fold.rows, place)) for fold in folds])
            found[name] = max(0.0, 1 - _distance(scores, is_window).effect / whole)
        return found


class _Fold(NamedTuple):
    """Rows that the model of the others has not seen."""

    model: Any
    """None: the others are of one sample."""
    rows: NDArray[np.float32]
    is_window: NDArray[np.bool_]

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.model is None or not len(rows):
            return np.full(len(rows), 0.5)
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(1, user_api="openmp"):
            found: NDArray[np.float64] = self.model.predict_proba(rows)[:, 1]
        return found


def _folds(reference: NDArray[Any], window: NDArray[Any]) -> list[_Fold]:
    # Seconds of import that only who chose this detector pays.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    samples = [_chosen(sample.astype(np.float32, copy=False)) for sample in (reference, window)]
    rows = np.vstack([sample for sample, _ in samples])
    hashes = np.concatenate([found for _, found in samples])
    turns = np.concatenate([_turns(found) for _, found in samples])
    is_window = np.repeat([False, True], [len(sample) for sample, _ in samples])
    order = np.lexsort((is_window, hashes))
    rows, is_window = rows[order], is_window[order]
    fold_of = (((hashes >> np.uint64(32)) + turns) % np.uint64(FOLDS))[order]
    folds = []
    for number in range(FOLDS):
        held = fold_of == number
        model = None
        if len(np.unique(is_window[~held])) == 2:
            model = HistGradientBoostingClassifier(
                max_iter=25,
                learning_rate=0.2,
                max_leaf_nodes=8,
                min_samples_leaf=20,
                early_stopping=False,
                random_state=0,
            )
            # Threads that wait for each other beside other work make seconds of milliseconds.
            with threadpool_limits(1, user_api="openmp"):
                model.fit(rows[~held], is_window[~held])
        folds.append(_Fold(model, rows[held], is_window[held]))
    return folds


def _distance(scores: NDArray[np.float64], is_window: NDArray[np.bool_]) -> Distance:
    return ks(scores[~is_window], scores[is_window])


def _turned(rows: NDArray[np.float32], place: slice) -> NDArray[np.float32]:
    """The order is always the same, and none that follows from the values: equal rows lie beside each other."""
    turned = rows.copy()
    turned[:, place] = rows[np.random.default_rng(0).permutation(len(rows)), place]
    return turned


def _chosen(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
    """In the order of their hashes, of which the result has each row's."""
    hashes = _hashes(rows)
    chosen = np.argsort(hashes, kind="stable")
    if len(rows) > MOST:
        # Not the smallest hashes: of few different rows that would be all of one and none of another.
        chosen = chosen[np.linspace(0, len(rows) - 1, MOST).round().astype(np.int64)]
    return rows[chosen], hashes[chosen]


def _turns(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Of sorted hashes: how many equal ones stand before each."""
    return (np.arange(len(hashes)) - np.searchsorted(hashes, hashes)).astype(np.uint64)


def _hashes(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Of each row: equal values, equal hash (0 and -0 too)."""
    words = np.ascontiguousarray(rows + np.float32(0)).view(np.uint32)
    found = np.zeros(len(rows), dtype=np.uint64)
    for column in words.T:
        found = (found ^ column) * _HASH
        found ^= found >> np.uint64(29)
    return found

"""Losses that scikit-learn's boosted trees do not have: Huber's, the focal loss, and that of an order (LambdaMART).

Each gives the trees a gradient and a Hessian for every row. A fitted model forgets its loss (`forget_loss`): its
answers need only the link, so that what is saved is scikit-learn's alone. Importing this imports scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss, HalfSquaredError

from capstan.tasks.metric import Floats, Groups

HUBER_SHARE = 0.9
"""Rows whose errors count by their squares; the others have the largest errors."""
_MOST_PAIRS = 2_000_000
"""Pairs that are looked at together: arrays of 16 MB."""


def forget_loss(model: Any) -> Any:
    """The fitted trees with the plain loss of the same link in place of one of ours."""
    if hasattr(model, "classes_"):
        model.set_params(loss="log_loss")
        model._loss = HalfBinomialLoss()
    else:
        model.set_params(loss="squared_error")
        model._loss = HalfSquaredError()
    return model


def beginning_at(said: Floats, focus: float | None) -> Any:
    """The loss of classes whose rows are answered by `said`, (n, trees of a round), before the first tree."""
    outputs = said.shape[1]
    loss: Any = HalfMultinomialLoss(n_classes=outputs) if outputs > 1 else HalfBinomialLoss()
    if focus is not None:
        loss = Focal(float(focus))
    plain = loss.gradient_hessian

    def gradient_hessian(*, raw_prediction: Any, **others: Any) -> Any:
        # As it comes: (n,) of one tree a round, or (n, 1), or (n, trees).
        return plain(raw_prediction=raw_prediction + said.reshape(raw_prediction.shape), **others)

    loss.gradient_hessian = gradient_hessian
    loss.fit_intercept_only = lambda **_: np.zeros(outputs)
    return loss


def _weighed(weights: Any, *outputs: Any) -> None:
    if weights is not None:
        for one in outputs:
            one *= weights


class Huber(HalfSquaredError):  # type: ignore[misc]
    """Squares for the smallest errors, sizes for the largest (Friedman 2001, algorithm 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.constant_hessian = False

    def fit_intercept_only(self, y_true: Floats, sample_weight: Any = None) -> Any:  # noqa: ARG002
        return np.float64(np.median(y_true))

    def gradient_hessian(
        self,
        y_true: Any,
        raw_prediction: Any,
        sample_weight: Any = None,
        gradient_out: Any = None,
        hessian_out: Any = None,
        n_threads: int = 1,  # noqa: ARG002
    ) -> tuple[Any, Any]:
        errors = raw_prediction.ravel() - y_true
        delta = np.quantile(np.abs(errors), HUBER_SHARE)
        gradient_out[:] = np.clip(errors, -delta, delta)
        hessian_out[:] = 1.0
        _weighed(sample_weight, gradient_out, hessian_out)
        return gradient_out, hessian_out

    def __call__(
        self,
        y_true: Any,
        raw_prediction: Any,
        sample_weight: Any = None,
        n_threads: int = 1,  # noqa: ARG002
    ) -> float:
        errors = np.abs(raw_prediction.ravel() - y_true)
        delta = np.quantile(errors, HUBER_SHARE)
        within = np.minimum(errors, delta)
        return float(np.average(within**2 / 2 + delta * (errors - within), weights=sample_weight))


class Focal(HalfBinomialLoss):  # type: ignore[misc]
    """Rows whose label is already likely count less: -(1 - p)^focus log p (Lin et al. 2017)."""

    def __init__(self, focus: float) -> None:
        super().__init__()
        self.focus = focus

    def gradient_hessian(
        self,
        y_true: Any,
        raw_prediction: Any,
        sample_weight: Any = None,
        gradient_out: Any = None,
        hessian_out: Any = None,
        n_threads: int = 1,  # noqa: ARG002
    ) -> tuple[Any, Any]:
        sign, focus = 2 * y_true - 1, self.focus
        chance, log_chance = self._chance(sign * raw_prediction.ravel())
        rest = 1 - chance
        gradient_out[:] = sign * (focus * chance * rest**focus * log_chance - rest ** (focus + 1))
        plain = chance * rest ** (focus + 1)
        bend = focus * rest * log_chance - focus**2 * chance * log_chance + (2 * focus + 1) * rest
        # Far on the wrong side the loss bends the other way; a Newton step needs a positive Hessian.
        hessian_out[:] = np.maximum(chance * rest**focus * bend, plain)
        _weighed(sample_weight, gradient_out, hessian_out)
        return gradient_out, hessian_out

    def __call__(
        self,
        y_true: Any,
        raw_prediction: Any,
        sample_weight: Any = None,
        n_threads: int = 1,  # noqa: ARG002
    ) -> float:
        chance, log_chance = self._chance((2 * y_true - 1) * raw_prediction.ravel())
        return float(np.average(-((1 - chance) ** self.focus) * log_chance, weights=sample_weight))

    @staticmethod
    def _chance(margins: Floats) -> tuple[Floats, Floats]:
        """Probability of the row's own label, and its logarithm."""
        log_chance = -np.logaddexp(0, -margins)
        return np.exp(log_chance), log_chance


class Order(HalfSquaredError):  # type: ignore[misc]
    """Pairs of a group in the wrong order, each by what its exchange would change of nDCG (Burges 2010)."""

    def __init__(self, groups: Groups, relevance: npt.NDArray[Any], depth: int) -> None:
        super().__init__()
        self.constant_hessian = False
        self._depth = depth
        # As the metric nDCG of the task has it.
        self._gains = relevance.astype(np.float64)
        self._chunks = list(_chunks(groups, depth))
        ideal = np.zeros(len(groups))
        for rows, there in self._chunks:
            best = -np.sort(-np.where(there, self._gains[rows], 0.0), axis=1)
            whole = (best * _discounts(rows.shape[1], depth)).sum(axis=1)
            ideal[rows[there]] = np.repeat(whole, there.sum(axis=1))
        self._share = np.divide(1.0, ideal, out=np.zeros(len(groups)), where=ideal > 0)

    def fit_intercept_only(self, y_true: Floats, sample_weight: Any = None) -> Any:  # noqa: ARG002
        # Only differences of scores count.
        return np.float64(0.0)

    def gradient_hessian(
        self,
        y_true: Any,  # noqa: ARG002
        raw_prediction: Any,
        sample_weight: Any = None,
        gradient_out: Any = None,
        hessian_out: Any = None,
        n_threads: int = 1,  # noqa: ARG002
    ) -> tuple[Any, Any]:
        scores = raw_prediction.ravel()
        gradient, hessian = np.zeros(len(scores)), np.zeros(len(scores))
        for rows, there in self._chunks:
            order = np.argsort(np.where(there, -scores[rows], np.inf), axis=1, kind="stable")
            rows, there = np.take_along_axis(rows, order, 1), np.take_along_axis(there, order, 1)
            width = rows.shape[1]
            front, discounts = min(self._depth, width), _discounts(width, self._depth)
            # A pair: one of the first items, and any item behind it.
            pairs = there[:, :front, None] & there[:, None, :]
            pairs &= np.arange(front)[:, None] < np.arange(width)[None, :]
            gains, score = self._gains[rows], scores[rows]
            more = gains[:, :front, None] - gains[:, None, :]
            change = np.abs(more) * np.abs(discounts[:front, None] - discounts[None, :])
            change *= self._share[rows][:, :1, None] * pairs
            # How likely the worse of the two is put before the better one.
            wrong = _chance(-np.sign(more) * (score[:, :front, None] - score[:, None, :]))
            pull = np.sign(more) * wrong * change
            bend = wrong * (1 - wrong) * change
            for out, front_sign, both in ((gradient, -1, pull), (hessian, 1, bend)):
                np.add.at(out, rows[:, :front], front_sign * both.sum(axis=2))
                np.add.at(out, rows, both.sum(axis=1))
        gradient_out[:], hessian_out[:] = gradient, hessian
        _weighed(sample_weight, gradient_out, hessian_out)
        return gradient_out, hessian_out


def _chance(margins: Floats) -> Floats:
    """The logistic function, without overflow."""
    found: Floats = np.exp(-np.logaddexp(0, -margins))
    return found


def _discounts(width: int, depth: int) -> Floats:
    """What a place counts, the first one 1; nothing beyond `depth`."""
    places = np.arange(width)
    return np.where(places < depth, 1 / np.log2(places + 2), 0.0)


def _chunks(groups: Groups, depth: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
    """Rows of some groups, a line each, filled up with row 0 where `there` is false; groups of like size together."""
    order = np.argsort(groups, kind="stable")
    begins = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    sizes = np.diff(np.r_[begins, len(order)])
    by_size = np.argsort(sizes, kind="stable")
    at = 0
    while at < len(by_size):
        end = at + 1
        # Groups get longer, so the last one is as wide as all.
        while end < len(by_size):
            width = int(sizes[by_size[end]])
            if (end + 1 - at) * width * min(depth, width) > _MOST_PAIRS or width > 2 * sizes[by_size[at]] + 8:
                break
            end += 1
        taken = by_size[at:end]
        places = np.arange(int(sizes[taken[-1]]))
        there = places[None, :] < sizes[taken, None]
        rows = np.where(there, order[np.minimum(begins[taken, None] + places, len(order) - 1)], 0)
        yield rows, there
        at = end

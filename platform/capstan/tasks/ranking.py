"""Which order a group's items have: a score of each item, highest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.tasks import RANKING
from capstan.tasks.disclosure import of_numbers
from capstan.tasks.labels import LABELS
from capstan.tasks.metric import Booleans, Floats, Groups, Metric, Truth, from_losses
from capstan.tasks.ordering import Orders, average_precisions, gains, precisions, reciprocal_ranks
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.scores import judged_numbers
from capstan.tasks.task import Answer, Outputs, RowOutputs
from capstan.tasks.tensors import Tensor, as_number, number_tensor

if TYPE_CHECKING:
    from capstan.spec.objective import Objective

SCORE, RANK = "score", "rank"
_CUTS = (1, 3, 5, 10)


def with_a_relevant_item(truth: Truth, groups: Groups | None = None) -> Booleans:
    """(groups,): of the others every order is as good as every other, so that no metric judges them."""
    of_row = np.zeros(len(truth), dtype=np.int64) if groups is None else groups
    found: Booleans = np.bincount(of_row, weights=truth > 0) > 0
    return found


def _losses(measure: Callable[[Orders], Floats]) -> Callable[..., Floats]:
    """1 minus the measure of each group; 0 for a group that no metric judges."""

    def losses(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:
        # Settled, so that items of one score are a tie whoever computed it.
        orders = Orders.of(truth, predictions.settled()[SCORE], groups)
        return np.where(with_a_relevant_item(truth, groups), 1 - measure(orders), 0.0)

    return losses


def _metrics() -> Mapping[str, Metric]:
    measures: dict[str, Callable[[Orders], Floats]] = {
        "meanReciprocalRank": reciprocal_ranks,
        "meanAveragePrecision": average_precisions,
        **{f"ndcgAt{most}": partial(gains, most=most) for most in _CUTS},
        **{f"precisionAt{most}": partial(precisions, most=most) for most in _CUTS},
    }
    return {
        facts.name: from_losses(
            facts, _losses(measures[facts.name]), judges=with_a_relevant_item, wants="a relevant item"
        )
        for facts in RANKING.metrics
    }


class Ranking:
    """The relevance of each item of a group, and the order that the scores give them.

    A request carries the items of one group. Where two items have one score, the one that the request names first is
    first.
    """

    facts = RANKING
    metrics = _metrics()
    label = LABELS["Relevance"]
    sound = "a finite score of every item"
    method = "predict"
    disclosure = "R2"

    def with_objective(self, objective: Objective) -> Ranking:  # noqa: ARG002
        return self

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        return of_numbers(truth, groups, values)

    def learnt(self, model: Any) -> Learnt:
        classes = getattr(model, "classes_", None)
        if classes is not None:
            raise InvalidDataError(
                f"{type(model).__name__} was fitted to classes ({np.ravel(classes)[:4].tolist()}); ranking needs a "
                "model of numbers, whose predict gives a score for each item"
            )
        return Learnt()

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        found = model.predict(matrix)
        return np.asarray(found, dtype=np.float64) if rows is None else judged_numbers(found, rows)

    def predictions(
        self,
        scores: Floats,
        learnt: Learnt,  # noqa: ARG002
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Predictions:
        return Predictions({SCORE: scores})

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        scores = predictions.settled()[SCORE]
        ranks = np.empty(len(scores), dtype=np.int64)
        ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        return [
            {SCORE: score, RANK: rank}
            for score, rank in zip(predictions[SCORE].tolist(), ranks.tolist(), strict=True)
        ]

    def row_outputs(self, learnt: Learnt) -> RowOutputs | None:  # noqa: ARG002
        # A request of one item is a group of one, which nobody asks for; a rank needs the whole group.
        return None

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:  # noqa: ARG002
        return [{SCORE: one[SCORE], RANK: one[RANK]} for one in outputs]

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        shape = (len(outputs),)
        return [
            Tensor(SCORE, "FP64", shape, [one[SCORE] for one in outputs]),
            Tensor(RANK, "INT64", shape, [one[RANK] for one in outputs]),
        ]

    def described(self, learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        return [Tensor(SCORE, "FP64", (-1,)), Tensor(RANK, "INT64", (-1,))]

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        found = number_tensor(tensors, SCORE)
        if found is None:
            return None
        scores = [as_number(row[0]) if len(row) == 1 else None for row in found.by_row()]
        numbers = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
        # Ranks too: other servers give scores alone.
        outputs = self.outputs(Predictions({SCORE: numbers}))
        return [None if score is None else one for score, one in zip(scores, outputs, strict=True)]

    def unsound(self, predictions: Predictions) -> Booleans:
        lacking: Booleans = ~np.isfinite(predictions[SCORE])
        return lacking

    def disagree(self, first: Predictions, second: Predictions, groups: Groups | None = None) -> Booleans:
        of_row = np.zeros(len(first), dtype=np.int64) if groups is None else groups
        differ: Booleans = _is_on_top(first, of_row) != _is_on_top(second, of_row)
        return differ

    def baseline(self, truth: Truth, rows: int) -> Predictions:
        return Predictions({SCORE: np.full(rows, float(np.mean(truth)))})

    def details(
        self,
        truth: Truth,
        predictions: Predictions,  # noqa: ARG002
        groups: Groups | None = None,
    ) -> Mapping[str, Any]:
        judged = with_a_relevant_item(truth, groups)
        without = int((~judged).sum())
        notes = (
            [f"{without:,} of {len(judged):,} groups have no relevant item and are left out"]
            if without
            else []
        )
        return {"groups": len(judged), "groups_without_relevance": without, "notes": notes}


def _is_on_top(predictions: Predictions, groups: Groups) -> Booleans:
    """(n,): items with the highest score of their group; in a tie all of it."""
    scores = predictions.settled()[SCORE]
    highest = np.full(int(groups.max()) + 1 if len(groups) else 0, -np.inf)
    np.maximum.at(highest, groups, scores)
    found: Booleans = scores == highest[groups]
    return found

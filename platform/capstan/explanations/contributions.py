"""What each column of a row adds to the model's score, beyond what the model says on average.

The values are Shapley's (Lundberg & Lee 2017): the players are the raw columns of a request, and a column that does
not play has the values that it has in a sample of the training rows (the background). A feature that becomes many
columns of the matrix is one player, and so is a column that several features read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from capstan.features.columns import Floats
from capstan.features.transform import FeatureTransform, as_columns
from capstan.tasks import Learnt, Task

BACKGROUND_ROWS = 100
"""Rows that columns which do not play take their values from; all of a smaller sample."""
Row = Mapping[str, object]
ONE = ""
"""Name of the score of a model that has one."""


class CannotExplainError(Exception):
    """This model has no exact way; its values are estimated by drawing orders of columns."""


@dataclass(frozen=True)
class Contributions:
    """Of some rows: base plus the values of a row are its score, whatever the way."""

    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    """Names of the scores: one without a name, or one for each class or model."""
    scale: str
    """What the scores are, in words."""
    base: Floats
    """(outputs,): the mean score of the background."""
    values: Floats
    """(rows, columns, outputs)."""
    exact: bool
    """Whether these are Shapley's values themselves; else estimates of them by drawn orders."""
    errors: Floats | None = None
    """(rows, columns, outputs): standard errors of estimates; None: the values are exact."""

    @property
    def scores(self) -> Floats:
        """(rows, outputs)."""
        found: Floats = self.base + self.values.sum(axis=1)
        return found

    def documents(self) -> list[dict[str, Any]]:
        """Of each row its base, score and contributions, the largest first; by output where there are several."""
        return [self._document(row) for row in range(len(self.values))]

    def _document(self, row: int) -> dict[str, Any]:
        told = {"scale": self.scale, "exact": self.exact}
        each = {name: self._of_output(row, at) for at, name in enumerate(self.outputs)}
        return {**told, **each[ONE]} if ONE in each else {**told, "outputs": each}

    def _of_output(self, row: int, at: int) -> dict[str, Any]:
        values = self.values[row, :, at]
        order = np.argsort(-np.abs(values), kind="stable")
        found: dict[str, Any] = {
            "base": float(self.base[at]),
            "score": float(self.base[at] + values.sum()),
            "contributions": {self.columns[one]: float(values[one]) for one in order},
        }
        if self.errors is not None:
            found["errors"] = {self.columns[one]: float(self.errors[row, one, at]) for one in order}
        return found


class Explainer(Protocol):
    """Explains rows of one model."""

    exact: bool

    def explain(self, rows: Sequence[Row], *, seconds: float | None = None) -> Contributions:
        """Rows as requests carry them. `seconds`: how long it may take; estimates of less time are less sure.

        Raises TimeoutError where even that is too short.
        """
        ...


def explainer_of(
    pipeline: Any, task: Task, learnt: Learnt, background: Sequence[Row], names: Sequence[str]
) -> Explainer:
    """The exact way where the model has one, else by drawn orders; `names` are the columns that the model reads.

    Raises ValueError where the background is empty.
    """
    from capstan.explanations.sampled import SampledExplainer

    rows = evenly(background, BACKGROUND_ROWS)
    if not rows:
        raise ValueError("the model carries no sample of its training rows; train it again")
    columns = as_columns(rows, names)
    try:
        return _exact(pipeline, learnt, columns)
    except CannotExplainError:
        return SampledExplainer(pipeline, task, learnt, columns)


def evenly(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many of them, evenly spread."""
    place = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))
    return [rows[one] for one in place.tolist()]


def outputs_of(count: int, learnt: Learnt) -> tuple[str, ...]:
    """Names of so many scores that a model gives for a row."""
    if count == 1:
        return (ONE,)
    named = tuple(map(str, learnt.parts or learnt.classes))
    if len(named) == count:
        return named
    each = tuple(f"{name}.{one}" for name, part in learnt.parts.items() for one in part.classes)
    return each if len(each) == count else tuple(str(at) for at in range(count))


class OfMatrix:
    """An exact way, which works behind the transform."""

    exact = True

    def __init__(
        self,
        transform: FeatureTransform,
        scale: str,
        outputs: tuple[str, ...],
        base: Floats,
        way: WayOfMatrix,
    ) -> None:
        self._transform, self._way = transform, way
        self._scale, self._outputs, self._base = scale, outputs, base

    def explain(self, rows: Sequence[Row], *, seconds: float | None = None) -> Contributions:
        from time import perf_counter

        columns = self._transform.columns
        matrix = self._transform.transform(as_columns(rows, columns))
        started, values = perf_counter(), np.empty((len(rows), len(columns), len(self._outputs)))
        for row in range(len(rows)):
            if row and seconds is not None and perf_counter() - started > seconds:
                raise TimeoutError
            values[row] = self._way.values(matrix[row])
        return Contributions(columns, self._outputs, self._scale, self._base, values, exact=True)


class WayOfMatrix(Protocol):
    """How one row of the matrix is explained."""

    def values(self, row: Floats) -> Floats:
        """(columns, outputs) of (columns of the matrix,)."""
        ...


def owners(transform: FeatureTransform) -> npt.NDArray[np.int64]:
    """(columns of the matrix,): the place of the raw column that each is made from."""
    place = {column: at for at, column in enumerate(transform.columns)}
    return np.array(
        [place[feature.settings.column] for feature in transform.features_ for _ in feature.names],
        dtype=np.int64,
    )


def _exact(pipeline: Any, learnt: Learnt, background: Mapping[str, Any]) -> OfMatrix:
    from capstan.explanations.linear import LinearWay
    from capstan.explanations.trees import TreeWay, forest_of

    steps = getattr(pipeline, "steps", [])
    if len(steps) != 2 or not isinstance(steps[0][1], FeatureTransform):
        raise CannotExplainError("the pipeline is not a FeatureTransform and a model")
    transform, model = steps[0][1], steps[1][1]
    matrix, mine = transform.transform(background), owners(transform)
    players = len(transform.columns)
    if type(model).__name__ in LinearWay.models and type(model).__module__.startswith("sklearn."):
        linear = LinearWay(model, matrix, mine, players)
        outputs, scale = _named(linear.base, model, learnt, is_probability=False)
        return OfMatrix(transform, scale, outputs, linear.base, linear)
    forest = forest_of(model, mine, players)
    trees = TreeWay(forest, matrix)
    outputs, scale = _named(trees.base, model, learnt, is_probability=forest.is_probability)
    return OfMatrix(transform, scale, outputs, trees.base, trees)


def _named(base: Floats, model: Any, learnt: Learnt, *, is_probability: bool) -> tuple[tuple[str, ...], str]:
    """Names of the scores, and what they are."""
    if getattr(model, "classes_", None) is None:
        return (ONE,), "the answer itself"
    outputs = (ONE,) if len(base) == 1 else tuple(map(str, learnt.classes))
    if is_probability:
        return outputs, "probability"
    if len(base) == 1:
        return outputs, "log odds: the probability is 1 / (1 + exp(-score))"
    return outputs, "logits: the probability of a class is exp(its score) over the sum of exp(all scores)"

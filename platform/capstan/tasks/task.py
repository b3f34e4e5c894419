"""What a task does: read labels, predict, answer, and say which answers are wrong and which differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from capstan.spec.tasks import TaskFacts
from capstan.tasks.labels import Label
from capstan.tasks.metric import Booleans, Floats, Groups, Metric, Truth
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.tensors import Tensor

if TYPE_CHECKING:
    from capstan.spec.objective import Objective

Answer = dict[str, Any]
"""One row's answer as JSON."""
Outputs = dict[str, Any]
"""One row's payload columns, without their prefix."""
RowOutputs = Callable[[Any], Outputs | None]
"""The score of one row -> its payload columns; None for an answer that no user may get."""


class Task(Protocol):
    """One kind of prediction; every layer asks it instead of knowing it.

    A fitted model's `scores` are what it says itself: (n,) numbers, or (n, classes) probabilities. Its predictions are
    named columns of the same rows.
    """

    facts: TaskFacts
    metrics: Mapping[str, Metric]
    """In the order of the facts."""
    label: Label
    sound: str
    """What an answer must be, in words."""

    method: str
    """What a scikit-learn model of this task must have beside `fit`."""

    disclosure: str
    """What `disclosed` measures, in words."""

    def with_objective(self, objective: Objective) -> Task:
        """The same task with what the objective states about its losses; itself where that is nothing."""
        ...

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        """How much of the label a feature gives away, up to 1; `groups` are codes of its values, `values` numbers."""
        ...

    def learnt(self, model: Any) -> Learnt:
        """What the fitted model knows about its answers; raises InvalidDataError for a model of another task."""
        ...

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        """What the fitted model says; with `rows`, raises InvalidDataError unless it is so many sound answers."""
        ...

    def predictions(self, scores: Floats, learnt: Learnt, groups: Groups | None = None) -> Predictions:
        """Scores as named columns; also those of unsound scores. Without `groups` all rows are those of one request."""
        ...

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        """Payload columns of each row, as JSON; all rows are those of one request."""
        ...

    def row_outputs(self, learnt: Learnt) -> RowOutputs | None:
        """The same for the score of a request's only row, as fast as can be; None: there is no shorter way."""
        ...

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:
        """Native JSON, one for each row of sound outputs."""
        ...

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:
        """The answer of the Open Inference Protocol (V2)."""
        ...

    def described(self, learnt: Learnt) -> list[Tensor]:
        """The same tensors without rows, for the model's metadata."""
        ...

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        """Payload columns out of an answer's tensors, as a log holds them; a row is None where they are no numbers.

        None instead of a list: no tensor of this task is there.
        """
        ...

    def unsound(self, predictions: Predictions) -> Booleans:
        """Rows that no user may get: NaN, infinity, no probability."""
        ...

    def disagree(self, first: Predictions, second: Predictions, groups: Groups | None = None) -> Booleans:
        """Rows that two versions decide differently; without `groups` a task of groups takes all rows for one."""
        ...

    def baseline(self, truth: Truth, rows: int) -> Predictions:
        """What somebody says of `rows` rows who knows the labels of other rows and no feature."""
        ...

    def details(
        self, truth: Truth, predictions: Predictions, groups: Groups | None = None
    ) -> Mapping[str, Any]:
        """What a report shows beside the metrics, as JSON.

        `tables`: each with title, of_rows and of_columns (what its names are), rows, columns, cells and notes. `notes`:
        what was strange about the labels, a sentence each.
        """
        ...

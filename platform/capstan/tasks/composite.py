"""Several models that answer together: their combined answer is one of the task's, and what each says stands beside it.

Whoever asks a task asks this one in the same way. Scores are those of all models side by side; payload columns and
tensors of a model are named `<model>.<output>`. Metrics judge the combined answer on the system's own label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.combination import Combination
from capstan.tasks.combining import combine_numbers_of, combine_of
from capstan.tasks.metric import Booleans, Floats, Groups, Truth
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.task import Answer, Outputs, RowOutputs, Task
from capstan.tasks.tensors import Tensor

if TYPE_CHECKING:
    from capstan.features.several_models import SeveralModels
    from capstan.spec.objective import Objective

_MOST_NAMES = 10_000
"""Columns whose owners are remembered; a log may hold any names."""
MODELS = "models"
"""Key of a native answer under which each model's own answer stands."""


class CompositeTask:
    """A task whose answer several models give by one rule."""

    def __init__(self, task: Task, combination: Combination) -> None:
        self._task = task
        self._combination = combination
        self._combine = combine_of(combination)
        self._owners: dict[str, tuple[str, str]] = {}
        # A score by which only the items of one request are ordered has no distribution of its own.
        is_watched = combination.rule != "Sequence"
        own = tuple(
            replace(output, is_watched=output.is_watched and is_watched) for output in task.facts.outputs
        )
        parts = [
            replace(output, name=f"{name}.{output.name}")
            for name in combination.models
            for output in task.facts.outputs
        ]
        self.facts = replace(task.facts, outputs=(*own, *parts))
        self.metrics = task.metrics
        self.label = task.label
        self.sound = task.sound
        self.method = task.method
        self.disclosure = task.disclosure

    def with_objective(self, objective: Objective) -> Task:
        return CompositeTask(self._task.with_objective(objective), self._combination)

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        return self._task.disclosed(truth, groups, values)

    def learnt(self, model: Any) -> Learnt:
        found: dict[str, Learnt] = {}
        for part in self._several(_last_step(model)).parts:
            with part.told():
                found[part.name] = self._task.learnt(part.model)
        if tuple(found) != self._combination.models:
            raise InvalidDataError(
                f"the fitted models are {', '.join(found)}, not {', '.join(self._combination.models)}; train again"
            )
        # In each model's order, and of all that any of them knows.
        classes = tuple(dict.fromkeys(value for one in found.values() for value in one.classes))
        return replace(next(iter(found.values())), classes=classes, parts=found)

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        several = self._several(_last_step(model))
        steps = getattr(model, "steps", None)
        if steps is not None:
            matrix = steps[0][1].transform(matrix)
        found = []
        for part in several.parts:
            with part.told():
                scores = self._task.scores(part.model, several.matrix_of(part, matrix), rows=rows)
            found.append(scores.reshape(len(scores), -1))
        return np.concatenate(found, axis=1)

    def predictions(self, scores: Floats, learnt: Learnt, groups: Groups | None = None) -> Predictions:
        """Without `groups` all rows are those of one request."""
        said = self._apart(scores, learnt)
        parts = {name: self._task.predictions(one, learnt.parts[name]) for name, one in said.items()}
        wrong = np.zeros(len(scores), dtype=np.bool_)
        for one in parts.values():
            wrong |= self._task.unsound(one)
        # Neither may an unsound answer be combined to a sound one, nor spoil those of other rows.
        sound = {name: _without(one, wrong) for name, one in said.items()} if wrong.any() else said
        combined = np.array(self._combine(self._of_same_classes(sound, learnt), groups), dtype=np.float64)
        combined[wrong] = np.nan
        own = self._task.predictions(combined, learnt)
        return _joined(own, parts)

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        found = self._task.outputs(self._own(predictions))
        for name in self._combination.models:
            for row, part in zip(found, self._task.outputs(_part(predictions, name)), strict=True):
                row |= {f"{name}.{column}": value for column, value in part.items()}
        return found

    def row_outputs(self, learnt: Learnt) -> RowOutputs | None:
        if any(output.per_class for output in self._task.facts.outputs):
            # Scores of a row are no single numbers.
            return None
        combine = combine_numbers_of(self._combination)
        own = self._task.row_outputs(learnt)
        parts = {name: self._task.row_outputs(one) for name, one in learnt.parts.items()}
        if combine is None or own is None or None in parts.values():
            return None
        said = tuple((f"{name}.", one) for name, one in parts.items() if one is not None)

        def outputs(scores: Any) -> Outputs | None:
            found: Outputs = {}
            for (prefix, one), score in zip(said, scores, strict=True):
                part = one(score)
                if part is None:
                    return None
                for column, value in part.items():
                    found[prefix + column] = value
            combined = own(combine(scores))
            return None if combined is None else combined | found

        return outputs

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:
        apart = [self._by_model(row) for row in outputs]
        answers = self._task.answers([row[""] for row in apart], learnt)
        for answer in answers:
            answer[MODELS] = {}
        for name in self._combination.models:
            told = self._task.answers([row[name] for row in apart], learnt.parts[name])
            for answer, part in zip(answers, told, strict=True):
                answer[MODELS][name] = part
        return answers

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:
        apart = [self._by_model(row) for row in outputs]
        found = list(self._task.tensors([row[""] for row in apart], learnt))
        for name in self._combination.models:
            of_part = self._task.tensors([row[name] for row in apart], learnt.parts[name])
            found += [tensor._replace(name=f"{name}.{tensor.name}") for tensor in of_part]
        return found

    def described(self, learnt: Learnt) -> list[Tensor]:
        found = list(self._task.described(learnt))
        for name in self._combination.models:
            of_part = self._task.described(learnt.parts[name])
            found += [tensor._replace(name=f"{name}.{tensor.name}") for tensor in of_part]
        return found

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        apart: dict[str, list[Tensor]] = {name: [] for name in ("", *self._combination.models)}
        for tensor in tensors:
            model, column = self._owner(tensor.name)
            apart[model].append(tensor._replace(name=column))
        found = {name: self._task.of_tensors(of_model) for name, of_model in apart.items()}
        own = found.pop("")
        if own is None:
            return None
        rows: list[Outputs | None] = []
        for index, row in enumerate(own):
            parts = {name: one[index] if one and index < len(one) else None for name, one in found.items()}
            if row is None or None in parts.values():
                rows.append(None)
                continue
            rows.append(
                {
                    **row,
                    **{
                        f"{name}.{column}": value
                        for name, part in parts.items()
                        for column, value in (part or {}).items()
                    },
                }
            )
        return rows

    def unsound(self, predictions: Predictions) -> Booleans:
        # An unsound part has made the combined answer unsound; a version of before may have had other parts.
        return self._task.unsound(self._own(predictions))

    def unsound_models(self, scores: Any, learnt: Learnt) -> tuple[str, ...]:
        """The models that say of some row what no user may get."""
        predictions = self.predictions(np.asarray(scores, dtype=np.float64), learnt)
        return tuple(
            name for name in self._combination.models if self._task.unsound(_part(predictions, name)).any()
        )

    def disagree(self, first: Predictions, second: Predictions, groups: Groups | None = None) -> Booleans:
        return self._task.disagree(self._own(first), self._own(second), groups)

    def baseline(self, truth: Truth, rows: int) -> Predictions:
        own = self._task.baseline(truth, rows)
        return _joined(own, dict.fromkeys(self._combination.models, own))

    def details(
        self, truth: Truth, predictions: Predictions, groups: Groups | None = None
    ) -> Mapping[str, Any]:
        return self._task.details(truth, self._own(predictions), groups)

    def _several(self, model: Any) -> SeveralModels:
        if not hasattr(model, "parts"):
            raise InvalidDataError(
                f"the fitted model is {type(model).__name__}, not {len(self._combination.models)} models; train again"
            )
        several: SeveralModels = model
        return several

    def _apart(self, scores: Floats, learnt: Learnt) -> dict[str, Floats]:
        """What each model says: (n,), or (n, classes)."""
        names = self._combination.models
        if not len(scores):
            # No rows may come as an array without columns.
            return dict.fromkeys(names, np.empty(0))
        if scores.shape[1] == len(names):
            return {name: scores[:, index] for index, name in enumerate(names)}
        ends = np.cumsum([len(learnt.parts[name].classes) for name in names])
        return dict(zip(names, np.split(scores, ends[:-1], axis=1), strict=True))

    def _of_same_classes(self, said: Mapping[str, Floats], learnt: Learnt) -> list[Floats]:
        """The same scores; probabilities in one order of classes for all, 0 for a class that a model never saw."""
        if all(one.ndim == 1 for one in said.values()):
            return list(said.values())
        place = {value: index for index, value in enumerate(learnt.classes)}
        found = []
        for name, one in said.items():
            aligned = np.zeros((len(one), len(place)))
            aligned[:, [place[value] for value in learnt.parts[name].classes]] = one
            found.append(aligned)
        return found

    def _own(self, predictions: Predictions) -> Predictions:
        return Predictions(
            {name: column for name, column in predictions.columns.items() if not self._owner(name)[0]}
        )

    def _owner(self, column: str) -> tuple[str, str]:
        """The model of a column or tensor, empty for the combined answer; and its name without the model's."""
        known = self._owners.get(column)
        if known is None:
            model, dot, rest = column.partition(".")
            known = (model, rest) if dot and model in self._combination.models else ("", column)
            if len(self._owners) < _MOST_NAMES:
                self._owners[column] = known
        return known

    def _by_model(self, row: Outputs) -> dict[str, Outputs]:
        found: dict[str, Outputs] = {name: {} for name in ("", *self._combination.models)}
        for column, value in row.items():
            model, name = self._owner(column)
            found[model][name] = value
        return found


def _without(scores: Floats, rows: Booleans) -> Floats:
    kept = scores.copy()
    kept[rows] = 0.0
    return kept


def _last_step(model: Any) -> Any:
    steps = getattr(model, "steps", None)
    return model if steps is None else steps[-1][1]


def _joined(own: Predictions, parts: Mapping[str, Predictions]) -> Predictions:
    columns = dict(own.columns)
    for name, part in parts.items():
        columns |= {f"{name}.{column}": values for column, values in part.columns.items()}
    return Predictions(columns)


def _part(predictions: Predictions, model: str) -> Predictions:
    prefix = f"{model}."
    return Predictions(
        {
            name.removeprefix(prefix): column
            for name, column in predictions.columns.items()
            if name.startswith(prefix)
        }
    )

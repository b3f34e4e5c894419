"""What tasks do: one module per task, listed here; their facts are in `capstan.spec.tasks`.

Numpy alone, so that the model service can import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from capstan.errors import NotFoundError
from capstan.spec.tasks import LabelKind
from capstan.tasks.binary import BinaryClassification
from capstan.tasks.metric import Metric
from capstan.tasks.multiclass import MulticlassClassification
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.ranking import Ranking
from capstan.tasks.regression import Regression
from capstan.tasks.task import Task

if TYPE_CHECKING:
    from capstan.spec.objective import Objective

__all__ = ["TASKS", "Learnt", "Metric", "Predictions", "Task", "task_named", "task_of", "task_with"]

_MEMBERS: tuple[Task, ...] = (
    BinaryClassification(),
    MulticlassClassification(),
    Regression(),
    Ranking(),
)
TASKS: Mapping[str, Task] = {task.facts.name: task for task in _MEMBERS}
"""Name as in a file -> what the task does."""


def task_with(label: LabelKind) -> Task:
    """The first task whose labels are of that kind; raises NotFoundError."""
    for task in _MEMBERS:
        if task.facts.label == label:
            return task
    raise NotFoundError(f"there is no task with labels of the kind {label}")


def task_of(objective: Objective) -> Task:
    """The task of an objective, judged as the objective says: which errors count, and how."""
    return task_named(objective.task).with_objective(objective)


def task_named(name: str) -> Task:
    """The task of that name, as far as its answers and labels go: its losses may need an objective.

    Raises NotFoundError.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise NotFoundError(f"there is no task {name!r}; tasks are {', '.join(TASKS)}") from None

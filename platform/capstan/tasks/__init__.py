"""What tasks do: one module per task, listed here; their facts are in `capstan.spec.tasks`.

Numpy alone, so that the model service can import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import NotFoundError
from capstan.spec.combination import Combination
from capstan.spec.tasks import LabelKind
from capstan.tasks.anomalies import AnomalyDetection
from capstan.tasks.binary import BinaryClassification
from capstan.tasks.clusters import Clustering
from capstan.tasks.composite import CompositeTask
from capstan.tasks.metric import Floats, Metric
from capstan.tasks.multiclass import MulticlassClassification
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.ranking import Ranking
from capstan.tasks.regression import Regression
from capstan.tasks.task import Task

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

__all__ = [
    "TASKS",
    "Learnt",
    "Metric",
    "Predictions",
    "Task",
    "complaint",
    "each_task_of",
    "learnt_from",
    "task_named",
    "task_of",
    "task_that_answers_from",
    "task_together",
    "task_with",
]

_MEMBERS: tuple[Task, ...] = (
    BinaryClassification(),
    MulticlassClassification(),
    Regression(),
    Ranking(),
    AnomalyDetection(),
    Clustering(),
)
TASKS: Mapping[str, Task] = {task.facts.name: task for task in _MEMBERS}
"""Name as in a file -> what the task does."""


def task_with(label: LabelKind) -> Task:
    """The first task whose labels are of that kind; raises NotFoundError."""
    for task in _MEMBERS:
        if task.facts.label == label:
            return task
    raise NotFoundError(f"there is no task with labels of the kind {label}")


def task_named(name: str) -> Task:
    """The task of that name, as far as its answers and labels go: its losses may need an objective.

    Raises NotFoundError.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise NotFoundError(f"there is no task {name!r}; tasks are {', '.join(TASKS)}") from None


def task_that_answers_from(name: str, threshold: float | None) -> Task:
    """The task of that name; of one that is true or false, true from this probability on. Raises NotFoundError.

    None: from the usual one on.
    """
    task = task_named(name)
    return BinaryClassification(threshold=threshold) if isinstance(task, BinaryClassification) else task


def learnt_from(task: Task, scores: Floats, threshold: float | None) -> Learnt:
    """What a model would know of its answers that says these scores, where nothing but the scores is there.

    `threshold`: above which score a row is flagged; None: so that the task's share of the rows is.
    """
    part = task.facts.flagged_share
    if part is None or not len(scores):
        return Learnt()
    return Learnt(threshold=float(np.quantile(scores, 1 - part)) if threshold is None else threshold)


@cache
def task_together(name: str, combination: Combination | None) -> Task:
    """The task of that name, answered by one model or by several together; raises NotFoundError."""
    task = task_named(name)
    return task if combination is None else CompositeTask(task, combination)


def task_of(spec: MLSystemSpec) -> Task:
    """What the system of a file answers, whether by one model or by several; raises NotFoundError."""
    task, combination = each_task_of(spec), spec.combination
    return task if combination is None else CompositeTask(task, combination)


def each_task_of(spec: MLSystemSpec) -> Task:
    """What each of the system's models answers, judged as the objective says: which errors count, and how.

    Raises NotFoundError.
    """
    return task_named(spec.objective.task).with_objective(spec.objective)


def complaint(task: Task, scores: Any, learnt: Learnt) -> str:
    """What is wrong with scores of rows of which some are unsound, in words; of several models it names the one."""
    unsound = task.unsound_models(scores, learnt) if isinstance(task, CompositeTask) else ()
    whose = f"the answer of model {' and of model '.join(unsound)}" if unsound else "the model's answer"
    return f"{whose} is not {task.sound}"

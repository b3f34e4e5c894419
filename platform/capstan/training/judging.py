"""The task as a training judges by it: with the metrics of a person's own, whose code can be imported meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from capstan.tasks import Task
from capstan.tasks.own_metric import with_own_metrics
from capstan.training.factories import importable
from capstan.training.job import Job


@contextmanager
def judging(job: Job, task: Task) -> Iterator[Task]:
    """The task with the file's own metrics; the run's factories can be imported until the block ends.

    Raises InvalidDataError that names the factory of a metric that can't be made.
    """
    with importable(job.factories):
        yield with_own_metrics(task, job.system.spec.evaluation.metrics)

"""What each of several models says of its own label, for the report beside the combined answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from capstan.evaluation.metrics import evaluate
from capstan.evaluation.tables import SHOWN_METRICS, table
from capstan.spec.tasks import TaskFacts
from capstan.training.cases import Cases
from capstan.training.job import Job
from capstan.training.judging import judging


def each_model(job: Job, test: pa.Table, pipeline: Any) -> dict[str, Any]:
    """Of several models what each says of its own label, by name; nothing of one."""
    from capstan.features.several_models import parts_of
    from capstan.training.fitting import predict

    system, found = job.system, {}
    parts = parts_of(pipeline) or {}
    for model in system.spec.planned_models if parts else ():
        judged = Cases.of_model(test, system, model)
        with judging(job, judged.task) as task:
            said = predict(task, parts[model.name], judged.table, threads=system.spec.training.threads)
            metrics = evaluate(task, judged.truth, said, judged.groups)
        found[model.name] = {"target": model.target, "rows": len(judged.truth), "metrics": metrics}
    return found


def model_tables(models: Mapping[str, Mapping[str, Any]], facts: TaskFacts) -> list[dict[str, Any]]:
    """A table of the models, where there are several."""
    if not models:
        return []
    shown = facts.metrics[:SHOWN_METRICS]
    return [
        table(
            "Models, each by its own label",
            ("model", "metric"),
            [f"{name} ({found['target']})" for name, found in models.items()],
            [metric.title for metric in shown],
            [[found["metrics"][metric.name] for metric in shown] for found in models.values()],
        )
    ]

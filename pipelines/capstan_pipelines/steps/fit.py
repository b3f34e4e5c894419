"""Step: one candidate, fitted on the training rows, tuned and measured on the validation rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from capstan.errors import CapstanError
from capstan.evaluation.bootstrap import measured
from capstan.evaluation.metrics import evaluate
from capstan.tasks import Metric, Predictions, Task, each_task_of
from capstan.training.cases import Cases
from capstan.training.job import Job
from capstan.training.judging import judging
from capstan_pipelines.steps.cases import Parted, resampled_by
from capstan_pipelines.steps.documents import write_document
from capstan_pipelines.steps.learning import candidate_named, reweigh_by, windowed
from capstan_pipelines.steps.progress import Telling, step
from capstan_pipelines.steps.searching import counted, search_document, searched


def run(job_folder: str, name: str, cases_folder: str, fitted_file: str) -> None:
    """Write the candidate's settings and metrics, or why it failed: one bad candidate must not end the run."""
    with step(f"fit {name}") as say:
        started = time.perf_counter()
        result: dict[str, Any] = {"name": name, "failure": "", "metrics": {}, "settings": {}}
        result |= {"search": None, "warnings": [], "interval": None, "cost": {}}
        try:
            result.update(_fitted(Job(job_folder), name, Parted.read(Path(cases_folder)), say))
        except Exception as error:
            known = isinstance(error, CapstanError)
            result["failure"] = str(error) if known else f"{type(error).__name__}: {error}"
            say.fail(result["failure"])
        result["seconds"] = round(time.perf_counter() - started, 3)
        write_document(fitted_file, result)


def _fitted(job: Job, name: str, cases: Parted, say: Telling) -> dict[str, Any]:
    with judging(job, each_task_of(job.system.spec)) as task:
        return _measured(job, task, name, cases, say)


def _measured(job: Job, task: Task, name: str, cases: Parted, say: Telling) -> dict[str, Any]:
    spec, (model, candidate) = job.system.spec, candidate_named(job, name)
    rows = windowed(job, cases, cases.training)
    metric = task.metrics[spec.training.choose.metric]
    train = Cases.of_model(cases.rows(rows), job.system, model)
    validation = Cases.of_model(cases.rows(cases.validation), job.system, model)
    if candidate.is_baseline:
        # Known without a model, so without the seconds that importing scikit-learn costs.
        baseline = task.baseline(train.truth, len(validation.truth))
        metrics = evaluate(task, validation.truth, baseline, validation.groups)
        say(f"{metric.name} {metrics[metric.name]:.4f}")
        return {"metrics": metrics, "interval": _interval(job, metric, validation, baseline)}
    from capstan.training.cost import fit_cost, row_seconds, size_of
    from capstan.training.fitting import fit_candidate, predict
    from capstan.training.search import searched_of, settings_of

    found = None
    if searched_of(candidate, spec.training.candidates):
        found = searched(job, name, metric, train, validation, say)
    settings = None if found is None or found.best is None else settings_of(candidate, found.best)
    with fit_cost() as cost:
        fitted = fit_candidate(
            candidate,
            model.features,
            train,
            seed=job.seed,
            threads=spec.training.threads,
            settings=settings,
            reweigh_by=reweigh_by(job),
            others=spec.training.candidates,
        )
    predictions = predict(task, fitted.pipeline, validation.table, threads=spec.training.threads)
    metrics = evaluate(task, validation.truth, predictions, validation.groups)
    tried = "" if found is None else f" after {counted(found)}"
    say(f"{metric.name} {metrics[metric.name]:.4f}{tried}" + "".join(f"; {one}" for one in fitted.warnings))
    return {
        "metrics": metrics,
        "settings": dict(fitted.settings),
        "search": None if found is None else search_document(found, metric.facts),
        "warnings": list(fitted.warnings),
        "interval": _interval(job, metric, validation, predictions),
        "cost": {
            "fit_seconds": round(cost.seconds, 3),
            "fit_memory_bytes": cost.memory_bytes,
            "row_seconds": row_seconds(fitted.pipeline, validation.table),
            "bytes": size_of(fitted.pipeline),
        },
    }


def _interval(job: Job, metric: Metric, validation: Cases, predictions: Predictions) -> list[float] | None:
    """The two ends between which the metric lies with 95 %; None where the rows are of one day, or do not define it."""
    days = resampled_by(validation.table, job.system.spec)
    if len(np.unique(days)) < 2:
        return None
    rng = np.random.default_rng(job.seed)
    found = measured(metric, validation.truth, predictions, days, rng=rng, groups=validation.groups)
    return None if found is None else [found.bound(0.025), found.bound(0.975)]

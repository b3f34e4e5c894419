"""Step: one candidate, fitted on the training rows, tuned and measured on the validation rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from capstan.errors import CapstanError
from capstan.evaluation.bootstrap import measured
from capstan.evaluation.metrics import evaluate
from capstan.spec.families import Candidate
from capstan.spec.models import PlannedModel
from capstan.tasks import Metric, Predictions, Task, each_task_of
from capstan.training.cases import Cases
from capstan.training.job import Job
from capstan.training.judging import judging
from capstan_pipelines.steps.cases import Parted, resampled_by
from capstan_pipelines.steps.documents import write_document
from capstan_pipelines.steps.learning import candidate_named, drawn, reweigh_by, windowed
from capstan_pipelines.steps.parent import Parent, parent_of
from capstan_pipelines.steps.progress import Telling, step
from capstan_pipelines.steps.searching import counted, search_document, searched


def run(job_folder: str, name: str, cases_folder: str, fitted_file: str) -> None:
    """Write the candidate's settings and metrics, or why it failed: one bad candidate must not end the run."""
    with step(f"fit {name}") as say:
        started = time.perf_counter()
        result: dict[str, Any] = {"name": name, "failure": "", "metrics": {}, "settings": {}}
        result |= {
            "search": None,
            "warnings": [],
            "interval": None,
            "cost": {},
            "left_out": "",
            "parent": None,
            "folds": None,
        }
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
    """On each fold; without folds on the validation rows."""
    spec, (model, candidate) = job.system.spec, candidate_named(job, name)
    metric = task.metrics[spec.training.choose.metric]
    pairs = []
    for learns, judges in cases.choosing:
        rows = cases.rows(windowed(job, cases, learns))
        # A baseline counts the labels of all rows: that costs nothing.
        rows = rows if candidate.is_baseline else drawn(job, rows)
        judged_rows = drawn(job, cases.rows(judges))
        train, judged = (Cases.of_model(one, job.system, model) for one in (rows, judged_rows))
        pairs.append((train, judged))
    if candidate.is_baseline:
        # Known without a model, so without the seconds that importing scikit-learn costs.
        said = [task.baseline(train.truth, len(judged.truth)) for train, judged in pairs]
        metrics = [
            evaluate(task, judged.truth, one, judged.groups, judged.weights)
            for (_, judged), one in zip(pairs, said, strict=True)
        ]
        folded = over_folds(metrics, metric.name)
        say(f"{metric.name} {folded['metrics'][metric.name]:.4f}")
        return {**folded, "interval": _interval(job, metric, pairs, said)}
    from capstan.training.cost import fit_cost, row_seconds, size_of
    from capstan.training.fitting import fit_candidate, predict
    from capstan.training.search import searched_of, settings_of

    going_on: _GoingOn | None = None
    if candidate.fine_tune is not None:
        newest = cases.rows(windowed(job, cases, cases.training))
        begun = _going_on(job, model, candidate, cases, newest, say)
        if isinstance(begun, str):
            say(f"left out: {begun}")
            return {"left_out": begun}
        going_on = begun
        pairs = [(Cases.of_model(drawn(job, going_on.rows), job.system, model), pairs[0][1])]
    found = kept = None
    if searched_of(candidate, spec.training.candidates):
        found, kept = searched(job, name, metric, pairs, say)
    settings = None if found is None or found.best is None else settings_of(candidate, found.best)
    said, metrics, costs, warnings = [], [], [], dict[str, None]()
    for number, (train, judged) in enumerate(pairs):
        if kept is not None:
            fitted, cost = kept.fitted[number], kept.costs[number]
        else:
            with fit_cost() as cost:
                fitted = fit_candidate(
                    candidate,
                    model.features,
                    train,
                    seed=job.seed,
                    threads=spec.training.threads,
                    settings=settings,
                    reweigh_by=reweigh_by(job),
                    balance=spec.training.balance,
                    others=spec.training.candidates,
                    parent=None if going_on is None else going_on.parent.pipeline,
                )
        predictions = predict(task, fitted.pipeline, judged.table, threads=spec.training.threads)
        said.append(predictions)
        metrics.append(evaluate(task, judged.truth, predictions, judged.groups, judged.weights))
        costs.append(cost)
        warnings |= dict.fromkeys(fitted.warnings)
    folded = over_folds(metrics, metric.name)
    tried = "" if found is None else f" after {counted(found)}"
    say(
        f"{metric.name} {folded['metrics'][metric.name]:.4f}{tried}" + "".join(f"; {one}" for one in warnings)
    )
    return {
        **folded,
        "settings": dict(fitted.settings),
        "parent": None if going_on is None else going_on.document(),
        "search": None if found is None else search_document(found, metric.facts),
        "warnings": list(warnings),
        "interval": _interval(job, metric, pairs, said),
        "cost": {
            "fit_seconds": round(sum(cost.seconds for cost in costs) / len(costs), 3),
            "fit_memory_bytes": max(cost.memory_bytes for cost in costs),
            # Nobody reads it of a backtest, and each look compiles the model.
            "row_seconds": row_seconds(fitted.pipeline, judged.table) if job.places.is_served else None,
            "bytes": size_of(fitted.pipeline) if kept is None else kept.bytes,
        },
    }


@dataclass(frozen=True)
class _GoingOn:
    parent: Parent
    rows: pa.Table
    """Those that came since."""

    def document(self) -> dict[str, Any]:
        until = self.parent.learnt_until.isoformat()
        return {"version": self.parent.version, "rows": self.rows.num_rows, "since": until}


def _going_on(
    job: Job, model: PlannedModel, candidate: Candidate, cases: Parted, rows: pa.Table, say: Telling
) -> _GoingOn | str:
    """What the candidate begins with and learns; or why it is left out, in words."""
    time = job.system.spec.data.keys.time_column
    parent = parent_of(job, model, candidate, say)
    if isinstance(parent, str):
        return parent
    if known := parent.knows(cases, time):
        return known
    newer = parent.since(rows, time)
    if not newer.num_rows:
        return f"no training row is newer than those that {parent.version} has learnt"
    return _GoingOn(parent, newer)


def over_folds(metrics: Sequence[Mapping[str, float]], metric: str) -> dict[str, Any]:
    """The mean of each metric, and of the one that decides its value in each fold with the standard deviation.

    A fold that does not define a metric leaves its mean undefined: means of different folds are not compared.
    """
    if len(metrics) == 1:
        return {"metrics": dict(metrics[0])}
    values = [float(one[metric]) for one in metrics]
    return {
        "metrics": {name: float(np.mean([one[name] for one in metrics])) for name in metrics[0]},
        "folds": {"values": values, "spread": float(np.std(values, ddof=1))},
    }


def _interval(
    job: Job, metric: Metric, pairs: Sequence[tuple[Cases, Cases]], said: Sequence[Predictions]
) -> list[float] | None:
    """The two ends between which the metric lies with 95 %; None where the rows are of one day, or do not define it.

    None of folds too: their models are several, and the spread of the folds is told instead. And none of rows with
    weights.
    """
    if len(pairs) > 1 or pairs[0][1].weights is not None:
        return None
    ((_, validation),), (predictions,) = pairs, said
    days = resampled_by(validation.table, job.system.spec)
    if len(np.unique(days)) < 2:
        return None
    rng = np.random.default_rng(job.seed)
    found = measured(metric, validation.truth, predictions, days, rng=rng, groups=validation.groups)
    return None if found is None else [found.bound(0.025), found.bound(0.975)]

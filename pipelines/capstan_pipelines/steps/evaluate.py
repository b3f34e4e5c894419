"""Step: the chosen candidate and its runners-up on the last days, by themselves, by slices and against the champion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from capstan.domain.versions import ModelVersion
from capstan.errors import InvalidDataError
from capstan.evaluation.bootstrap import measured
from capstan.evaluation.metrics import evaluate
from capstan.evaluation.slices import slice_metrics
from capstan.evaluation.tables import slice_tables, with_tables
from capstan.ports.codec import to_json
from capstan.serving.manifest import read_manifest
from capstan.tasks import Metric, Predictions, task_together
from capstan.training.cases import Cases
from capstan.training.job import Job
from capstan.training.judging import judging
from capstan_pipelines.steps.cases import Parted, days_of, resampled_by, times_of
from capstan_pipelines.steps.champion import champion_folder, loaded
from capstan_pipelines.steps.data_described import described
from capstan_pipelines.steps.documents import read_document, write_document
from capstan_pipelines.steps.each_model import each_model, model_tables
from capstan_pipelines.steps.gating import judge_gates
from capstan_pipelines.steps.groups_shown import groups_tables
from capstan_pipelines.steps.learning import (
    fit_chosen,
    is_fine_tuned,
    left_out_in_words,
    why_left_out,
    windowed,
)
from capstan_pipelines.steps.progress import Telling, step

RESAMPLES = 500
"""Of days, for the interval of each metric."""
JACKKNIFE_LOTS = 100
"""Each is left out once, and the metric measured without it."""


def run(job_folder: str, cases_folder: str, choice_file: str, evaluation_file: str) -> None:
    """Write metrics, slices and gates of the test window; raises UntrustedArtifactError for a changed champion."""
    with step("evaluate") as say:
        job, cases = Job(job_folder), Parted.read(Path(cases_folder))
        judged = Cases.of(cases.rows(cases.test), job.system)
        rival = (
            _champion(job, job.champion, judged, say)
            if job.champion is not None
            and any(gate.rival == "Champion" for gate in job.system.spec.evaluation.gates)
            else None
        )
        choice = read_document(choice_file)
        evaluation, in_words = _evaluation(job, cases, judged, choice, rival, say)
        evaluation["runners_up"], evaluation["left_out"] = [], {}
        for rank, taken in enumerate(choice["runners_up"], 1):
            try:
                found, words = _evaluation(job, cases, judged, {"chosen": [taken]}, rival, say)
            except Exception as error:
                evaluation["left_out"][taken["name"]] = why = why_left_out(error)
                in_words += f"; {left_out_in_words(taken['name'], why)}"
                continue
            evaluation["runners_up"].append({**found, "taken": taken, "rank": rank})
            in_words += f"; runner-up {taken['name']}: {words}"
        evaluation["data"] = described(Path(cases_folder))
        evaluation["began"] = cases.began
        write_document(evaluation_file, evaluation)
        say(in_words)


def _evaluation(
    job: Job,
    cases: Parted,
    judged: Cases,
    choice: Mapping[str, Any],
    rival: Predictions | None,
    say: Telling,
) -> tuple[dict[str, Any], str]:
    """What the test window says of one choice, also in words.

    `rival` is what the champion says of the window; None: no gate asks for it.
    """
    spec, test, truth = job.system.spec, judged.table, judged.truth
    learnt, pipeline, predictions = _chosen(job, cases, judged, choice, say)
    models = each_model(job, test, pipeline)
    # While a model was loaded, modules of the same names were those of its own version.
    with judging(job, judged.task) as task:
        judged = replace(judged, task=task)
        metrics = evaluate(task, truth, predictions, judged.groups)
        champion_metrics = None if rival is None else evaluate(task, truth, rival, judged.groups)
        gates, tables = judge_gates(job, cases, judged, predictions, rival)
        slices = slice_metrics(
            task,
            {name: test[name].to_pylist() for name in spec.evaluation.slices},
            truth,
            predictions,
            judged.groups,
        )
        intervals = _intervals(job, judged, predictions)
        standard_errors = _standard_errors(job, judged, predictions)
        understood = _explained(job, judged, choice, learnt, pipeline, predictions, standard_errors, say)
    metric, watched = task.metrics[spec.training.choose.metric], spec.monitoring.quality.metric
    told = f"{metric.name} {metrics[metric.name]:.4f} on {metric.counted(truth, judged.groups)}"
    evaluation = {
        "rows": len(truth),
        "labels": task.label.tally(truth).counts,
        "details": with_tables(
            task.details(truth, predictions, judged.groups),
            [
                *model_tables(models, task.facts),
                *slice_tables(slices, task.facts),
                *tables,
                *understood.pop("tables"),
                *cases.tables,
                *groups_tables(job, learnt),
            ],
        ),
        "metrics": metrics,
        "intervals": intervals,
        "models": models,
        "standard_errors": {watched: standard_errors[watched]},
        "estimator": _estimator(job, judged, predictions)
        if job.system.spec.monitoring.estimate.enabled
        else None,
        "losses": _losses(job, judged, predictions),
        "causes": _causes(job, judged, predictions),
        "champion": None if job.champion is None else job.champion.name,
        "champion_metrics": champion_metrics,
        "slices": [asdict(part) for part in slices],
        "gates": [to_json(gate) for gate in gates],
        "warnings": [*cases.warnings, *understood.pop("warnings")],
        "explained": understood,
    }
    return evaluation, "; ".join([told, *(gate.message for gate in gates)])


def _intervals(job: Job, judged: Cases, predictions: Predictions) -> dict[str, list[float]]:
    """The two ends of 95 % for each metric, by resampled days; empty where the rows are of one day."""
    days = resampled_by(judged.table, job.system.spec)
    if len(np.unique(days)) < 2:
        return {}
    found = {}
    for name, metric in judged.task.metrics.items():
        rng = np.random.default_rng(job.seed)
        of_metric = measured(
            metric,
            judged.truth,
            predictions.settled(),
            days,
            rng=rng,
            resamples=RESAMPLES,
            groups=judged.groups,
        )
        if of_metric is not None and len(of_metric.resampled):
            found[name] = [of_metric.bound(0.025), of_metric.bound(0.975)]
    return found


def _standard_errors(job: Job, judged: Cases, predictions: Predictions) -> dict[str, float | None]:
    """Of the metric that is watched online: a drop below a lucky test window is none. And of that of the choice."""
    from capstan.monitoring.quality import measure

    spec = job.system.spec
    days = resampled_by(judged.table, spec, most=JACKKNIFE_LOTS)
    found = {}
    for name in dict.fromkeys([spec.monitoring.quality.metric, spec.training.choose.metric]):
        metric = judged.task.metrics[name]
        found[name] = measure(metric, judged.truth, predictions, days, groups=judged.groups).standard_error
    return found


def _explained(
    job: Job,
    judged: Cases,
    choice: Mapping[str, Any],
    learnt: pa.Table,
    pipeline: Any,
    predictions: Predictions,
    standard_errors: Mapping[str, float | None],
    say: Telling,
) -> dict[str, Any]:
    """What made the model answer so; where a part of it can't be told, it says why and the run goes on."""
    from capstan_pipelines.steps.explaining import Judged, explained

    untold: dict[str, str] = {}

    def tried(part: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            untold[part] = why_left_out(error)
            return None

    found = explained(
        Judged(
            job=job,
            cases=judged,
            learnt=learnt,
            pipeline=pipeline,
            predictions=predictions,
            fit=lambda rows: _once_more(job, rows, choice, say),
            error=standard_errors[job.system.spec.training.choose.metric],
        ),
        tried=tried,
    )
    return {**found, "untold": untold}


def _once_more(job: Job, rows: pa.Table, choice: Mapping[str, Any], say: Telling) -> Any:
    """The choice on fewer rows."""
    if any(is_fine_tuned(job, taken["name"]) for taken in choice["chosen"]):
        raise InvalidDataError("a model that goes on with another has learnt more than these rows")
    return fit_chosen(job, rows, choice, say)


def _estimator(job: Job, judged: Cases, predictions: Predictions) -> dict[str, Any]:
    """What tells the watched metric of windows whose labels have not come; fitted where the model was never fitted.

    Where it cannot be fitted, it says why: a model without estimates is a model all the same.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from capstan.monitoring.estimates.estimator import Estimator
    from capstan.monitoring.estimates.fitting import fit_estimator

    spec = job.system.spec
    metric = judged.task.metrics[spec.monitoring.quality.metric]
    try:
        with threadpool_limits(spec.training.threads):
            found = fit_estimator(
                judged.task,
                metric,
                spec.features,
                judged.table,
                judged.truth,
                predictions,
                resampled_by(judged.table, spec, most=JACKKNIFE_LOTS),
                zone=spec.data.time_zone,
            )
        # As it will be read: a number that is none would only be found where the model is registered.
        return Estimator.of(orjson.loads(orjson.dumps(found.document()))).document()
    except Exception as error:
        why = f"what estimates it could not be fitted: {why_left_out(error)}"
        return Estimator(metric.name, (), None, 0, len(judged.truth), why_not=why).document()


def _losses(job: Job, judged: Cases, predictions: Predictions) -> dict[str, Any] | None:
    """What a detector of concept drift compares later losses with; None: the file names none, or no row has a loss."""
    spec = job.system.spec
    detector = spec.monitoring.quality.concept
    if detector is None:
        return None
    from capstan.monitoring.concept.calibrating import fit_losses
    from capstan.monitoring.concept.losses import losses_in_order
    from capstan.monitoring.drift.calibration import quality_budget
    from capstan.monitoring.drift.stretches import usual_length

    metric = judged.task.metrics[spec.concept_metric]
    time, place = spec.data.keys.time, np.arange(judged.table.num_rows)
    # Their order alone matters: where rows have no time, they stand in it.
    moments = place if time is None else times_of(judged.table, time).astype(np.int64)
    days = None if time is None else days_of(judged.table, time, spec.data.time_zone)
    losses, rows = losses_in_order(metric, judged.truth, predictions, judged.groups, moments)
    if not len(losses):
        return None
    window = spec.monitoring.window
    longest = window.duration / timedelta(microseconds=1)
    in_order = np.sort(moments[rows])
    usual = timedelta(microseconds=usual_length(in_order, None if time is None else window.rows, longest))
    found = fit_losses(
        detector,
        metric.name,
        losses,
        None if days is None else days[rows],
        window=usual,
        alarms_per_month=quality_budget(spec.monitoring),
        rng=np.random.default_rng(job.seed),
    )
    return asdict(found)


def _causes(job: Job, judged: Cases, predictions: Predictions) -> dict[str, Any]:
    """Judged rows that a later rise of losses is compared with, kind by kind.

    Where there can be none, it says why: a model whose alerts cannot be explained is a model all the same.
    """
    from capstan.monitoring.causes.reference import nothing_to_compare

    metric = judged.task.metrics[job.system.spec.concept_metric]
    if metric.facts.unit == "group":
        why_not = f"{metric.name} has a loss for each group of rows and none for a row"
        return nothing_to_compare(metric.name, why_not).document()
    try:
        return _judged_rows(job, judged, predictions, metric)
    except Exception as error:
        why_not = f"the rows of the test could not be kept: {why_left_out(error)}"
        return nothing_to_compare(metric.name, why_not).document()


def _judged_rows(job: Job, judged: Cases, predictions: Predictions, metric: Metric) -> dict[str, Any]:
    from capstan.monitoring.causes.explaining import Judged
    from capstan.monitoring.causes.kinds import kinds_of
    from capstan.monitoring.causes.reference import MOST_ROWS, CauseReference, evenly
    from capstan.monitoring.concept.losses import losses_in_order

    spec = job.system.spec
    place = np.arange(judged.table.num_rows, dtype=np.int64)
    moments = place if spec.data.keys.time is None else times_of(judged.table, spec.data.keys.time)
    losses, rows = losses_in_order(metric, judged.truth, predictions, None, moments.astype(np.int64))
    kept = evenly(len(rows), MOST_ROWS)
    losses, rows = losses[kept], rows[kept]
    kinds = kinds_of(judged.table, spec.features, spec.data.time_zone)
    blocks = np.unique(resampled_by(judged.table, spec, most=JACKKNIFE_LOTS)[rows], return_inverse=True)[1]
    codes = np.column_stack([one.codes(judged.table[one.column])[rows] for one in kinds])
    return CauseReference(metric.name, kinds, Judged(codes, losses, blocks.reshape(-1))).document()


def _chosen(
    job: Job, cases: Parted, judged: Cases, choice: Mapping[str, Any], say: Telling
) -> tuple[pa.Table, Any, Predictions]:
    """The rows before the test, the chosen candidates as they learnt from these, and what they say of the test."""
    from capstan.training.factories import importable
    from capstan.training.fitting import predict

    spec = job.system.spec
    rows = windowed(job, cases, np.concatenate([cases.training, cases.validation]))
    with importable(job.factories):
        learnt = cases.rows(rows)
        pipeline = fit_chosen(job, learnt, choice, say)
        said = predict(
            judged.task, pipeline, judged.table, threads=spec.training.threads, groups=judged.groups
        )
        return learnt, pipeline, said


def _champion(job: Job, champion: ModelVersion, judged: Cases, say: Telling) -> Predictions:
    """The same window, predicted by the champion; its bytes are compared with the registered digest before loading."""
    from capstan.training.fitting import predict

    folder = champion_folder(job, champion, say)
    with loaded(folder) as pipeline:
        # The champion may be of one model where the file names several by now, or of others.
        task = task_together(job.system.spec.objective.task, read_manifest(folder).combination)
        threads = job.system.spec.training.threads
        return predict(task, pipeline, judged.table, threads=threads, groups=judged.groups)

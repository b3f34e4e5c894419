"""Step: the choice and its runners-up once more on everything, as the folders that will be served."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from capstan.spec.system import MLSystem
from capstan.tasks import task_of
from capstan.training.job import Job
from capstan_pipelines.steps.cases import Parted
from capstan_pipelines.steps.documents import read_document
from capstan_pipelines.steps.learning import (
    fit_chosen,
    is_fine_tuned,
    learnt_rows,
    left_out_in_words,
    why_left_out,
    windowed,
)
from capstan_pipelines.steps.parent import newest
from capstan_pipelines.steps.progress import Telling, step
from capstan_pipelines.steps.runners_up import RunnersUp


def run(
    job_folder: str,
    cases_folder: str,
    choice_file: str,
    evaluation_file: str,
    model_folder: str,
    runners_up_folder: str,
) -> None:
    """Write the model folder and those of the runners-up; the same data, file and run name give the same bytes."""
    with step("refit") as say:
        job, cases = Job(job_folder), Parted.read(Path(cases_folder))
        choice, evaluation = read_document(choice_file), read_document(evaluation_file)
        spec = job.system.spec
        parts = [cases.training, cases.validation] + [cases.test] * spec.data.split.refit
        table = cases.rows(windowed(job, cases, np.concatenate(parts)))
        _learn(job, table, choice, evaluation, Path(model_folder), say)
        made, left_out = dict[int, str](), dict[str, str]()
        for judged in evaluation["runners_up"]:
            taken, folder = judged["taken"], RunnersUp.folder(runners_up_folder, judged["rank"])
            try:
                _learn(job, table, {"chosen": [taken]}, judged, folder, say)
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                left_out[taken["name"]] = why_left_out(error)
                say(left_out_in_words(taken["name"], left_out[taken["name"]]))
            else:
                made[judged["rank"]] = taken["name"]
        RunnersUp(made, left_out).write(runners_up_folder)
        names = [*(taken["name"] for taken in choice["chosen"]), *made.values()]
        say(f"{', '.join(names)} learnt from {learnt_rows(job, table):,} rows")


def _learn(
    job: Job,
    table: pa.Table,
    choice: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    folder: Path,
    say: Telling,
) -> None:
    """Fit the choice on the table and write its model folder with the detectors."""
    from capstan.monitoring.causes.reference import CauseReference
    from capstan.monitoring.concept.watched_losses import LossReference
    from capstan.monitoring.drift import fitted_detectors
    from capstan.monitoring.estimates.estimator import Estimator
    from capstan.serving.model import as_served
    from capstan.training.cases import groups_of
    from capstan.training.factories import importable
    from capstan.training.fitting import predict
    from capstan.training.model_folder import take_sample, write_model

    spec, names = job.system.spec, ", ".join(taken["name"] for taken in choice["chosen"])
    with importable(job.factories):
        pipeline = fit_chosen(job, table, choice, say)
        columns = list(dict.fromkeys(feature.column for feature in spec.features))
        write_model(
            folder,
            pipeline=pipeline,
            manifest=_manifest(job, table, choice, evaluation, pipeline),
            spec=job.spec,
            sample=take_sample(table, columns),
            factories=job.factories,
        )
        if evaluation["estimator"] is not None:
            Estimator.of(evaluation["estimator"]).save(folder)
        if evaluation["losses"] is not None:
            LossReference.of(evaluation["losses"]).save(folder)
        CauseReference.of(evaluation["causes"]).save(folder)
        groups = groups_of(table, spec.data.keys.group)
        threads = spec.training.threads
        predictions = predict(task_of(spec), pipeline, table, threads=threads, groups=groups)
        say(f"{names} learnt from {learnt_rows(job, table):,} rows; fitting detectors")
        reference = fitted_detectors.fit(
            table, job.system, predictions=predictions, served=as_served(folder, table.select(columns))
        )
    fitted_detectors.save(reference, folder / "detectors")


def _manifest(
    job: Job, table: pa.Table, choice: Mapping[str, Any], evaluation: Mapping[str, Any], pipeline: Any
) -> dict[str, Any]:
    from capstan.training.manifest_document import manifest_document

    system: MLSystem = job.system
    learnt = task_of(system.spec).learnt(pipeline)
    return manifest_document(
        system,
        table,
        learnt,
        run=job.request.run,
        as_of=job.request.trigger.as_of,
        candidate=", ".join(taken["name"] for taken in choice["chosen"]),
        seed=job.seed,
        learnt_until=newest(table, system.spec.data.keys.time),
        parent=job.champion.name
        if job.champion is not None and any(is_fine_tuned(job, taken["name"]) for taken in choice["chosen"])
        else None,
        metrics=evaluation["metrics"],
        standard_errors=evaluation["standard_errors"],
        models=[
            {
                "name": model.name,
                "target": model.target,
                "candidate": taken["name"],
                "features": [feature.name for feature in model.features],
                "classes": list(learnt.parts[model.name].classes),
                "threshold": learnt.parts[model.name].threshold,
                **evaluation["models"][model.name],
            }
            for model, taken in zip(system.spec.planned_models, choice["chosen"], strict=True)
            if system.spec.combination is not None
        ],
    )

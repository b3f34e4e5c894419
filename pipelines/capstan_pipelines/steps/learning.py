"""What the steps that fit models have in common: the rows of the file's window, and the models by their names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.errors import CapstanError, InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.models import PlannedModel
from capstan.tasks import task_of
from capstan.training.choosing import one_line
from capstan.training.job import Job
from capstan.training.window import in_window
from capstan_pipelines.steps.cases import Parted, times_of
from capstan_pipelines.steps.parent import parent_of
from capstan_pipelines.steps.progress import Telling


def candidate_named(job: Job, name: str) -> tuple[PlannedModel, Candidate]:
    """The candidate of a run's name, and the model that it is tried for."""
    return next(
        (model, candidate)
        for model in job.system.spec.planned_models
        for candidate in model.candidates
        if model.fit_name(candidate) == name
    )


def is_fine_tuned(job: Job, name: str) -> bool:
    """Whether the candidate of a run's name goes on with the champion."""
    return candidate_named(job, name)[1].fine_tune is not None


def fit_chosen(job: Job, table: pa.Table, choice: Mapping[str, Any], say: Telling) -> Any:
    """One pipeline of the chosen candidates, each fitted on the rows with its model's label.

    One that goes on with the champion learns those that came since. `choice` is what the step `choose` wrote. Custom
    factories must be importable. Raises InvalidDataError, which names the model.
    """
    from capstan.features.several_models import in_one_pipeline, of_model
    from capstan.training.cases import Cases
    from capstan.training.fitting import fit_candidate

    pipelines = {}
    for taken in choice["chosen"]:
        model, candidate = candidate_named(job, taken["name"])
        parent, rows = None, table
        try:
            if candidate.fine_tune is not None:
                found = parent_of(job, model, candidate, say)
                if isinstance(found, str):
                    raise InvalidDataError(f"{candidate.name} can't go on with the champion: {found}")
                parent, rows = found.pipeline, found.since(table, job.system.spec.data.keys.time_column)
            fitted = fit_candidate(
                candidate,
                model.features,
                Cases.of_model(drawn(job, rows), job.system, model),
                seed=job.seed,
                threads=job.system.spec.training.threads,
                settings=taken["settings"],
                reweigh_by=reweigh_by(job),
                balance=job.system.spec.training.balance,
                others=job.system.spec.training.candidates,
                parent=parent,
            )
        except InvalidDataError as error:
            if not model.name:
                raise
            raise of_model(model.name, error) from error
        pipelines[model.name] = fitted.pipeline
    return in_one_pipeline(pipelines) if job.system.spec.models else pipelines[""]


def why_left_out(error: Exception) -> str:
    """Why the run goes on without one of its runners-up: what fails for it alone must not end the run."""
    known = isinstance(error, CapstanError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    return one_line(reason)


def left_out_in_words(candidate: str, reason: str) -> str:
    return f"runner-up {candidate} is left out: {reason}"


def reweigh_by(job: Job) -> tuple[str, ...]:
    """The columns by whose values training rows are weighed; empty: all rows count alike."""
    reweigh = job.system.spec.training.reweigh
    return () if reweigh is None else reweigh.by


def drawn(job: Job, table: pa.Table) -> pa.Table:
    """The sample of these rows that the file asks for, as `training.sample` says."""
    from capstan.training.sampling import sampled

    return sampled(table, job.system.spec.training.sample, strata_of(job, table), seed=job.seed)


def learnt_rows(job: Job, table: pa.Table) -> int:
    """How many of these rows a fit learns from."""
    sample = job.system.spec.training.sample
    return int(table.num_rows if sample is None else min(sample.rows, table.num_rows))


def strata_of(job: Job, table: pa.Table) -> npt.NDArray[np.generic] | None:
    """The classes of the rows, where a sample is drawn by them."""
    spec = job.system.spec
    sample = spec.training.sample
    if sample is None or sample.method != "Stratified" or sample.by is not None:
        return None
    truth: npt.NDArray[np.generic] = task_of(spec).label.truth(
        table[spec.data.label.column].to_numpy(zero_copy_only=False)
    )
    return truth


def windowed(job: Job, cases: Parted, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of these rows, those of the training window that ends with the last of them."""
    window = job.system.spec.training.window
    if window.duration is None or not len(indices):
        return indices
    times = times_of(cases.table, job.system.spec.data.keys.time_column)[indices]
    until: datetime = times.max().astype("datetime64[us]").astype(datetime).replace(tzinfo=UTC)
    return indices[in_window(times, window, until=until)]

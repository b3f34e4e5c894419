"""What the steps that fit models have in common: the rows of the file's window, and the candidate of a name."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from capstan.spec.training import Candidate
from capstan.training.job import Job
from capstan.training.window import in_window
from capstan_pipelines.steps.cases import Parted, times_of


def candidate_named(job: Job, name: str) -> Candidate:
    return next(candidate for candidate in job.system.spec.training.candidates if candidate.name == name)


def windowed(job: Job, cases: Parted, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of these rows, those of the training window that ends with the last of them."""
    window = job.system.spec.training.window
    if window.duration is None or not len(indices):
        return indices
    times = times_of(cases.table, job.system.spec.data.keys.time)[indices]
    until: datetime = times.max().astype("datetime64[us]").astype(datetime).replace(tzinfo=UTC)
    return indices[in_window(times, window, until=until)]

"""Step: which cases train, which choose and which judge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capstan.training.job import Job
from capstan_pipelines.steps.cases import Parted, read_table, times_of
from capstan_pipelines.steps.progress import step


def run(job_folder: str, table_file: str, cases_folder: str) -> None:
    """Write the trainable cases and their parts; raises InvalidDataError if a part is empty."""
    with step("split") as say:
        job = Job(job_folder)
        from capstan.data import trainable
        from capstan.data.split import by_time

        data, as_of = job.system.spec.data, job.request.trigger.as_of
        table = trainable(read_table(Path(table_file)), as_of, job.system)
        times = times_of(table, data.keys.time)
        until = last_judged(times, as_of - data.label.maximum_delay, data.split.by_time.test)
        parts = by_time(
            times,
            until=until,
            validation=data.split.by_time.validation,
            test=data.split.by_time.test,
            zone=data.time_zone,
        )
        Parted(table, parts.training, parts.validation, parts.test).write(Path(cases_folder))
        say(
            f"{len(parts.training):,} rows train, {len(parts.validation):,} choose, {len(parts.test):,} judge"
            + (
                f"; no case is newer than {until:%Y-%m-%d %H:%M}"
                if until < as_of - data.label.maximum_delay
                else ""
            )
        )


def last_judged(times: npt.NDArray[np.datetime64], until: datetime, test: timedelta) -> datetime:
    """The end of the test; where recorded data ended before the test would begin, the moment of its last case."""
    if not len(times):
        return until
    newest: datetime = times.max().astype("datetime64[us]").item().replace(tzinfo=UTC)
    return newest if newest < until - test else until

"""Step: the table of cases as it could have been read at the trigger's moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capstan.training.job import Job
from capstan_pipelines.steps.cases import write_table
from capstan_pipelines.steps.data_described import with_origin
from capstan_pipelines.steps.progress import step


def run(job_folder: str, table_file: str) -> None:
    """Write the extracted table; raises InvalidDataError."""
    with step("extract") as say:
        began, job = time.time(), Job(job_folder)
        from capstan.data import agreements_told, extract

        as_of = job.request.trigger.as_of
        sources: list[Mapping[str, Any]] = []
        table = extract(
            job.system,
            as_of=as_of,
            labels_as_of=as_of,
            threads=job.system.spec.training.threads,
            secrets=Path(job.places.secrets),
            on_sources=sources.extend,
        )
        write_table(with_origin(table, job, began, sources), Path(table_file))
        say(
            "; ".join(
                [f"{table.num_rows:,} rows known at {as_of:%Y-%m-%d %H:%M} UTC", *agreements_told(table)]
            )
        )

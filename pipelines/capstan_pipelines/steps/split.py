"""Step: which cases train, which choose and which judge."""

from __future__ import annotations

from pathlib import Path

from capstan.training.job import Job
from capstan_pipelines.steps.cases import Parted, read_table
from capstan_pipelines.steps.parts_shown import parts_table
from capstan_pipelines.steps.progress import step


def run(job_folder: str, table_file: str, cases_folder: str) -> None:
    """Write the trainable cases and their parts; raises InvalidDataError for parts that can't do their work."""
    with step("split") as say:
        job = Job(job_folder)
        from capstan.data import part_cases

        as_of = job.request.trigger.as_of
        found = part_cases(read_table(Path(table_file)), job.system, as_of=as_of)
        parts = found.parts
        parted = Parted(
            found.table,
            parts.training,
            parts.validation,
            parts.test,
            found.warnings,
            found.folds,
            (parts_table(found),),
        )
        parted.write(Path(cases_folder))
        newest = found.until
        is_old = newest is not None and newest < as_of - job.system.spec.data.settled_after
        say(
            f"{len(parts.training):,} rows train, {len(parts.validation):,} choose, {len(parts.test):,} judge"
            + ("" if found.folds is None else f"; {found.folds.count} folds of the first two choose")
            + (f"; no case is newer than {newest:%Y-%m-%d %H:%M}" if is_old else "")
            + "".join(f"; {warning}" for warning in found.warnings)
        )

"""Step: which cases train, which choose and which judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.training.job import Job
from capstan_pipelines.steps.anonymity_shown import anonymity_tables
from capstan_pipelines.steps.cases import Parted, read_table
from capstan_pipelines.steps.checks_shown import checks_table
from capstan_pipelines.steps.data_described import (
    began_at,
    keep_described,
    lineage_of,
    lineage_table,
    tell_data,
)
from capstan_pipelines.steps.learning import strata_of
from capstan_pipelines.steps.parts_shown import parts_table
from capstan_pipelines.steps.progress import step


def run(job_folder: str, table_file: str, cases_folder: str) -> None:
    """Write the trainable cases and their parts; raises InvalidDataError for parts that can't do their work."""
    with step("split") as say:
        job = Job(job_folder)
        from capstan.data import check_table, part_cases

        as_of, read = job.request.trigger.as_of, read_table(Path(table_file))
        report, shown = None, None
        if any(check.severity != "Stop" for check in job.system.spec.data.checks):
            report = check_table(read, job.system, as_of=as_of)
            shown = checks_table(report, read.num_rows)
        kept = read if report is None else report.kept(read)
        found = part_cases(kept, job.system, as_of=as_of)
        parts, lineage = found.parts, lineage_of(read)
        drawn = _sample_in_words(job, found.table, parts.training)
        warnings = (*([] if report is None else report.told), *found.warnings, *drawn)
        parted = Parted(
            found.table,
            parts.training,
            parts.validation,
            parts.test,
            warnings,
            found.folds,
            (
                parts_table(found),
                *([] if shown is None else [shown]),
                *anonymity_tables(job, kept),
                lineage_table(lineage),
            ),
            began_at(read),
        )
        parted.write(Path(cases_folder))
        described = tell_data(job, read, lineage, report, found, say, tables=parted.tables)
        keep_described(described, Path(cases_folder))
        newest = found.until
        is_old = newest is not None and newest < as_of - job.system.spec.data.settled_after
        say(
            f"{len(parts.training):,} rows train, {len(parts.validation):,} choose, {len(parts.test):,} judge"
            + ("" if found.folds is None else f"; {found.folds.count} folds of the first two choose")
            + (f"; no case is newer than {newest:%Y-%m-%d %H:%M}" if is_old else "")
            + "".join(f"; {warning}" for warning in warnings)
        )


def _sample_in_words(job: Job, table: pa.Table, rows: npt.NDArray[np.int64]) -> Iterator[str]:
    """What is drawn of the training rows of the table; raises InvalidDataError where it can't be."""
    sample = job.system.spec.training.sample
    if sample is None:
        return
    training = table.take(rows)
    from capstan.training.sampling import draw

    drawn = draw(training, sample, strata_of(job, training), seed=job.seed)
    if drawn is not None:
        words = f"; {drawn.words}" if drawn.words else ""
        yield (
            f"training.sample: {sample.method}: {len(drawn.rows):,} of {training.num_rows:,} training rows are learnt "
            f"from{words}"
        )

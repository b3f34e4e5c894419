"""Step: whether the table keeps the file's rules and knows nothing of the future."""

from __future__ import annotations

from pathlib import Path

from capstan.evaluation.fairness import require_fairlearn
from capstan.training.balancing import require_imbalanced_learn
from capstan.training.job import Job
from capstan_pipelines.steps.anonymity_shown import anonymity_tables
from capstan_pipelines.steps.cases import read_table
from capstan_pipelines.steps.checks_shown import write_checks
from capstan_pipelines.steps.data_described import lineage_of, tell_data
from capstan_pipelines.steps.documents import write_document
from capstan_pipelines.steps.progress import step


def run(job_folder: str, table_file: str, report_file: str) -> None:
    """Write what the checks found; raises InvalidDataError or LeakageError.

    Raises MissingExtraError before anything is learnt that could not be judged.
    """
    with step("check") as say:
        job = Job(job_folder)
        from capstan.data import check_table, refuse_leaks

        if job.system.spec.evaluation.fairness:
            require_fairlearn()
        if job.system.spec.training.balance is not None:
            require_imbalanced_learn()
        if job.system.spec.requirements.place == "OnDevice":
            from capstan.exporting.proving import require_onnx

            require_onnx("requirements.place: OnDevice")
        table, as_of = read_table(Path(table_file)), job.request.trigger.as_of
        report = check_table(table, job.system, as_of=as_of)
        write_checks(report, job.folder)
        if any(one.severity == "Stop" for one in report.violations):
            tell_data(job, table, lineage_of(table), report, None, say)
        report.require()
        table = report.kept(table)
        anonymity_tables(job, table)
        suspicions = [
            f"{leak}: if it is known at the prediction, write `data: {{leaks: {{allow: [{leak.feature}]}}}}`"
            for leak in refuse_leaks(table, job.system, as_of=as_of)
        ]
        write_document(
            report_file,
            {
                "rows": report.rows,
                "newest": report.newest.isoformat() if report.newest else None,
                "missing": report.missing,
                "suspicions": suspicions,
                "broken": report.told,
            },
        )
        leaks = "; ".join([*report.told, *suspicions]) or "no leak found"
        say(f"{len(job.system.spec.data.checks)} rules kept by {report.rows:,} rows; {leaks}")

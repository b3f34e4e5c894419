"""The data of a run as a document: what the report of its data is written from, kept beside its cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from capstan.data.fingerprint import Code, code_of, table_digest
from capstan.evaluation.data_report import DATA_REPORT
from capstan.evaluation.data_report.page import data_html
from capstan.evaluation.tables import Cell, table
from capstan.training.job import Job
from capstan_pipelines.steps.learning import why_left_out
from capstan_pipelines.steps.progress import Telling

if TYPE_CHECKING:
    from capstan.data import CheckReport
    from capstan.data.parts import PartedCases

DESCRIBED = "data.json"
"""In the folder of cases."""
_CODE = b"code"
_BEGAN, _SOURCES = b"began", b"sources read"
MOST_LISTED = 20
"""Rows of one broken rule that the report shows."""


def with_origin(
    extracted: pa.Table, job: Job, began: float, sources: Sequence[Mapping[str, Any]]
) -> pa.Table:
    """The table, and in its metadata what it was read from.

    That is the sources, the commit of the file, and when the training began, in seconds since 1970.
    """
    told = {
        _SOURCES: json.dumps(list(sources)).encode(),
        _CODE: code_of(Path(job.places.base_dir)).words.encode(),
        _BEGAN: repr(began).encode(),
    }
    return extracted.replace_schema_metadata({**(extracted.schema.metadata or {}), **told})


def began_at(extracted: pa.Table) -> float | None:
    """When the training began, in seconds since 1970; None: the table does not tell."""
    found = (extracted.schema.metadata or {}).get(_BEGAN)
    return None if found is None else float(found)


def lineage_of(extracted: pa.Table) -> dict[str, Any]:
    """Digest of the rows that were read, the files that they came from, and the commit of the code."""
    unknown = Code(why_not="the extraction did not look").words
    return {
        "digest": table_digest(extracted),
        "rows": extracted.num_rows,
        "sources": json.loads((extracted.schema.metadata or {}).get(_SOURCES, b"[]")),
        "code": (extracted.schema.metadata or {}).get(_CODE, unknown.encode()).decode(),
    }


def lineage_table(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """For the report: a row for all that was read, one for each source and one for the code."""
    cells: list[list[Cell]] = [[_short(lineage["digest"]), lineage["rows"], None, None, None]]
    for one in lineage["sources"]:
        changed = one["modified"] and f"{datetime.fromisoformat(one['modified']):%Y-%m-%d %H:%M}"
        cells.append([_short(one["digest"]), None, one["files"] or None, one["bytes"], changed])
    return table(
        "Lineage",
        ("what", "by what it is known again"),
        ["rows that were read", *(f"{one['name']} ({one['kind']})" for one in lineage["sources"]), "code"],
        ["digest or commit", "rows", "files", "bytes", "newest change"],
        [*cells, [_short(lineage["code"].partition(",")[0]), None, None, None, None]],
        notes=[
            f"Code: {lineage['code']}.",
            "The digest of a source is that of the list of its files, with their bytes and changes.",
        ],
        whose="all rows that were read",
    )


def _short(name: str | None) -> str | None:
    """As much of a digest or a commit as tells it from others."""
    return None if name is None else name.removeprefix("sha256:").partition(":")[0][:12]


def describe_run(
    job: Job,
    read: pa.Table,
    lineage: Mapping[str, Any],
    report: CheckReport | None,
    parted: PartedCases | None,
    drift: Mapping[str, Any],
) -> dict[str, Any]:
    """All that the report shows. `report` None: every rule is kept; `parted` None: the run ends before its parts."""
    from capstan.data.description import correlations, describe_columns
    from capstan.data.description.columns import MOST_COLUMNS

    data, shown = job.system.spec.data, read if parted is None else parted.table
    columns = [name for name in columns_shown(job) if name in shown.column_names]
    parts = (
        {"all rows": np.arange(shown.num_rows)}
        if parted is None
        else {name: getattr(parted.parts, name) for name in ("training", "validation", "test")}
    )
    label = data.label.column
    return {
        "system": job.request.system,
        "run": job.request.run,
        "as_of": job.request.trigger.as_of.isoformat(),
        "target": label,
        "is_labelled": data.has_label,
        "lineage": lineage,
        "parts": list(parts),
        "columns": describe_columns(shown, columns, parts, job.system),
        "columns_left_out": max(0, len(columns) - MOST_COLUMNS),
        "correlations": correlations(shown, columns[:MOST_COLUMNS], label) if data.has_label else None,
        "checks": _checks(job, report, read.num_rows),
        "drift": drift,
    }


def columns_shown(job: Job) -> list[str]:
    """The label, the moment and all that is learnt, judged by or checked, but for images, ids and groups."""
    spec = job.system.spec
    keys = spec.data.keys
    named = [
        spec.data.label.column,
        *([keys.time] if keys.time is not None else []),
        *(feature.column for feature in spec.features if feature.image is None),
        *(column for _, column in spec.groupings()),
        *(check.column for check in spec.data.checks),
    ]
    hidden = {keys.id, keys.sticky_by, keys.group}
    return [name for name in dict.fromkeys(named) if name not in hidden]


def _checks(job: Job, report: CheckReport | None, rows: int) -> dict[str, Any]:
    dropped = None if report is None else report.dropped
    return {
        "rules": [_rule_in_words(check) for check in job.system.spec.data.checks],
        "rows": rows,
        "left_out": 0 if dropped is None else int(dropped.sum()),
        "broken": [
            {
                "column": one.column,
                "rule": one.rule,
                "severity": one.severity,
                "rows": one.rows,
                "listed": [list(row) for row in one.listed[:MOST_LISTED]],
            }
            for one in (() if report is None else report.violations)
        ],
    }


def _rule_in_words(check: Any) -> str:
    asked = check.model_dump(by_alias=True, exclude_defaults=True, exclude={"column", "severity"})
    words = ", ".join(f"{name} {value}" for name, value in asked.items())
    return f"{check.column}: {words or 'is there'} ({check.severity})"


def write_report(job: Job, document: Mapping[str, Any], parts: Sequence[Mapping[str, Any]] = ()) -> None:
    """The report as a file of the run's folder; nothing where it can't be written to."""
    with suppress(OSError):
        (job.folder / DATA_REPORT).write_text(data_html(document, parts), encoding="utf-8")


def tell_data(
    job: Job,
    read: pa.Table,
    lineage: Mapping[str, Any],
    report: CheckReport | None,
    parted: PartedCases | None,
    say: Telling,
    *,
    tables: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """The document, its report written; None of a backtest, which nobody reads.

    None also where it could not be made, which is told: a run goes on without it.
    """
    if not job.places.is_served:
        return None
    from capstan_pipelines.steps.data_drift import drift_from_champion

    try:
        rows = read if parted is None else parted.table
        document = describe_run(job, read, lineage, report, parted, drift_from_champion(job, rows, say))
        write_report(job, document, tables)
    except Exception as error:
        say(f"the report of the data could not be written: {why_left_out(error)}")
        return None
    return document


def keep_described(document: Mapping[str, Any] | None, cases: Path) -> None:
    """Beside the cases, for the step that judges."""
    if document is not None:
        (cases / DESCRIBED).write_text(json.dumps(document))


def described(cases: Path) -> dict[str, Any] | None:
    """What `keep_described` kept; None where nothing was."""
    path = cases / DESCRIBED
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found

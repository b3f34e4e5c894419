"""How many rows are alike in what others may know of a person, for a run's report."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from capstan.data.anonymity import rows_alike
from capstan.evaluation.tables import table
from capstan.training.job import Job

ANONYMITY = "Anonymity"
"""Title of the table."""


def anonymity_tables(job: Job, read: pa.Table) -> list[dict[str, Any]]:
    """One where the file asks; raises InvalidDataError where fewer rows are alike than it asks."""
    asked = job.system.spec.data.privacy.anonymity
    if asked is None:
        return []
    found = rows_alike(read, asked)
    found.require()
    bounds = [f"k of at least {asked.k}"] if asked.k is not None else []
    bounds += [f"l of at least {asked.l}"] if asked.l is not None else []
    return [
        table(
            ANONYMITY,
            ("rows that are alike in", "what they have"),
            [", ".join(asked.by)],
            ["groups", "fewest rows (k)", *(f"fewest values of {name} (l)" for name in asked.sensitive)],
            [[found.groups, found.fewest, *found.diversity.values()]],
            notes=[
                f"Asked for: {' and '.join(bounds)}." if bounds else "No bound is asked for.",
                "The rows are alike in these columns as data.privacy leaves them. Who knows other columns of a person "
                "may find them among fewer.",
            ],
            whose="all rows that were read",
        )
    ]

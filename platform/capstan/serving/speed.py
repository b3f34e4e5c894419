"""How many rows a packaged model answers in a second."""

from __future__ import annotations

import math
from pathlib import Path

ROUNDS = 3
"""Of which the fastest counts: what else the machine does only makes a round slower."""


def rows_per_second(folder: Path) -> float:
    """By the median row of its sample, one after the other as a service asks them, without HTTP; nan without a sample.

    The caller has just written the model folder, or has verified it. Raises InvalidDataError.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from capstan.features.rowwise import median_seconds
    from capstan.serving.model import load, sample_rows

    model, sample = load(folder), folder / "sample.parquet"
    rows = sample_rows(sample, [column.name for column in model.manifest.columns]) if sample.exists() else []
    if not rows:
        return math.nan
    with threadpool_limits(1):
        return 1 / min(median_seconds(model.predict_row, rows) for _ in range(ROUNDS))

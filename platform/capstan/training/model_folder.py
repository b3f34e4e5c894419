"""Writes the folder that a Bento carries: pipeline, manifest, spec, sample and a person's own code.

Its bytes depend on the data, the file and the run's name alone: no clock, no path, no random order.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 1000


def write_model(
    folder: Path,
    *,
    pipeline: Any,
    manifest: Mapping[str, Any],
    spec: Mapping[str, Any],
    sample: pa.Table,
    factories: Path,
) -> None:
    """Write everything; `factories` need not exist. Custom modules must still be importable when this is called."""
    import joblib  # type: ignore[import-untyped]
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(pipeline, folder / "pipeline.joblib")
    (folder / "manifest.json").write_text(as_json(manifest))
    (folder / "spec.json").write_text(as_json(spec))
    # What the rows were read from changes, while the model of the same rows keeps its digest.
    pq.write_table(sample.replace_schema_metadata(None), folder / "sample.parquet")
    if factories.is_dir():
        shutil.copytree(factories, folder / "factories", dirs_exist_ok=True)


def take_sample(table: pa.Table, columns: list[str]) -> pa.Table:
    """At most a thousand rows, evenly spread over time."""
    rows = np.unique(np.linspace(0, table.num_rows - 1, min(SAMPLE_ROWS, table.num_rows)).astype(np.int64))
    return table.select(columns).take(rows)


def as_json(value: Any) -> str:
    """JSON with sorted keys; what is not a finite number becomes null."""
    return json.dumps(_finite(value), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

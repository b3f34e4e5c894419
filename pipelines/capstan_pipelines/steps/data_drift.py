"""How far the data of a run are from those that the champion learnt from, feature by feature."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.monitoring.drift.column_values import values_of
from capstan.monitoring.drift.fitted_detectors import OwnDetector, load_reference
from capstan.monitoring.drift.reference import FeatureReference
from capstan.training.job import Job
from capstan_pipelines.steps.cases import times_of
from capstan_pipelines.steps.champion import champion_folder
from capstan_pipelines.steps.learning import why_left_out
from capstan_pipelines.steps.progress import Telling

MOST_ROWS = 50_000
"""Evenly spaced, of larger tables."""
LEAST_ROWS = 30


def drift_from_champion(job: Job, table: pa.Table, say: Telling) -> dict[str, Any]:
    """JSON: the champion, and of each feature its distance in all rows and in those that the champion did not see.

    `why_not` says why there is no distance.
    """
    champion = job.champion
    if champion is None:
        name = job.request.champion
        return {"champion": name, "why_not": f"{name} is known by name alone" if name else ""}
    try:
        reference = load_reference(champion_folder(job, champion, say) / "detectors")
    except Exception as error:
        say(f"the data of {champion.name} could not be read to compare with: {why_left_out(error)}")
        # Its words may name paths, which a report that is mailed must not show.
        return {
            "champion": champion.name,
            "why_not": "they could not be read, the message of the step says why",
        }
    every = np.arange(table.num_rows, dtype=np.int64)
    groups = {"all rows": every}
    time = job.system.spec.data.keys.time
    if time is not None:
        seen_until = champion.as_of - job.system.spec.data.settled_after
        moment = np.datetime64(seen_until.astimezone(UTC).replace(tzinfo=None), "us")
        groups["newer rows"] = every[times_of(table, time) > moment]
    least = float(job.system.spec.monitoring.drift.min_effect)
    return {
        "champion": champion.name,
        "groups": [{"name": name, "rows": len(rows)} for name, rows in groups.items()],
        "features": [
            {
                "name": one.name,
                "test": one.detector.test,
                "missing_before": one.missing_rate,
                "groups": {name: _compared(one, table, rows, least) for name, rows in groups.items()},
            }
            for one in reference.features
        ],
        "why_not": "" if reference.features else f"{champion.name} carries no sample of its data",
    }


def _compared(
    feature: FeatureReference, table: pa.Table, rows: npt.NDArray[np.int64], least: float
) -> dict[str, Any]:
    """Distance, what it must exceed to count as drift, and the share of missing values; or why there is none."""
    if feature.column not in table.column_names:
        return {"why_not": "the column is not read any more"}
    if len(rows) < LEAST_ROWS:
        return {"why_not": f"{len(rows)} of {LEAST_ROWS} rows"}
    if len(rows) > MOST_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(np.int64)]
    read = values_of(feature).present(table[feature.column].take(pa.array(rows)))
    values = read.values[read.is_there]
    found: dict[str, Any] = {"missing": 1 - len(values) / len(rows)}
    if not len(values) or not len(feature.sample):
        return {**found, "why_not": "no value to compare"}
    try:
        distance = OwnDetector(feature).compare(values).effect
    except Exception as error:
        return {**found, "why_not": why_left_out(error)}
    return {**found, "distance": distance, "threshold": feature.distance_threshold(len(values), least)}

"""The registry of a run's system, where its places say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capstan.training.job import Job

if TYPE_CHECKING:
    from capstan.adapters.mlflow.registry import MlflowRegistry


def registry_of(job: Job) -> MlflowRegistry:
    """Imports MLflow's part of Capstan, which few steps need."""
    from capstan.adapters.mlflow.registry import MlflowRegistry

    places = job.places
    return MlflowRegistry(
        job.request.system,
        tracking_uri=places.tracking_uri,
        artifact_root=Path(places.artifact_root) if places.artifact_root else None,
        model=places.registry_model,
    )

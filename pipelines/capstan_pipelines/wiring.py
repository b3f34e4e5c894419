"""All adapters of the pipeline's processes; the only module here that constructs them.

Each is imported where it is made: a step loads only what it uses, and MLflow takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capstan.ports.packager import Packager
from capstan.ports.registry import RunRegistry
from capstan.training.job import Job

if TYPE_CHECKING:
    from capstan.adapters.kubeflow.run_folder import RunFolder


def registry_of(job: Job) -> RunRegistry:
    """The registry of the run's system, where its places say."""
    from capstan.adapters.mlflow.registry import MlflowRegistry

    places = job.places
    return MlflowRegistry(
        job.request.system,
        tracking_uri=places.tracking_uri,
        artifact_root=Path(places.artifact_root) if places.artifact_root else None,
        model=places.registry_model,
    )


def import_registry(job: Job) -> None:
    """Import what the registry of the run needs, and connect to nothing: a connection would not survive a fork."""
    from capstan.adapters.mlflow.registry import import_mlflow

    import_mlflow(job.places.tracking_uri)


def packager_of(job: Job) -> Packager:
    """What builds and verifies the Bentos of the run's system."""
    from capstan.adapters.bentoml.packager import BentoPackager, UnbuiltPackager

    kind = BentoPackager if job.places.is_served else UnbuiltPackager
    return kind(Path(job.places.bentos))


def run_folder_of(path: Path) -> RunFolder:
    """Paths and small files of the run that works in `path`."""
    from capstan.adapters.kubeflow.run_folder import RunFolder

    return RunFolder(path)

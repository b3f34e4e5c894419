"""The version that serves, as a step of a run reads it: its folder, checked, and its fitted pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capstan.domain.versions import ModelVersion
from capstan.training.job import Job
from capstan_pipelines.steps.progress import Telling
from capstan_pipelines.steps.waiting import patiently
from capstan_pipelines.wiring import packager_of


def champion_folder(job: Job, champion: ModelVersion, say: Telling) -> Path:
    """Its model folder; its bytes were compared with the registered digest. Raises UntrustedArtifactError."""
    from capstan.artifacts.content import MODEL_FOLDER

    if job.places.artifacts:
        from capstan.artifacts.store import ArtifactStore

        store, home = ArtifactStore(job.places.artifacts), Path(job.places.bentos)
        return (
            patiently(lambda: store.pull_bento(champion.bento_tag, champion.digest, home), say) / MODEL_FOLDER
        )
    return packager_of(job).verify(champion.bento_tag, champion.digest) / MODEL_FOLDER


@contextmanager
def loaded(folder: Path) -> Iterator[Any]:
    """The fitted pipeline of the folder, while its own code can be imported."""
    import joblib  # type: ignore[import-untyped]

    from capstan.training.factories import importable

    with importable(folder / "factories"):
        yield joblib.load(folder / "pipeline.joblib")

"""A batch as a version of a state directory predicts it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from capstan.domain.versions import SystemName, VersionName
from capstan.embedded.batch.folder import folder_name
from capstan.embedded.batch.predicting import BatchRequest
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import registry_of, stored_model
from capstan.errors import NotFoundError
from capstan.spec import MLSystem
from capstan.spec.batch import BatchInput


def wire_batch(
    system: MLSystem,
    state: StateDir,
    name: VersionName,
    *,
    start: datetime | None,
    end: datetime | None,
    output: Path | None,
    given: BatchInput | None = None,
) -> BatchRequest:
    """The batch with the version's verified model; without `output` its folder is in the state directory.

    Its rows are those of `given`, else of the file's `batch.input`, else of data.query.

    Raises NotFoundError, UntrustedArtifactError.
    """
    version = registry_of(system, state).version(name)
    if version is None:
        raise NotFoundError(
            f"the registry knows no version {name!r}; `capstan runs` shows those that are registered"
        )
    if output is None:
        output = state.predictions(SystemName(system.metadata.name)) / folder_name(start, end)
    batch = system.spec.batch
    own = batch.input if batch is not None else None
    return BatchRequest(
        system,
        version,
        stored_model(system, state, name),
        start,
        end,
        output,
        secrets=state.secrets,
        input=given or own,
        on_spark=batch is not None and batch.engine == "Spark",
    )

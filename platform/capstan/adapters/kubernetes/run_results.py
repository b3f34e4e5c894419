"""What a run in a cluster is given, and how it ended once nobody can be asked, by registry and artifact store."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.versions import RunName
from capstan.errors import NotFoundError
from capstan.ports.registry import Registry
from capstan.spec import MLSystem
from capstan.training.job import Places, job_files
from capstan.training.result import read_result, result_path


class Readable(Protocol):
    """The part of an artifact store that is needed here."""

    def read(self, path: str) -> bytes | None:
        """Content of the file; None if there is none. Raises UnavailableError."""
        ...


def given(request: TrainingRequest, system: MLSystem, places: Places, registry: Registry) -> dict[str, bytes]:
    """The files of the run's folder; raises UnavailableError, and NotFoundError for an unknown champion."""
    champion = None
    if request.champion is not None:
        champion = registry.version(request.champion)
        if champion is None:
            raise NotFoundError(
                f"the registry knows no version {request.champion!r}, the champion to compare with"
            )
    spec = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return job_files(request=request, spec=spec, places=places, champion=champion)


def recorded(run: RunName, registry: Registry, store: Readable | None) -> RunStatus | None:
    """The run's success, as registry and store tell it; None if it has registered nothing.

    A version whose gates can't be read counts as a failed run: without its gates it must not be promoted. `store` is
    None where artifacts lie on a volume that this process does not see. Raises UnavailableError.
    """
    version = registry.version_of(run)
    if version is None:
        return None
    content = store.read(result_path(run)) if store is not None else None
    if content is None:
        return RunStatus(
            RunPhase.FAILED,
            f"{version.name} is registered, but what its gates said is lost: the run's pod is gone"
            + (" and artifacts on a volume can't be read from here" if store is None else "")
            + "; train again",
        )
    status = read_result(content)
    if status.version is None or status.version.digest != version.digest:
        return RunStatus(
            RunPhase.FAILED, f"{version.name} is registered, but the result of {run} tells of other bytes"
        )
    found = [(one, registry.version_of(run, one.version.rank)) for one in status.runners_up]
    # A run that ended while it registered its runners-up has left some of them without a name. These take no part, and
    # neither does one of other bytes, whose gates nobody knows.
    runners_up = tuple(
        replace(one, version=known)
        for one, known in found
        if known is not None and known.digest == one.version.digest
    )
    return replace(status, version=version, runners_up=runners_up)

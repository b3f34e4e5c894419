"""What to type when a training does not find the system's files in its data volume: mostly nobody has pushed them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from capstan.cluster.names import DATA_MOUNT, SystemNames
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.versions import RunName
from capstan.ports.pipelines import Pipelines

_MISSING = re.compile(
    rf"{DATA_MOUNT}\b.*(does not exist|holds no)|there is no \S+ in {DATA_MOUNT}\b|No module named"
)


def way_to_bring(names: SystemNames, message: str) -> str:
    """The command that copies the files there; empty if the message speaks of something else."""
    if not _MISSING.search(" ".join(message.split())):
        return ""
    return (
        f"`capstan push FILE --context . --namespace {names.namespace}` copies the files of {names.system} into its "
        "data volume, `capstan retrain` then tries again at once"
    )


@dataclass(frozen=True)
class AdvisedPipelines:
    """A runner whose failed runs say what mends them."""

    runner: Pipelines
    names: SystemNames

    def start(self, request: TrainingRequest) -> None:
        self.runner.start(request)

    def status(self, run: RunName) -> RunStatus:
        """The runner's status; where files are missing, the way out stands before what the pipeline says."""
        status = self.runner.status(run)
        way = way_to_bring(self.names, status.message) if status.phase is RunPhase.FAILED else ""
        return replace(status, message=f"{status.message.rstrip()}; {way}") if way else status

    def cancel(self, run: RunName) -> None:
        self.runner.cancel(run)

"""Carries out what the planners ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from capstan.domain.actions import (
    Action,
    CancelTraining,
    CreateRollout,
    CreateRun,
    DeleteRecords,
    DeployVersion,
    RetireVersion,
    SetAlias,
    SetTraffic,
    StartBatch,
    StartTraining,
    StopBatch,
    WatchVersion,
)
from capstan.domain.traffic import Untaken
from capstan.domain.trouble import Away
from capstan.domain.versions import SystemName, VersionName
from capstan.engine.action_log import ActionLog
from capstan.engine.records import rollout_record, run_record
from capstan.errors import (
    ConflictError,
    NotFoundError,
    UnavailableError,
    UntrustedArtifactError,
)
from capstan.ports.batches import BatchRuns
from capstan.ports.measurements import Monitoring
from capstan.ports.pipelines import Pipelines
from capstan.ports.registry import Registry
from capstan.ports.serving import Serving
from capstan.ports.store import Kind, Record, Store
from capstan.ports.traffic import TrafficProvider


@dataclass
class Applier:
    """The ports that change the world, and the memory of how they were used."""

    store: Store
    pipelines: Pipelines
    registry: Registry
    serving: Serving
    traffic: TrafficProvider
    monitoring: Monitoring
    batches: BatchRuns | None = None
    """None: nobody makes batches here, and none is asked for."""
    refused: dict[VersionName, str] = field(default_factory=dict)
    """Versions whose bytes were refused, with the reason."""
    untaken: Untaken | None = None
    """None: the gateway took the split that it was asked for last."""
    watched: tuple[VersionName, datetime] | None = None
    aliases_moved: bool = False
    log: ActionLog = field(default_factory=ActionLog)

    def apply(self, system: SystemName, actions: Sequence[Action]) -> Away | None:
        """Take the actions in order; returns the part that did not answer, after which the rest was left for later."""
        for action in actions:
            try:
                self._take(system, action)
            except UnavailableError as error:
                self.log.note(system, action, failure=str(error))
                if isinstance(action, SetTraffic):
                    unready = frozenset(VersionName(name) for name in error.unready)
                    self.untaken = Untaken(action.split, error.reason, unready)
                return Away(error.part, error.reason)
            self.log.note(system, action)
        return None

    def _take(self, system: SystemName, action: Action) -> None:
        match action:
            case CreateRun(request):
                self._create(run_record(request))
            case CreateRollout(request):
                self._create(rollout_record(request))
            case StartTraining(request):
                self.pipelines.start(request)
            case CancelTraining(run):
                self.pipelines.cancel(run)
            case DeployVersion(version):
                try:
                    self.serving.deploy(version)
                except (UntrustedArtifactError, NotFoundError) as error:
                    self.refused[version.name] = str(error)
            case RetireVersion(name):
                self.serving.retire(name)
                self.refused.pop(name, None)
            case SetTraffic(split):
                endpoints = {name: self.serving.endpoint(name) for name in split.versions}
                missing = [name for name, endpoint in endpoints.items() if endpoint is None]
                if missing:
                    raise UnavailableError("serving", f"{', '.join(sorted(missing))} has no address yet")
                self.traffic.apply(split, {name: e for name, e in endpoints.items() if e is not None})
                self.untaken = None
            case SetAlias(alias, version_name):
                self.aliases_moved = True
                self.registry.set_alias(alias, version_name)
            case WatchVersion(name, since):
                self.monitoring.watch(name, since=since)
                self.watched = (name, since)
            case StartBatch(order):
                assert self.batches is not None
                self.batches.start(order)
            case StopBatch(order):
                assert self.batches is not None
                self.batches.stop(order)
            case DeleteRecords():
                self._delete_all(system)
            case _:
                assert_never(action)

    def _create(self, record: Record) -> None:
        if self.store.get(record.kind, record.name) is None:
            try:
                self.store.put(record)
            except ConflictError:
                if self.store.get(record.kind, record.name) is None:
                    raise

    def _delete_all(self, system: SystemName) -> None:
        # The system's record goes last: as long as it exists, an interrupted deletion goes on.
        for kind in (Kind.ROLLOUT, Kind.RUN, Kind.SYSTEM):
            for record in self.store.list(kind, system):
                self.store.delete(kind, record.name)

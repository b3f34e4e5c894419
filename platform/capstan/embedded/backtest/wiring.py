"""The one engine on adapters in memory: constructs everything that a backtest of one policy runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from capstan.adapters.bentoml.packager import UnbuiltPackager
from capstan.adapters.memory.loop import (
    MemoryOperation,
    MemoryPipelines,
    MemoryRegistry,
    MemoryServing,
    MemoryStore,
    MemoryTraffic,
    Training,
)
from capstan.adapters.own.evidence import ParquetEvidence
from capstan.adapters.own.local_monitor import LocalMonitor
from capstan.adapters.own.step_server import StepServer
from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.training import TrainingRequest
from capstan.domain.versions import ModelVersion, SystemName, VersionName
from capstan.embedded.backtest.answering import BatchAnswers
from capstan.embedded.backtest.history import History
from capstan.embedded.backtest.settling import BacktestSettling
from capstan.embedded.backtest.trainings import SharedTrainings
from capstan.embedded.clocks import StillClock
from capstan.embedded.layout import StateDir
from capstan.embedded.replay.fixed_durations import FixedDurations, FixedTimePipelines, FixedTimeServing
from capstan.embedded.wiring import spec_document
from capstan.engine import Engine
from capstan.engine.policies import replay_policy_of
from capstan.errors import NotFoundError
from capstan.files import write_whole
from capstan.ports.registry import Registry
from capstan.ports.store import Kind, Record, Store
from capstan.recording.collector.declarations import Declarations
from capstan.recording.held_rows import HeldRows
from capstan.spec import MLSystem
from capstan.tasks import task_of
from capstan.training.job import Places, training_environment


@dataclass(frozen=True)
class BacktestPlaces:
    """Folders that backtests of one system share; equal inputs are computed once in them."""

    root: Path
    secrets: Path

    @property
    def trainings(self) -> Path:
        return self.root / "trainings"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def results(self) -> Path:
        return self.root / "results"


@dataclass(frozen=True)
class BacktestSystem:
    """One policy with everything it runs on."""

    system: MLSystem
    name: SystemName
    clock: StillClock
    charges: FixedDurations
    store: Store
    registry: Registry
    trainings: SharedTrainings
    monitor: LocalMonitor
    evidence: ParquetEvidence
    answers: BatchAnswers
    settling: BacktestSettling
    model_folder: Callable[[VersionName], Path]

    def close(self) -> None:
        """Let go of files."""
        self.evidence.close()
        self.monitor.close()


def places_in(state: StateDir, system: str) -> BacktestPlaces:
    """Those of a system in a state directory, where they stay when it is emptied for a replay."""
    return BacktestPlaces(state.backtests / system, state.secrets)


def wire_backtest(
    system: MLSystem,
    folder: Path,
    history: History,
    *,
    start: datetime,
    places: BacktestPlaces,
    data: str,
    socket: Path,
    stop: Callable[[], bool] = lambda: False,
) -> BacktestSystem:
    """Construct every adapter.

    `folder` is of this backtest alone, `history` of all in this process, `data` the digest of the sources, `socket`
    that of the process that trains.
    """
    name = SystemName(system.metadata.name)
    own = folder / "systems" / name
    (own / "monitor").mkdir(mode=0o700, parents=True, exist_ok=True)
    document = spec_document(system)
    write_whole(own / "spec.json", orjson.dumps(document))
    declared = Declarations(folder / "systems")
    clock, charges = StillClock(start), FixedDurations()
    store, registry, traffic = MemoryStore(), MemoryRegistry(), MemoryTraffic()
    packager = UnbuiltPackager(places.models)

    def model_folder(version: VersionName) -> Path:
        found = registry.version(version)
        if found is None:
            raise NotFoundError(f"the backtest knows no version {version!r}")
        return packager.verify(found.bento_tag, found.digest) / MODEL_FOLDER

    trainings = SharedTrainings(
        system,
        places.trainings,
        data=data,
        document=document,
        places=Places(
            base_dir=str(system.base_dir.resolve()),
            secrets=str(places.secrets.resolve()),
            tracking_uri="",
            artifact_root="",
            bentos=str(places.models.resolve()),
            is_served=False,
        ),
        trainer=StepServer(socket),
        champion=registry.version,
    )
    charged = system.spec.replay.charges if system.spec.replay is not None else None

    def train(request: TrainingRequest) -> Training:
        return Training(trainings.result(request))

    pipelines = FixedTimePipelines(
        MemoryPipelines(clock, registry, train),
        clock,
        charges,
        charged.training if charged is not None else timedelta(0),
    )
    serving = FixedTimeServing(
        MemoryServing(clock), clock, charges, charged.deployment if charged is not None else timedelta(0)
    )
    held = HeldRows()
    answers = BatchAnswers(
        name,
        history,
        held,
        task_of(system.spec),
        clock,
        traffic.read_back,
        model_folder,
    )
    evidence = ParquetEvidence(own, system, held=held)
    monitor = LocalMonitor(system, own, model_dir=model_folder, held=held)
    engine = Engine(
        store,
        pipelines,
        registry,
        serving,
        traffic,
        evidence,
        MemoryOperation(answers.operation),
        monitor,
        monitor,
        clock,
        policy=replay_policy_of,
    )
    store.put(Record(Kind.SYSTEM, name, name, document))
    return BacktestSystem(
        system=system,
        name=name,
        clock=clock,
        charges=charges,
        store=store,
        registry=registry,
        trainings=trainings,
        monitor=monitor,
        evidence=evidence,
        answers=answers,
        settling=BacktestSettling(
            name,
            engine=engine,
            store=store,
            monitor=monitor,
            clock=clock,
            held=held,
            label_read_as=declared.label_read_as(name),
            stop=stop,
        ),
        model_folder=model_folder,
    )


@contextmanager
def running_trainer(system: MLSystem, socket: Path) -> Iterator[None]:
    """A process that runs the steps of trainings, for all that are wired to the socket."""
    trainer = StepServer(socket)
    trainer.start(training_environment(system.spec.training.threads))
    try:
        yield
    finally:
        trainer.close()


def first_version(registry: Registry) -> ModelVersion:
    """The static system: the first version that ever served."""
    return min(registry.versions(), key=lambda version: version.as_of)

"""The parts in memory keep the same contracts as the real ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from capstan.adapters.memory.loop import (
    MemoryClock,
    MemoryPipelines,
    MemoryRegistry,
    MemoryServing,
    MemoryStore,
    MemoryTraffic,
    Training,
)
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.ports.serving import Endpoint
from capstan.testing.ports.pipelines import PipelinesContract
from capstan.testing.ports.registry import RegistryContract, trained
from capstan.testing.ports.serving import ServingContract
from capstan.testing.ports.store import StoreContract
from capstan.testing.ports.traffic import V1, V2, V3, TrafficContract

AT = datetime(2013, 2, 1, tzinfo=UTC)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(holds: Callable[[], bool]) -> None:
        assert holds()

    return wait


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestMemoryRegistry(RegistryContract):
    @pytest.fixture
    def registry(self) -> MemoryRegistry:
        return MemoryRegistry()


class TestMemoryServing(ServingContract):
    @pytest.fixture
    def serving(self) -> MemoryServing:
        return MemoryServing(MemoryClock(AT))

    @pytest.fixture
    def version(self) -> ModelVersion:
        version = trained("run-a")
        return ModelVersion(VersionName("v1"), version.digest, version.run, version.bento_tag, version.as_of)


class TestMemoryTraffic(TrafficContract):
    @pytest.fixture
    def traffic(self) -> MemoryTraffic:
        return MemoryTraffic()

    @pytest.fixture
    def endpoints(self) -> dict[VersionName, Endpoint]:
        return {V1: Endpoint("127.0.0.1", 1), V2: Endpoint("127.0.0.1", 2), V3: Endpoint("127.0.0.1", 3)}


class TestMemoryPipelines(PipelinesContract):
    @pytest.fixture
    def pipelines(self) -> MemoryPipelines:
        def plan(request: TrainingRequest) -> Training:
            return Training(RunStatus(RunPhase.SUCCEEDED, version=trained(request.run)))

        return MemoryPipelines(MemoryClock(AT), MemoryRegistry(), plan)

    @pytest.fixture
    def request_for(self) -> Callable[[str], TrainingRequest]:
        def request(run: str) -> TrainingRequest:
            trigger = Trigger(TriggerKind.INITIAL, AT, "the first model")
            return TrainingRequest(RunName(run), SystemName("flights"), trigger, None)

        return request

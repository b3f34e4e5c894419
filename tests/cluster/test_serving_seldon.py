"""Versions as SeldonDeployments in a real cluster, made into pods by Seldon's operator or by its stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from cluster import upstream
from cluster.serving_claims import V1, ServingInACluster
from cluster.toy_versions import INFER, SETTINGS, ToyBento, ToyNamespace, port_of, toy_system

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.serving import ID_LABEL
from capstan.adapters.seldon.serving import SeldonServing, predictor_service
from capstan.cluster.moving import MovingServing
from capstan.cluster.wiring.serving import serving_of
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.ports.kube import EXISTS
from capstan.ports.serving import Endpoint
from capstan.testing.ports.serving import WaitUntil

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> ToyBento:
    return ToyBento.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def toys(kube: KubeClient, new_namespace: Callable[[], str], bento: ToyBento) -> Iterator[ToyNamespace]:
    toys = ToyNamespace(kube, new_namespace())
    with upstream.seldon_operator(kube, toys.name):
        toys.prepare({f"bentos/{bento.tag.replace(':', '/')}.tar": bento.tar})
        yield toys


@dataclass
class StillGateway:
    """Sends where it was told last."""

    told: dict[VersionName, Endpoint | None]

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        assert split == champion_only(V1)
        self.told = dict(endpoints)

    def read_back(self) -> TrafficSplit | None:
        return champion_only(V1)

    def endpoints(self) -> Mapping[VersionName, Endpoint | None]:
        return self.told


class TestSeldonServing(ServingInACluster):
    runtime = "Seldon"

    def test_it_is_a_seldon_deployment(self, serving: Any) -> None:
        assert isinstance(serving, SeldonServing)

    def test_seldons_own_clients_reach_the_model_by_the_predictors_service(
        self, serving: Any, toys: ToyNamespace, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.READY)
        service = predictor_service(toys.names.model(V1), V1)
        found = toys.kube.get("Service", service, toys.name)
        assert found is not None
        port = next(port["port"] for port in found["spec"]["ports"] if port["name"] == "http")
        endpoint = Endpoint(toys.names.host(service), port)
        answers = toys.ask(endpoint, [("/v2/models/infer", INFER), ("/v2/models/toy/infer", INFER)])
        assert [answer["model_version"] for answer in answers] == ["v1", "v1"]
        told = toys.kube.get("SeldonDeployment", toys.names.model(V1), toys.name) or {}
        address = told["status"]["address"]["url"]
        assert address.endswith(f"{service}.{toys.name}.svc.cluster.local:{port}/v2/models/toy/infer"), (
            address
        )

    def test_another_runtime_takes_over_and_nothing_of_seldon_stays(
        self, serving: Any, toys: ToyNamespace, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.READY)
        moving = serving_of(toys.kube, toy_system(runtime="Deployment"), toys.names, SETTINGS, None)
        assert isinstance(moving, MovingServing)
        before = serving.endpoint(V1)
        gateway = StillGateway({V1: before})
        try:
            wait_until(lambda: not moving.move(gateway))
            assert gateway.told[V1] not in (None, before)
            assert moving.readiness() == {V1: Readiness.READY}
            [inferred] = toys.ask(port_of(moving.endpoint(V1)), [("/v2/models/toy/infer", INFER)])
            assert inferred["model_version"] == "v1"
            assert not toys.kube.list("SeldonDeployment", toys.name)
            labels = {ID_LABEL: EXISTS}
            wait_until(lambda: not toys.kube.list("Deployment", toys.name, labels=labels))
        finally:
            moving.retire(V1)

    def test_the_state_of_the_seldon_deployment_is_not_believed(
        self, serving: Any, toys: ToyNamespace, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.READY)
        name = toys.names.model(V1)
        stale = {"status": {"state": "Failed", "description": "of an earlier generation"}}
        toys.kube.patch("SeldonDeployment", name, toys.name, stale, sub="status")
        assert serving.readiness()[V1] is Readiness.READY

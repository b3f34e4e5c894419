"""Versions as SeldonDeployments in a real cluster, made into pods by Seldon's operator or by its stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import upstream
from cluster.serving_claims import V1, ServingInACluster
from cluster.toy_versions import INFER, ToyBento, ToyNamespace
from contract.suites.serving import WaitUntil

from capstan.adapters.kube_client import KubeClient
from capstan.adapters.seldon_serving import SeldonServing, predictor_service
from capstan.domain.versions import ModelVersion, Readiness
from capstan.ports.serving import Endpoint

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

    def test_the_state_of_the_seldon_deployment_is_not_believed(
        self, serving: Any, toys: ToyNamespace, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.READY)
        name = toys.names.model(V1)
        stale = {"status": {"state": "Failed", "description": "of an earlier generation"}}
        toys.kube.patch("SeldonDeployment", name, toys.name, stale, sub="status")
        assert serving.readiness()[V1] is Readiness.READY

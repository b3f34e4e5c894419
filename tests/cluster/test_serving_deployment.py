"""Versions as plain Deployments in a real cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cluster.serving_claims import ServingInACluster, Tuned
from cluster.toy_versions import ToyBento, ToyNamespace

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.serving import DeploymentServing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> ToyBento:
    return ToyBento.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def toys(kube: KubeClient, new_namespace: Callable[[], str], bento: ToyBento) -> ToyNamespace:
    toys = ToyNamespace(kube, new_namespace())
    toys.prepare({f"bentos/{bento.tag.replace(':', '/')}.tar": bento.tar})
    return toys


class TestDeploymentServing(ServingInACluster):
    runtime = "Deployment"

    def test_it_is_a_plain_deployment(self, serving: Any) -> None:
        assert isinstance(serving, DeploymentServing)

    def test_an_edited_file_reaches_what_runs(self, tuned: Tuned, toys: ToyNamespace, version: Any) -> None:
        tuned(replicas={"min": 1, "max": 3}).deploy(version)
        name = toys.names.model(version.name)
        assert toys.kube.get("HorizontalPodAutoscaler", name, toys.name) is not None
        tuned(replicas={"min": 2}, environment=[{"name": "COLOUR", "value": "blue"}]).settle()
        assert toys.kube.get("HorizontalPodAutoscaler", name, toys.name) is None
        found = toys.kube.get("Deployment", name, toys.name)
        assert found is not None
        assert found["spec"]["replicas"] == 2
        assert {"name": "COLOUR", "value": "blue"} in found["spec"]["template"]["spec"]["containers"][0][
            "env"
        ]

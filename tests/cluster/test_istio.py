"""Traffic over Istio in a real cluster: real API server and definitions; Seldon's operator, or its stand-in.

Istio itself is not installed: what its proxies would obey is read from the VirtualService.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster import seldon_rules, upstream
from cluster.routed_system import V3, Forwarding, RoutedSystem
from cluster.toy_versions import SETTINGS, ToyNamespace, toy_system, wait_until

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.serving import Artifact, VersionObjects
from capstan.adapters.seldon.istio import SeldonIstio, SharedDeployment
from capstan.cluster.names import MODEL_PORT, ROUTER_PORT, VERSION_LABEL
from capstan.cluster.objects.access import access
from capstan.cluster.objects.pods import container, http_probe, pod
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.traffic.istio import istio_of, shared_predictor
from capstan.domain.drawn_shares import read_shares
from capstan.domain.traffic import Arm, TrafficSplit, Weight, champion_only
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, VersionName
from capstan.errors import NotAllowedError, UnavailableError
from capstan.ports.kube import Object
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import ALONE, CANARY, SHADOW, V1, V2, TrafficContract

pytestmark = pytest.mark.slow
MODEL = Path(__file__).parent / "gateway" / "model.py"


@pytest.fixture(scope="module")
def toys(kube: KubeClient, new_namespace: Callable[[], str]) -> Iterator[ToyNamespace]:
    toys = ToyNamespace(kube, new_namespace())
    script = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "model", "namespace": toys.name}}
    kube.apply({**script, "data": {"model.py": MODEL.read_text()}})
    kube.apply(access(toy_system(), toys.names, SETTINGS, None)[0])
    with upstream.seldon_operator(kube, toys.name):
        yield toys


@pytest.fixture
def traffic(kube: KubeClient, toys: ToyNamespace) -> Iterator[SeldonIstio]:
    provider = istio(kube, toys)
    yield provider
    for name in provider.readiness():
        provider.retire(name)
    wait_until(lambda: kube.get("VirtualService", "toy", toys.name) is None)


@pytest.fixture
def endpoints(traffic: SeldonIstio, toys: ToyNamespace) -> Mapping[VersionName, Endpoint]:
    for name in (V1, V2):
        traffic.deploy(version(name))
    ready = {V1: Readiness.READY, V2: Readiness.READY}
    wait_until(lambda: traffic.readiness() == ready and traffic.read_back() == ALONE, toys.story)
    found = {name: traffic.endpoint(name) for name in (V1, V2)}
    return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


class TestSeldonIstio(TrafficContract):
    """The suite that Envoy keeps."""


@pytest.mark.parametrize(("document", "rule"), seldon_rules.BROKEN.values(), ids=seldon_rules.BROKEN.keys())
def test_seldons_rules_are_kept_by_the_api_server(toys: ToyNamespace, document: Object, rule: str) -> None:
    assert rule in upstream.try_out(toys.name, document)


@pytest.mark.parametrize("document", seldon_rules.SOUND.values(), ids=seldon_rules.SOUND.keys())
def test_what_seldons_rules_allow_is_taken(toys: ToyNamespace, document: Object) -> None:
    assert upstream.try_out(toys.name, document) == ""


def test_a_step_that_istio_cannot_do_is_refused_before_anything_runs(
    kube: KubeClient, toys: ToyNamespace, endpoints: Mapping[VersionName, Endpoint]
) -> None:
    before = kube.get("SeldonDeployment", "toy", toys.name)
    strict = istio(kube, toys, hides_failures=True)
    with pytest.raises(NotAllowedError, match=r"serving\.traffic\.failures Bounded"):
        strict.apply(CANARY, endpoints)
    assert strict.refusal(SHADOW) is None
    after = kube.get("SeldonDeployment", "toy", toys.name)
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


def test_a_challenger_that_falls_over_is_rolled_back_by_removing_it(
    kube: KubeClient, toys: ToyNamespace, traffic: SeldonIstio, endpoints: Mapping[VersionName, Endpoint]
) -> None:
    traffic.apply(CANARY, endpoints)
    found = kube.get("SeldonDeployment", "toy", toys.name)
    assert found is not None
    predictors = found["spec"]["predictors"]
    predictors[1]["componentSpecs"][0]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] = "/no"
    kube.patch("SeldonDeployment", "toy", toys.name, {"spec": {"predictors": predictors}})
    wait_until(lambda: is_rolling(kube, toys, V2), toys.story)
    more = TrafficSplit((Arm(V1, Weight(50)), Arm(V2, Weight(50))), salt=CANARY.salt)
    with pytest.raises(UnavailableError, match="does not follow yet"):
        istio(kube, toys, settles_seconds=3.0).apply(more, endpoints)
    assert traffic.read_back() not in (CANARY, more, ALONE)
    traffic.apply(ALONE, endpoints)
    assert traffic.read_back() == ALONE
    assert set(traffic.readiness()) == {V1}
    [answer] = toys.ask(endpoints[V1], [("/v2/models/toy/infer", {})])
    assert answer == {"version": "v1"}


def test_a_former_champion_stays_warm_until_it_is_retired(
    traffic: SeldonIstio, toys: ToyNamespace, endpoints: Mapping[VersionName, Endpoint]
) -> None:
    traffic.apply(CANARY, endpoints)
    promoted = champion_only(V2)
    traffic.apply(promoted, endpoints)
    assert traffic.readiness() == {V1: Readiness.READY, V2: Readiness.READY}
    traffic.retire(V1)
    wait_until(lambda: traffic.read_back() == promoted and set(traffic.readiness()) == {V2}, toys.story)


def test_the_real_predictor_is_accepted_as_it_is_rendered(kube: KubeClient, toys: ToyNamespace) -> None:
    system = toy_system(traffic={"provider": "Istio"})
    provider = istio_of(kube, system, toys.names, ClusterSettings(), None, "executor-token")
    provider.deploy(version(V1))
    kept = kube.get("SeldonDeployment", "toy", toys.name)
    assert kept is not None
    artifact = Artifact(version(V1).bento_tag, version(V1).digest)
    rendered = shared_predictor(
        system, toys.names, ClusterSettings(), V1, artifact, "executor-token", shadow=False
    )
    assert pruned(kept["spec"]["predictors"][0], rendered) == []
    provider.retire(V1)


@pytest.mark.timeout(600)
def test_a_router_learns_an_arm_that_dies_leaves_its_graph_alone_and_the_best_version_is_promoted(
    kube: KubeClient, toys: ToyNamespace
) -> None:
    """Hundreds of requests through a whole graph; a further arm ends in it, and the step goes on without it."""
    with httpx.Client(transport=Forwarding(kube, toys.name, ROUTER_PORT)) as http:
        routed = RoutedSystem(kube, toys.name, http)
        routed.start()
        with routed.engine() as engine:

            def until(reason: str) -> bool:
                engine.reconcile(routed.names.system)
                return reason in routed.told()

            wait_until(lambda: until("StepStarted"), routed.story)
            with routed.users() as users:
                assert {shares for _, shares in users.visit(20)} == {"v1=34 v2=33 v3=33"}
                # What is told, what is drawn and what is recorded are the same, whenever the router is told.
                deadline = time.monotonic() + 240
                while not (moves := routed.rollout().moves) or moves[-1].weights[V2] < 60:
                    assert time.monotonic() < deadline, routed.story()
                    users.visit(20)
                    engine.reconcile(routed.names.system)
                    engine.reconcile(routed.names.system)
                drawn = users.visit(1)[0][1]
                assert read_shares(drawn) == routed.rollout().moves[-1].weights
                before = routed.rollout()
                routed.kill(V3)
                wait_until(lambda: until("ArmLeft"), routed.story, 60)

                def leads(predictor: str) -> bool:
                    engine.reconcile(routed.names.system)
                    return routed.way() == {predictor: 100}

                wait_until(lambda: leads("v1"), routed.story, 60)

                def is_whole_again() -> bool:
                    engine.reconcile(routed.names.system)
                    way = routed.way()
                    assert way == {"v1": 100} or routed.is_graph_available(), routed.story()
                    return way == {"arms": 100}

                wait_until(is_whole_again, routed.story)
            after = routed.rollout()
            assert after.left.keys() == {V3}
            # The step goes on with all that was learned.
            assert (after.step_since, after.crashes) == (before.step_since, 0)
            assert [move.batch for move in after.moves][: len(before.moves)] == [
                move.batch for move in before.moves
            ]
            assert not {"ChallengerLost", "TrafficRestored"} & set(routed.told())
            with routed.users(users.asked) as users:
                met = users.visit(40)
                assert V3 not in {name for name, _ in met}
                assert {**(read_shares(met[-1][1]) or {}), V3: 0} == routed.rollout().moves[-1].weights
                deadline = time.monotonic() + 120
                while "Promoting" not in routed.told():
                    assert time.monotonic() < deadline, routed.story()
                    users.visit(20)
                    engine.reconcile(routed.names.system)
            assert routed.told().count("StepStarted") == 1
            wait_until(lambda: until("Promoted"), routed.story, 120)
        found = kube.get("SeldonDeployment", "toy", toys.name)
        assert found is not None
        assert "arms" not in {one["name"] for one in found["spec"]["predictors"]}
        assert routed.traffic.read_back() == champion_only(V2)
        for name in routed.traffic.readiness():
            routed.traffic.retire(name)


def istio(
    kube: KubeClient, toys: ToyNamespace, *, hides_failures: bool = False, settles_seconds: float = 60.0
) -> SeldonIstio:
    """Over small predictors, ready in a moment: becoming a shadow, or ceasing to be one, makes pods anew."""
    names = toys.names
    metadata = names.metadata(str(names.system), names.labels("model"), None)
    versions = VersionObjects(
        names.namespace, names.selector("model"), VERSION_LABEL, lambda _: "toy", lambda *_: ()
    )
    return SeldonIstio(
        kube,
        SharedDeployment(metadata, {"protocol": "v2"}, lambda *asked: small(toys, *asked), MODEL_PORT),
        versions,
        sticky=False,
        hides_failures=hides_failures,
        settles_seconds=settles_seconds,
    )


def small(toys: ToyNamespace, name: VersionName, artifact: Artifact, shadow: bool) -> Object:
    serve = container(
        "model",
        SETTINGS.images.operator,
        SETTINGS.images,
        ("python", "/script/model.py"),
        env=[{"name": "CAPSTAN_VERSION", "value": str(name)}],
        ports={"http": MODEL_PORT},
        mounts=[{"name": "script", "mountPath": "/script"}],
        resources={"requests": {"cpu": "10m", "memory": "32Mi"}},
        readinessProbe=http_probe("/v2/health/ready", "http", period_seconds=1),
    )
    script = {"name": "script", "configMap": {"name": "model"}}
    component = {
        "metadata": {"labels": toys.names.version_labels(name), "annotations": artifact.annotations},
        "spec": pod(toys.names, SETTINGS, [serve], volumes=[script], grace_seconds=1),
        "replicas": 1,
    }
    graph = {"name": "model", "type": "MODEL", "implementation": "UNKNOWN_IMPLEMENTATION"}
    annotations = {"version": str(name), "seldon.io/no-engine": "true"}
    return {"name": str(name), "annotations": annotations, "graph": graph, "componentSpecs": [component]}


def version(name: VersionName) -> ModelVersion:
    digest = Digest(f"sha256:{'a' * 64}")
    return ModelVersion(name, digest, RunName("run-1"), "toy:0123", datetime(2013, 2, 1, tzinfo=UTC))


def is_rolling(kube: KubeClient, toys: ToyNamespace, name: VersionName) -> bool:
    """Whether a pod that never becomes ready has been made beside the one that answers."""
    labels = {**toys.names.selector("model"), VERSION_LABEL: str(name)}
    [found] = kube.list("Deployment", toys.name, labels=labels)
    return bool(found["status"].get("unavailableReplicas"))


def pruned(kept: Any, sent: Any, path: str = "") -> list[str]:
    """What was sent and is not kept: the definition does not know it."""
    if isinstance(sent, dict):
        missing = [f"{path}.{key}" for key in sent if key not in kept]
        return missing + [
            each for key in sent if key in kept for each in pruned(kept[key], sent[key], f"{path}.{key}")
        ]
    if isinstance(sent, list):
        return [each for i, item in enumerate(sent) for each in pruned(kept[i], item, f"{path}[{i}]")]
    return []

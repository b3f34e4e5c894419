"""Which runtime a system gets, and what its versions look like as objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml
from cluster.seldon_stand_in import made_of
from cluster.toy_versions import toy_system

from capstan.adapters.kubernetes.client import RESOURCES
from capstan.adapters.kubernetes.serving import Artifact, DeploymentServing, VersionObjects
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.adapters.seldon.serving import SeldonServing, container_service, predictor_service
from capstan.cluster.moving import MovingServing
from capstan.cluster.names import MODEL_PORT, VERSION_LABEL, Owner, SystemNames
from capstan.cluster.objects.access import access
from capstan.cluster.objects.model import model
from capstan.cluster.objects.routed_graph import graph_policy, routed_graph
from capstan.cluster.objects.seldon import seldon
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.wiring.serving import running_runtime, runtime_of, serving_of
from capstan.cluster.wiring.traffic import TRAFFIC, wire_traffic
from capstan.cluster.wiring.traffic.istio import shared_predictor
from capstan.cluster.wiring.traffic.provider import Surroundings
from capstan.domain.rollout import RolloutState
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.verdicts.bandits import BanditRule, Policy
from capstan.domain.verdicts.experiments import Better
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.engine.policies import rollout_policy
from capstan.errors import InvalidSpecError
from capstan.ports.serving import Endpoint
from capstan.spec import parse
from capstan.spec.providers import PROVIDERS, Provider

GOLDEN = Path(__file__).parent / "objects"
NAMES = SystemNames("team", SystemName("toy"))
OWNER = Owner("toy", "uid-1")
V3 = VersionName("v3")
ARTIFACT = Artifact("toy:0123", Digest(f"sha256:{'ab' * 32}"))
IMAGES = Images(operator="capstan-operator:1", serving="capstan-serving:1", pull_secrets=("registry",))
STORAGE = ClusterSettings(
    images=IMAGES,
    artifacts="s3://capstan/artifacts?endpoint_override=object-storage.capstan-system.svc:9000&scheme=http",
    artifact_keys=Path("/keys"),
)
VOLUME = ClusterSettings(images=IMAGES, seldon_executor=False)
BUSY = {
    "replicas": {"min": 2, "max": 4},
    "targetCpu": "70%",
    "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "192Mi"}},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "environment": [
        {"name": "COLOUR", "value": "blue"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "key"}}},
    ],
}
RENDERS: dict[str, Any] = {
    "deployment": lambda: model(toy_system(), NAMES, VOLUME, OWNER, V3, ARTIFACT),
    "deployment-scaled": lambda: model(toy_system(**BUSY), NAMES, STORAGE, OWNER, V3, ARTIFACT),
    "seldon": lambda: seldon(toy_system(), NAMES, VOLUME, OWNER, V3, ARTIFACT),
    "seldon-scaled": lambda: seldon(toy_system(**BUSY), NAMES, STORAGE, OWNER, V3, ARTIFACT),
    "seldon-routed": lambda: routed(STORAGE),
    "access": lambda: access(
        toy_system(), NAMES, STORAGE, OWNER, {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    ),
    "access-volume": lambda: access(toy_system(), NAMES, VOLUME, OWNER),
}


def routed(settings: ClusterSettings) -> list[Any]:
    """A router between two versions, as one predictor, and who may talk to its pods."""
    step = BanditStep(
        Outcome("bookings", Better.HIGHER, timedelta(hours=1), timedelta(0), is_loss=False, is_share=True),
        BanditRule(Policy.UCB1, floor=10, is_binary=True),
        by_request=True,
    )
    artifacts = dict.fromkeys((VersionName("v1"), V3), ARTIFACT)
    system = toy_system(replicas={"min": 1, "max": 3})
    made = routed_graph(system, NAMES, settings, step, artifacts, {"mode": "all", "url": "http://c"})
    return [
        {"kind": "SeldonDeployment", "spec": {"predictors": [made]}},
        graph_policy(NAMES, settings, OWNER),
    ]


@pytest.mark.parametrize("name", RENDERS)
def test_objects_are_as_reviewed(name: str) -> None:
    """After a wanted change: REWRITE_OBJECTS=1, then read the diff."""
    text = yaml.safe_dump_all(RENDERS[name](), sort_keys=False, width=110)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("REWRITE_OBJECTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text


def _pods(name: str) -> list[Any]:
    found = []
    for document in RENDERS[name]():
        if document["kind"] == "Deployment":
            found.append(document["spec"]["template"]["spec"])
        elif document["kind"] == "SeldonDeployment":
            found += [
                component["spec"]
                for predictor in document["spec"]["predictors"]
                for component in predictor["componentSpecs"]
            ]
    return found


@pytest.mark.parametrize(
    "name", ["deployment", "deployment-scaled", "seldon", "seldon-scaled", "seldon-routed"]
)
def test_every_pod_meets_pod_security_restricted(name: str) -> None:
    for pod in _pods(name):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True


def test_keys_of_the_object_storage_reach_the_fetch_alone() -> None:
    [pod] = _pods("deployment-scaled")
    [fetch], [serve] = pod["initContainers"], pod["containers"]
    assert fetch["envFrom"] == [{"secretRef": {"name": NAMES.artifact_keys}}]
    assert "envFrom" not in serve
    assert "AWS" not in yaml.safe_dump(serve)


def test_a_variable_of_the_file_never_replaces_one_of_ours() -> None:
    system = toy_system(environment=[{"name": "OMP_NUM_THREADS", "value": "64"}])
    [deployment, *_] = model(system, NAMES, VOLUME, OWNER, V3, ARTIFACT)
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [entry["value"] for entry in env if entry["name"] == "OMP_NUM_THREADS"] == ["1"]


def test_an_image_of_its_own_needs_no_fetch() -> None:
    images = IMAGES.model_copy(update={"version": "ghcr.io/me/{system}:{digest}"})
    settings = STORAGE.model_copy(update={"images": images})
    [deployment, *_] = model(toy_system(), NAMES, settings, OWNER, V3, ARTIFACT)
    pod = deployment["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert pod["containers"][0]["image"] == "ghcr.io/me/toy:abababababab"
    assert {"name": "CAPSTAN_DIGEST", "value": ARTIFACT.digest} in pod["containers"][0]["env"]


@pytest.mark.parametrize(
    ("wanted", "has_seldon", "running", "expected"),
    [
        ("Automatic", True, None, "Seldon"),
        ("Automatic", False, None, "Deployment"),
        ("Automatic", True, "Deployment", "Deployment"),
        ("Automatic", True, "Seldon", "Seldon"),
        ("Seldon", True, None, "Seldon"),
        ("Seldon", False, None, None),
        ("Deployment", True, None, "Deployment"),
        ("Deployment", True, "Seldon", "Deployment"),
        ("Seldon", True, "Deployment", "Seldon"),
        ("Deployment", False, "Deployment", "Deployment"),
    ],
)
def test_seldon_runs_versions_where_it_is_installed_and_nothing_runs_without_it(
    wanted: str, has_seldon: bool, running: Any, expected: str | None
) -> None:
    system = toy_system(runtime=wanted)
    if expected is None:
        with pytest.raises(InvalidSpecError, match=r"spec\.serving\.runtime"):
            runtime_of(system, has_seldon=has_seldon, running=running)
    else:
        assert runtime_of(system, has_seldon=has_seldon, running=running) == expected


@pytest.mark.parametrize("without", [(), ("SeldonDeployment",)], ids=["Seldon", "no Seldon"])
def test_what_runs_is_found_again_by_a_serving_made_afresh(without: tuple[str, ...]) -> None:
    kube = MemoryKube(without=without)
    from datetime import UTC, datetime

    from capstan.domain.versions import ModelVersion, RunName

    version = ModelVersion(V3, ARTIFACT.digest, RunName("r"), ARTIFACT.tag, datetime(2013, 1, 1, tzinfo=UTC))
    serving_of(kube, toy_system(), NAMES, VOLUME, OWNER).deploy(version)
    again = serving_of(kube, toy_system(), NAMES, VOLUME, OWNER)
    assert list(again.readiness()) == [V3]
    assert again.endpoint(V3) is not None
    again.retire(V3)
    assert again.readiness() == {}
    assert again.endpoint(V3) is None
    for kind in ("Deployment", "Service", "SeldonDeployment"):
        assert not kube.list(kind, "team")


class StillGateway:
    """Sends where it was told last."""

    def __init__(self) -> None:
        self.told: dict[VersionName, Endpoint] = {}

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        assert split == champion_only(V3)
        self.told = dict(endpoints)

    def read_back(self) -> TrafficSplit | None:
        return champion_only(V3)

    def endpoints(self) -> Mapping[VersionName, Endpoint | None]:
        return dict(self.told)


def become_ready(kube: MemoryKube, name: str) -> None:
    status = {"observedGeneration": 1, "availableReplicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    kube.patch("Deployment", name, "team", {"status": status}, sub="status")


def made_by_seldon(kube: MemoryKube) -> None:
    """What its operator makes of a SeldonDeployment."""
    [wanted] = kube.list("SeldonDeployment", "team")
    for document in made_of(wanted):
        kube.apply(document, manager="seldon")


HERE = Owner("toy", "uid-of-toy")
VERSION = ModelVersion(V3, ARTIFACT.digest, RunName("r"), ARTIFACT.tag, datetime(2013, 1, 1, tzinfo=UTC))


def test_another_runtime_takes_over_what_seldon_ran_and_leaves_nothing_of_it() -> None:
    kube, gateway = MemoryKube(), StillGateway()
    by_seldon = serving_of(kube, toy_system(runtime="Seldon"), NAMES, VOLUME, HERE)
    by_seldon.deploy(VERSION)
    made_by_seldon(kube)
    become_ready(kube, "toy-v3-v3-0-toy")
    assert by_seldon.readiness() == {V3: Readiness.READY}
    gateway.told = {V3: Endpoint("toy-v3-v3-toy.team.svc", 3000)}
    moving = serving_of(kube, toy_system(runtime="Deployment"), NAMES, VOLUME, HERE)
    assert isinstance(moving, MovingServing)
    moving._clock = lambda: clock[0]
    clock = [0.0]
    assert moving.move(gateway)
    assert kube.get("Deployment", "toy-v3", "team") is not None
    assert moving.readiness() == {V3: Readiness.READY}, "Seldon's still serves"
    assert moving.endpoint(V3) == gateway.told[V3]
    become_ready(kube, "toy-v3")
    assert moving.move(gateway)
    assert gateway.told == {V3: Endpoint("toy-v3.team.svc", 3000)}
    assert moving.move(gateway)
    assert kube.list("SeldonDeployment", "team"), "requests may be under way"
    clock[0] += 10.0
    assert not moving.move(gateway)
    assert not kube.list("SeldonDeployment", "team")
    assert moving.readiness() == {V3: Readiness.READY}
    again = serving_of(kube, toy_system(runtime="Deployment"), NAMES, VOLUME, HERE)
    assert isinstance(again, DeploymentServing)


def test_seldon_takes_over_what_deployments_ran_and_leaves_nothing_of_them() -> None:
    kube, gateway = MemoryKube(), StillGateway()
    serving_of(kube, toy_system(runtime="Deployment"), NAMES, VOLUME, HERE).deploy(VERSION)
    become_ready(kube, "toy-v3")
    gateway.told = {V3: Endpoint("toy-v3.team.svc", 3000)}
    moving = serving_of(kube, toy_system(runtime="Seldon"), NAMES, VOLUME, HERE)
    assert isinstance(moving, MovingServing)
    clock = [0.0]
    moving._clock = lambda: clock[0]
    moving.move(gateway)
    made_by_seldon(kube)
    assert moving.endpoint(V3) == gateway.told[V3]
    become_ready(kube, "toy-v3-v3-0-toy")
    moving.move(gateway)
    assert gateway.told == {V3: Endpoint("toy-v3-v3-toy.team.svc", 3000)}
    moving.move(gateway)
    clock[0] += 10.0
    assert not moving.move(gateway)
    assert [one["metadata"]["name"] for one in kube.list("Deployment", "team")] == ["toy-v3-v3-0-toy"]
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
        assert not [one for one in kube.list(kind, "team") if one["metadata"]["name"] == "toy-v3"]
    assert kube.get("Service", "toy-v3", "team") is None


def test_a_seldon_deployment_of_which_nothing_was_made_does_not_stay_behind() -> None:
    kube, gateway = MemoryKube(), StillGateway()
    serving_of(kube, toy_system(runtime="Seldon"), NAMES, VOLUME, HERE).deploy(VERSION)
    moving = serving_of(kube, toy_system(runtime="Deployment"), NAMES, VOLUME, HERE)
    assert isinstance(moving, MovingServing)
    clock = [0.0]
    moving._clock = lambda: clock[0]
    moving.move(gateway)
    become_ready(kube, "toy-v3")
    moving.move(gateway)
    clock[0] += 10.0
    assert not moving.move(gateway)
    assert not kube.list("SeldonDeployment", "team")


def around(kube: MemoryKube) -> Surroundings:
    return Surroundings(kube, httpx.Client(), NAMES, VOLUME, HERE, {"internal": "token", "executor": "token"})


@pytest.mark.parametrize("mine", TRAFFIC)
@pytest.mark.parametrize("other", TRAFFIC)
def test_no_provider_takes_over_from_another_while_versions_run(mine: str, other: str) -> None:
    kube = MemoryKube()
    serving, _ = wire_traffic(toy_system(traffic={"provider": other}), around(kube))
    system = toy_system(traffic={"provider": mine})
    wire_traffic(system, around(kube))
    serving.deploy(VERSION)
    if mine == other:
        wire_traffic(system, around(kube))
        return
    with pytest.raises(InvalidSpecError, match=rf"provider: '{mine}' cannot take over from {other}"):
        wire_traffic(system, around(kube))


def test_every_provider_of_the_file_is_wired() -> None:
    assert set(TRAFFIC) == set(PROVIDERS) == set(get_args(Provider))
    for name, row in TRAFFIC.items():
        assert row.facts is PROVIDERS[name]
        assert all(kind in RESOURCES for kind in row.facts.kinds)


def test_the_runtime_of_what_runs_is_told_by_its_label() -> None:
    assert running_runtime([]) is None
    assert running_runtime([{"metadata": {"labels": {}}}]) == "Deployment"
    assert running_runtime([{"metadata": {"labels": {"seldon-deployment-id": "toy-v1"}}}]) == "Seldon"


def test_services_are_called_what_seldon_calls_them() -> None:
    """As its types do: the name itself, or its MD5 behind `seldon-` where it has more than 63 letters."""
    assert container_service("toy-v3", "v3", "model") == "toy-v3-v3-model"
    assert predictor_service("toy-v3", "v3") == "toy-v3-v3"
    long = container_service(f"{'a' * 60}-v3", "v3", "model")
    assert long.startswith("seldon-")
    assert len(long) == len("seldon-") + 32


def test_a_seldon_deployment_of_which_nothing_is_made_is_told_after_a_while() -> None:
    kube, settled = MemoryKube(), datetime(2026, 3, 1, tzinfo=UTC)
    clock = [settled]
    objects = VersionObjects(
        "team",
        NAMES.selector("model"),
        VERSION_LABEL,
        NAMES.model,
        lambda version, artifact: seldon(toy_system(), NAMES, VOLUME, OWNER, version, artifact),
        MODEL_PORT,
    )
    serving = SeldonServing(kube, objects, "toy", now=lambda: clock[0])
    serving.deploy(ModelVersion(V3, ARTIFACT.digest, RunName("run"), ARTIFACT.tag, settled))
    made = {"metadata": {"creationTimestamp": settled.isoformat()}}
    kube.patch("SeldonDeployment", NAMES.model(V3), "team", made)
    clock[0] += timedelta(seconds=10)
    assert serving.troubles() == {}
    clock[0] += timedelta(seconds=15)
    assert "is Seldon's operator running" in serving.troubles()[V3]
    assert serving.readiness() == {V3: Readiness.STARTING}


def with_bandit(provider: str = "Istio", **bandit: object) -> Any:
    system = toy_system(traffic={"provider": provider, "failures": "Bounded"})
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["rollout"] = {"steps": [{"bandit": bandit}]}
    return parse(document, base_dir=Path())


def system_with_router() -> Any:
    return with_bandit(per="Request", cap=3, policy="UCB1")


@pytest.mark.parametrize("provider", ["Envoy", "Istio"])
def test_a_bandit_per_batch_goes_by_who_answered_where_the_gateway_tells_no_arm(provider: str) -> None:
    system = with_bandit(provider, batch="1h")
    [step] = rollout_policy(system).steps
    assert isinstance(step, BanditStep)
    expected = (True, timedelta(minutes=1)) if provider == "Istio" else (False, timedelta(0))
    assert (step.by_version, step.settles) == expected
    split = step.split(VersionName("v1"), V3, "s", RolloutState.at_step(0))
    assert wire_traffic(system, around(MemoryKube()))[1].refusal(split) is None


def test_one_budget_covers_all_pods_behind_istio_and_every_component_of_a_graph_scales() -> None:
    system = toy_system(replicas={"min": 1, "max": 3}, traffic={"provider": "Istio", "failures": "Bounded"})
    [graph, _] = routed(STORAGE)
    alone = shared_predictor(system, NAMES, ClusterSettings(), V3, ARTIFACT, "token", shadow=False)
    shared = {
        "metadata": {"name": "toy", "namespace": "team", "uid": "u"},
        "apiVersion": "v1",
        "kind": "SeldonDeployment",
        "spec": {"predictors": [alone, *graph["spec"]["predictors"]]},
    }
    made = made_of(shared)
    count = {
        kind: sum(one["kind"] == kind for one in made) for kind in ("Deployment", "HorizontalPodAutoscaler")
    }
    assert count == {"Deployment": 4, "HorizontalPodAutoscaler": 4}
    [budget] = [
        one
        for one in [*made, *TRAFFIC["Istio"].objects(system, NAMES, ClusterSettings(), OWNER)]
        if one["kind"] == "PodDisruptionBudget"
    ]
    for one in made:
        if one["kind"] == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_system_with_a_router_has_its_graph_and_lets_the_operator_at_it() -> None:
    system = system_with_router()
    kube = MemoryKube()
    split = rollout_policy(system).steps[0].split(VersionName("v1"), V3, "s", RolloutState.at_step(0))
    assert split is not None

    def refusal(settings: ClusterSettings, token: str = "secret") -> str | None:
        around = Surroundings(
            kube, httpx.Client(), NAMES, settings, OWNER, {"internal": token, "executor": "path"}
        )
        return wire_traffic(system, around)[1].refusal(split)

    assert refusal(ClusterSettings()) is None
    assert "seldonExecutor: false" in str(refusal(VOLUME))
    names = {
        document["metadata"]["name"]
        for document in TRAFFIC["Istio"].objects(system, NAMES, ClusterSettings(), OWNER)
    }
    assert "toy-graph" in names
    plain = toy_system(traffic={"provider": "Istio"})
    assert len(TRAFFIC["Istio"].objects(plain, NAMES, ClusterSettings(), OWNER)) == len(names) - 1

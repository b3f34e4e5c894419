"""Claims about Seldon over Istio, made with what Seldon's operator was seen to do and an API server of dicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cluster import upstream
from cluster.seldon_rules import BROKEN, SOUND, refusals
from cluster.seldon_stand_in import StandIn

from capstan.adapters.kubernetes.serving import Artifact, VersionObjects
from capstan.adapters.seldon.istio import GRAPH, RoutedGraph, SeldonIstio, SharedDeployment
from capstan.artifacts.fetch import REFUSED
from capstan.domain.traffic import Arm, ArmRewards, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, VersionName
from capstan.errors import CapstanError, NotAllowedError, UnavailableError
from capstan.ports.kube import EXISTS, Object
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import ALONE, CANARY, SHADOW, TrafficContract

V1, V2, V3 = VersionName("v1"), VersionName("v2"), VersionName("v3")
NAME, NAMESPACE, VERSION = "flights", "here", "capstan.dev/version"
LABELS = {"app.kubernetes.io/name": "model"}


@dataclass
class Dicts:
    """Keeps what is applied; its Deployments are ready at once, but those in `stuck`.

    A router's pod is ready only while every version of its graph is, since Seldon's executor beside it asks them all.
    """

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    stuck: set[VersionName] = field(default_factory=set)
    applied: list[str] = field(default_factory=list)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        found = self.objects.get((kind, name))
        return self._seen(found) if found is not None else None

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        def fits(document: Object) -> bool:
            own = document["metadata"].get("labels", {})
            wanted = (labels or {}).items()
            return all(key in own if value is EXISTS else own.get(key) == value for key, value in wanted)

        return [self._seen(found) for (k, _), found in self.objects.items() if k == kind and fits(found)]

    def apply(self, document: Object, *, manager: str = "capstan") -> Object:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind == "SeldonDeployment" and (broken := refusals(document)):
            raise CapstanError(f"admission webhook denied the request: {broken}")
        if manager == "capstan":
            self.applied.append(name)
        before = self.objects.get((kind, name))
        made = copy.deepcopy(document)
        same = before is not None and before.get("spec") == made.get("spec")
        generation = before["metadata"]["generation"] + (not same) if before is not None else 1
        made["metadata"] |= {"uid": f"uid-{name}", "generation": generation}
        self.objects[kind, name] = made
        return made

    def patch(self, kind: str, name: str, namespace: str, change: Object, *, sub: str = "") -> Object:
        self.objects[kind, name] |= change
        return self.objects[kind, name]

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        gone = self.objects.pop((kind, name), None)
        if gone is not None:
            uid = gone["metadata"]["uid"]
            for key, found in list(self.objects.items()):
                if any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences", ())):
                    del self.objects[key]

    def serves(self, kind: str) -> bool:
        return True

    def _seen(self, found: Object) -> Object:
        seen = copy.deepcopy(found)
        if seen["kind"] == "Deployment":
            labels = seen["metadata"]["labels"]
            name = f"{labels['part']} of the graph" if "part" in labels else labels[VERSION]
            ready = VersionName(name) not in self.stuck
            if labels.get("part") == "router":
                ready = ready and not self._stuck_children()
            seen["status"] = {
                "observedGeneration": seen["metadata"]["generation"],
                "updatedReplicas": 1,
                "readyReplicas": int(ready),
                "availableReplicas": int(ready),
                "unavailableReplicas": int(not ready),
            }
        return seen

    def _stuck_children(self) -> set[str]:
        graphs = [
            predictor["graph"]
            for (kind, _), found in self.objects.items()
            if kind == "SeldonDeployment"
            for predictor in found["spec"]["predictors"]
            if predictor["name"] == GRAPH
        ]
        children = {f"{child['name']} of the graph" for graph in graphs for child in graph["children"]}
        return children & self.stuck


class Router:
    """What the pods of the router were told; a pod that starts anew knows nothing."""

    def __init__(self) -> None:
        self.told: tuple[ArmRewards, ...] | None = None

    def tell(self, rewards: tuple[ArmRewards, ...]) -> None:
        self.told = rewards

    def knows(self, rewards: tuple[ArmRewards, ...]) -> bool:
        return self.told == rewards


class World:
    """Three versions of one system; Seldon's operator looks whenever somebody waits."""

    def __init__(self) -> None:
        self.kube = Dicts()
        self.operator = StandIn(self.kube)  # type: ignore[arg-type]
        self.router = Router()
        self.traffic = self.provider()

    def provider(
        self, *, sticky: bool = False, hides_failures: bool = False, routes: bool = True
    ) -> SeldonIstio:
        metadata = {"name": NAME, "namespace": NAMESPACE}
        versions = VersionObjects(
            NAMESPACE, LABELS, VERSION, lambda version: f"{NAME}-{version}", lambda *_: ()
        )
        return SeldonIstio(
            self.kube,  # type: ignore[arg-type]
            SharedDeployment(
                metadata,
                {"protocol": "v2"},
                predictor,
                8000,
                RoutedGraph(graph, {"app.kubernetes.io/name": "graph"}, "part", self.router)  # type: ignore[arg-type]
                if routes
                else None,
            ),
            versions,
            sticky=sticky,
            hides_failures=hides_failures,
            settles_seconds=2.0,
            sleep=lambda _: self.look(),
        )

    def look(self) -> None:
        self.operator.look(NAMESPACE)

    def deploy(self, *names: VersionName) -> None:
        for name in names:
            self.traffic.deploy(version(name))
            self.look()
            self.look()

    def predictors(self) -> dict[str, Any]:
        found = self.kube.get("SeldonDeployment", NAME)
        assert found is not None
        return {p["name"]: (p["traffic"], p.get("shadow", False)) for p in found["spec"]["predictors"]}

    def route(self) -> dict[str, int]:
        found = self.kube.get("VirtualService", NAME)
        assert found is not None
        return {each["destination"]["subset"]: each["weight"] for each in found["spec"]["http"][0]["route"]}


def version(name: VersionName) -> ModelVersion:
    digest = Digest(f"sha256:{'a' * 64}")
    return ModelVersion(
        name, digest, RunName(f"run-{name}"), f"flights:{name}", datetime(2013, 2, 1, tzinfo=UTC)
    )


def predictor(name: VersionName, artifact: Artifact, shadow: bool) -> Object:
    component = {
        "metadata": {"labels": {**LABELS, VERSION: str(name)}, "annotations": artifact.annotations},
        "spec": {"containers": [{"name": "model", "image": "model"}]},
        "replicas": 1,
    }
    graph = {
        "name": "model",
        "type": "MODEL",
        "logger": {"mode": "all", "url": "shadow" if shadow else "live"},
    }
    return {"name": str(name), "graph": graph, "componentSpecs": [component]}


def graph(artifacts: Mapping[VersionName, Artifact]) -> Object:
    """A router before the versions, each with pods of its own that are none of the version's."""
    parts = [("router", {}), *((str(name), artifact.annotations) for name, artifact in artifacts.items())]
    return {
        "name": str(GRAPH),
        "graph": {
            "name": "router",
            "type": "ROUTER",
            "children": [{"name": str(name), "type": "MODEL"} for name in artifacts],
        },
        "componentSpecs": [
            {
                "metadata": {
                    "labels": {"app.kubernetes.io/name": "graph", "part": part},
                    "annotations": annotations,
                },
                "spec": {
                    "containers": [
                        {
                            "name": part,
                            "image": part,
                            "ports": [{"name": "http", "containerPort": 3000}],
                            "securityContext": {},
                        }
                    ]
                },
                "replicas": 1,
            }
            for part, annotations in parts
        ],
        "svcOrchSpec": {"resources": {}},
    }


@pytest.fixture
def world() -> World:
    return World()


class TestSeldonIstio(TrafficContract):
    @pytest.fixture
    def traffic(self, world: World) -> SeldonIstio:
        return world.traffic

    @pytest.fixture
    def endpoints(self, world: World) -> Mapping[VersionName, Endpoint]:
        world.deploy(V1, V2, V3)
        found = {name: world.traffic.endpoint(name) for name in (V1, V2, V3)}
        return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


def split(*weights: int, salt: str = "r1", mirrors: tuple[Mirror, ...] = ()) -> TrafficSplit:
    arms = zip((V1, V2, V3), weights, strict=False)
    return TrafficSplit(tuple(Arm(name, Weight(weight)) for name, weight in arms), mirrors, salt)


def test_a_version_joins_without_traffic_and_the_first_with_all(world: World) -> None:
    world.deploy(V1, V2)
    assert world.predictors() == {"v1": (100, False), "v2": (0, False)}
    assert world.traffic.readiness() == {V1: Readiness.READY, V2: Readiness.READY}
    assert world.traffic.endpoint(V2) == Endpoint("flights-v2.here.svc", 8000)
    assert world.traffic.endpoint(V3) is None
    assert world.traffic.read_back() == champion_only(V1)


def test_weights_and_shadow_are_those_of_the_split(world: World) -> None:
    world.deploy(V1, V2, V3)
    wanted = split(70, 30, mirrors=(Mirror(V3, Weight(50)),))
    world.traffic.apply(wanted, {})
    assert world.predictors() == {"v1": (70, False), "v2": (30, False), "v3": (50, True)}
    assert world.route() == {"v1": 70, "v2": 30}
    assert world.provider().read_back() == wanted


def test_only_a_predictor_that_becomes_a_shadow_or_ceases_to_be_one_is_made_anew(world: World) -> None:
    def logged() -> dict[str, str]:
        found = world.kube.get("SeldonDeployment", NAME)
        assert found is not None
        return {p["name"]: p["graph"]["logger"]["url"] for p in found["spec"]["predictors"]}

    world.deploy(V1, V2)
    world.kube.objects["SeldonDeployment", NAME]["spec"]["predictors"][0]["graph"]["logger"]["url"] = (
        "untouched"
    )
    world.traffic.apply(SHADOW, {})
    assert logged() == {"v1": "untouched", "v2": "shadow"}
    world.traffic.apply(CANARY, {})
    assert logged() == {"v1": "untouched", "v2": "live"}
    world.traffic.settle()
    assert logged() == {"v1": "live", "v2": "live"}
    assert world.traffic.read_back() == CANARY


def test_a_challenger_that_is_not_ready_is_removed_since_it_would_freeze_the_weights(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    world.kube.stuck.add(V2)
    world.look()
    world.traffic.apply(ALONE, {})
    assert world.predictors() == {"v1": (100, False)}
    assert world.route() == {"v1": 100}
    assert world.traffic.read_back() == ALONE


def test_a_former_champion_that_is_ready_stays_warm_at_no_weight(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    world.traffic.apply(champion_only(V2), {})
    assert world.predictors() == {"v2": (100, False), "v1": (0, False)}
    assert world.traffic.read_back() == champion_only(V2)
    world.traffic.retire(V1)
    world.look()
    assert world.traffic.read_back() == champion_only(V2)
    world.traffic.retire(V2)
    assert world.traffic.read_back() is None
    assert not world.kube.objects


@pytest.mark.parametrize(("gone", "left"), [(V1, V2), (V2, V1)], ids=["champion", "challenger"])
def test_the_share_of_a_version_that_is_retired_goes_to_the_other(
    world: World, gone: VersionName, left: VersionName
) -> None:
    """Seldon refuses a single predictor of 75 %."""
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    world.traffic.retire(gone)
    world.look()
    assert world.predictors() == {left: (100, False)}
    assert world.traffic.read_back() == champion_only(left)


def test_the_share_of_a_version_that_is_retired_goes_to_the_first_of_two(world: World) -> None:
    world.deploy(V1, V2, V3)
    world.traffic.apply(split(60, 30, 10), {})
    world.traffic.retire(V3)
    assert world.predictors() == {"v1": (70, False), "v2": (30, False)}
    world.traffic.retire(V1)
    assert world.predictors() == {"v2": (100, False)}


def test_the_champion_that_is_retired_leaves_its_users_to_one_that_is_warm(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.retire(V1)
    world.look()
    assert world.predictors() == {"v2": (100, False)}
    assert world.traffic.read_back() == champion_only(V2)


def test_a_shadow_alone_does_not_stay_behind(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(SHADOW, {})
    world.traffic.retire(V1)
    assert world.kube.get("SeldonDeployment", NAME) is None


@pytest.mark.parametrize(("document", "rule"), BROKEN.values(), ids=BROKEN.keys())
def test_seldons_webhook_refuses(document: Object, rule: str) -> None:
    assert rule in refusals(document)


@pytest.mark.parametrize("document", SOUND.values(), ids=SOUND.keys())
def test_seldons_webhook_takes(document: Object) -> None:
    assert refusals(document) == []


def operator_pod(*, phase: str = "Running", args: tuple[str, ...] = (), **variables: str) -> Object:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return {"spec": {"containers": [{"args": list(args), "env": env}]}, "status": {"phase": phase}}


FOLLOWS = {
    "everywhere": (operator_pod(WATCH_NAMESPACE=""), {}, True),
    "here by variable": (operator_pod(WATCH_NAMESPACE="here"), {}, True),
    "elsewhere by variable": (operator_pod(WATCH_NAMESPACE="seldon-system"), {}, False),
    "elsewhere by flag": (operator_pod(args=("--namespace=seldon-system",)), {}, False),
    "the variable is stronger": (operator_pod(args=("--namespace=x",), WATCH_NAMESPACE="here"), {}, True),
    "an empty flag": (operator_pod(args=("",)), {}, True),
    "by controller id": (operator_pod(CONTROLLER_ID="mine"), {}, False),
    "a namespace that is opted out": (operator_pod(), {"seldon.io/controller-id": "other"}, False),
    "it does not run": (operator_pod(phase="Pending"), {}, False),
}


@pytest.mark.parametrize(("pod", "labels", "follows"), FOLLOWS.values(), ids=FOLLOWS.keys())
def test_tests_use_a_real_seldon_only_if_it_follows_their_namespace(
    pod: Object, labels: dict[str, str], follows: bool
) -> None:
    assert upstream.follows(pod, "here", labels) is follows


def test_a_shadow_that_leaves_is_removed(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(SHADOW, {})
    world.traffic.apply(ALONE, {})
    assert world.predictors() == {"v1": (100, False)}


def test_a_frozen_change_is_neither_the_old_split_nor_the_new_one(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    world.kube.stuck.add(V2)
    more = replace(CANARY, arms=(Arm(V1, Weight(50)), Arm(V2, Weight(50))))
    with pytest.raises(UnavailableError, match="does not follow yet: v2 not ready"):
        world.traffic.apply(more, {})
    found = world.traffic.read_back()
    assert found not in (CANARY, more)
    assert found is not None
    assert found.versions == {V1, V2}
    world.kube.stuck.clear()
    world.traffic.apply(more, {})
    assert world.traffic.read_back() == more


def test_nothing_is_routed_to_a_version_that_is_not_ready(world: World) -> None:
    world.deploy(V1)
    world.kube.stuck.add(V2)
    world.deploy(V2)
    with pytest.raises(UnavailableError, match="v2 is not ready; nothing was routed"):
        world.traffic.apply(CANARY, {})
    assert world.predictors() == {"v1": (100, False), "v2": (0, False)}


def test_an_edit_by_hand_is_seen_and_put_back(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    edited = world.kube.objects["SeldonDeployment", NAME]
    edited["spec"]["predictors"][0]["traffic"], edited["spec"]["predictors"][1]["traffic"] = 5, 95
    assert world.traffic.read_back() != CANARY
    world.look()
    assert world.traffic.read_back() != CANARY
    world.traffic.apply(CANARY, {})
    assert world.traffic.read_back() == CANARY


def test_applying_and_deploying_what_is_so_writes_nothing(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    written = len(world.kube.applied)
    world.traffic.apply(CANARY, {})
    world.traffic.deploy(version(V2))
    assert len(world.kube.applied) == written


def test_another_experiment_with_the_same_weights_is_another_split(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(CANARY, {})
    other = replace(CANARY, salt="r2")
    assert world.traffic.read_back() != other
    world.traffic.apply(other, {})
    assert world.traffic.read_back() == other


TWO = (Mirror(V2, Weight(50)), Mirror(V3, Weight(50)))


@pytest.mark.parametrize(
    ("asked", "settings", "reason"),
    [
        (CANARY, {"sticky": True}, r"data\.keys\.stickyBy"),
        (CANARY, {"hides_failures": True}, r"serving\.traffic\.failures Bounded"),
        (split(100, mirrors=TWO), {}, "one shadow at a time"),
        (split(100, mirrors=(Mirror(V2, Weight(0)),)), {}, "0 % for one of 100 %"),
        (split(70), {}, "do not sum to 100"),
    ],
    ids=["sticky", "hidden failures", "two shadows", "shadow of nothing", "sum"],
)
def test_what_istio_cannot_do_is_refused_with_the_reason(
    world: World, asked: TrafficSplit, settings: dict[str, bool], reason: str
) -> None:
    world.deploy(V1, V2, V3)
    before = world.predictors()
    with pytest.raises(NotAllowedError, match=reason):
        world.provider(**settings).apply(asked, {})
    assert world.predictors() == before


@pytest.mark.parametrize("asked", [ALONE, SHADOW, champion_only(V2)], ids=["alone", "shadow", "promoted"])
def test_what_sends_no_user_to_a_second_version_is_never_refused(world: World, asked: TrafficSplit) -> None:
    assert world.provider(sticky=True, hides_failures=True).refusal(asked) is None


def test_an_arm_that_left_a_bandit_has_no_weight_and_need_not_run(world: World) -> None:
    world.deploy(V1, V2, V3)
    thirds = split(34, 33, 33)
    world.traffic.apply(thirds, {})
    left = replace(
        thirds, arms=(Arm(V1, Weight(67)), Arm(V2, Weight(33)), Arm(V3, Weight(0), is_vacant=True))
    )
    world.traffic.apply(left, {})
    assert world.predictors() == {"v1": (67, False), "v2": (33, False), "v3": (0, False)}
    world.traffic.retire(V3)
    world.look()
    assert world.traffic.read_back() == left
    moved = replace(left, arms=(Arm(V1, Weight(10)), Arm(V2, Weight(90)), left.arms[2]))
    world.traffic.apply(moved, {})
    assert world.route() == {"v1": 10, "v2": 90}
    assert world.traffic.read_back() == moved


def routed(count: int = 0, *further: VersionName, left: tuple[VersionName, ...] = ()) -> TrafficSplit:
    """Between v1, v2 and further versions, of which v2 has so many rewards; those that left are told to nobody."""
    names = (V1, V2, *further)
    arms = tuple(Arm(name, Weight(50 if name in (V1, V2) else 0), is_vacant=name in left) for name in names)
    rewards = {V2: ArmRewards(V2, count, 10**6 * count)}
    told = tuple(rewards.get(name, ArmRewards(name)) for name in names if name not in left)
    return TrafficSplit(arms, salt="r1", routed=told)


def brought_up(world: World, asked: TrafficSplit) -> None:
    """As the loop does: it asks again until the graph is ready."""
    for _ in range(3):
        try:
            world.traffic.apply(asked, {})
        except UnavailableError:
            world.look()
            world.look()


def test_a_router_stands_between_versions_in_one_more_predictor_and_hears_of_rewards(world: World) -> None:
    world.deploy(V1, V2)
    with pytest.raises(UnavailableError, match="the graph between v1, v2 starts; nothing was routed"):
        world.traffic.apply(routed(), {})
    assert world.predictors() == {"v1": (100, False), "v2": (0, False), "arms": (0, False)}
    assert world.traffic.read_back() == ALONE
    brought_up(world, routed())
    assert world.route() == {"v1": 0, "v2": 0, "arms": 100}
    assert world.provider().read_back() == routed()
    assert world.router.told == routed().routed
    # More rewards change no object but the note of what was asked.
    before = world.kube.objects["SeldonDeployment", NAME]["spec"]
    world.traffic.apply(routed(40), {})
    assert world.kube.objects["SeldonDeployment", NAME]["spec"] == before
    assert world.router.told == routed(40).routed
    assert world.traffic.read_back() == routed(40)
    assert world.traffic.readiness() == {V1: Readiness.READY, V2: Readiness.READY}


def test_a_router_that_forgot_is_told_again_and_its_split_is_no_other(world: World) -> None:
    world.deploy(V1, V2)
    brought_up(world, routed(40))
    world.router.told = None
    found = world.traffic.read_back()
    assert found is not None
    assert found != routed(40)
    assert found.untold == routed(40).untold
    world.traffic.apply(routed(40), {})
    assert world.router.told == routed(40).routed


def test_the_way_back_does_not_wait_for_a_router_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(V1, V2)
    brought_up(world, routed(40))

    def away(_: object) -> bool:
        raise UnavailableError("the router", "pod a: connection refused")

    monkeypatch.setattr(world.router, "knows", away)
    assert world.traffic.read_back() == routed(40).untold
    world.traffic.apply(ALONE, {})
    assert world.traffic.read_back() == ALONE


def test_a_version_that_dies_in_the_graph_is_not_ready_and_the_champion_stays_the_way_back(
    world: World,
) -> None:
    world.deploy(V1, V2, V3)
    ready = dict.fromkeys((V1, V2, V3), Readiness.READY)
    world.kube.stuck.add(VersionName("v2 of the graph"))
    brought_up(world, routed(40))
    assert world.traffic.readiness() == ready, "no request goes through it yet"
    world.kube.stuck.clear()
    brought_up(world, routed(40))
    assert world.route()["arms"] == 100
    # Nobody answers in the place of the router, nor of the champion in the graph.
    for part in ("router", "v1", "v2"):
        world.kube.stuck = {VersionName(f"{part} of the graph")}
        assert world.traffic.readiness() == {**ready, V2: Readiness.STARTING}
    # The way back is by the pods that stand alone.
    world.traffic.apply(ALONE, {})
    assert world.traffic.read_back() == ALONE
    assert world.traffic.readiness() == ready


def test_a_graph_whose_pod_refused_its_bento_has_crashed_and_is_not_deployed_again(world: World) -> None:
    world.deploy(V1, V2)
    brought_up(world, routed(40))
    world.kube.stuck.add(VersionName("v2 of the graph"))
    [found] = [
        one["metadata"]
        for (kind, name), one in world.kube.objects.items()
        if kind == "Deployment" and name == "flights-arms-2-v2"
    ]
    ended = {"name": "fetch", "state": {"terminated": {"exitCode": REFUSED, "message": "E: other bytes"}}}
    world.kube.objects["Pod", "p"] = {
        "kind": "Pod",
        "metadata": {"name": "p", "labels": found["labels"]},
        "status": {"initContainerStatuses": [ended]},
    }
    assert world.traffic.readiness()[V2] is Readiness.CRASHED


def test_an_arm_that_dies_in_the_graph_leaves_it_and_no_user_meets_a_graph_that_is_not_ready(
    world: World,
) -> None:
    world.deploy(V1, V2, V3)
    brought_up(world, routed(40, V3))
    world.kube.stuck = {VersionName("v3 of the graph"), VersionName("router of the graph")}
    # It alone is to blame, though the executor waits for it.
    assert world.traffic.readiness() == {V1: Readiness.READY, V2: Readiness.READY, V3: Readiness.STARTING}
    after = routed(40, V3, left=(V3,))
    # Each pass may be that of another process of the loop.
    for _ in range(3):
        with pytest.raises(UnavailableError, match=r"the graph between v1, v2 (starts|is not ready)"):
            world.provider().apply(after, {})
        world.look()
        assert world.route() == {"v1": 100, "v2": 0, "v3": 0}, (
            "what is not ready does not hold the way back up"
        )
        assert world.predictors() == {
            "v1": (100, False),
            "v2": (0, False),
            "v3": (0, False),
            "arms": (0, False),
        }
    world.traffic.retire(V3)
    world.kube.stuck.clear()
    brought_up(world, after)
    assert world.route() == {"v1": 0, "v2": 0, "arms": 100}
    assert world.traffic.read_back() == after
    assert world.router.told == after.routed
    assert [name for kind, name in world.kube.objects if kind == "Deployment" and "arms" in name] == [
        "flights-arms-0-router",
        "flights-arms-1-v1",
        "flights-arms-2-v2",
    ]


def test_a_successor_of_a_graph_is_not_written_before_the_champion_has_all_requests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(V1, V2, V3)
    brought_up(world, routed(40, V3))
    # It died everywhere, which would freeze the weights.
    world.kube.stuck = {VersionName("v3 of the graph"), V3}
    after = routed(40, V3, left=(V3,))
    with monkeypatch.context() as seldon:
        seldon.setattr(world.operator, "look", lambda _: None)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="the VirtualService does not follow yet"):
                world.provider().apply(after, {})
            assert world.predictors() == {"v1": (100, False), "v2": (0, False)}
            assert world.route()["arms"] == 100
    world.kube.stuck.clear()
    brought_up(world, after)
    assert world.traffic.read_back() == after


def test_nothing_is_routed_to_a_graph_that_is_not_ready(world: World) -> None:
    world.deploy(V1, V2)
    world.kube.stuck.add(VersionName("v2 of the graph"))
    brought_up(world, routed())
    with pytest.raises(
        UnavailableError, match="the graph between v1, v2 is not ready: flights-arms-2-v2 starts"
    ) as told:
        world.traffic.apply(routed(), {})
    assert told.value.unready == {V2}
    assert world.predictors()["arms"] == (0, False)
    assert world.router.told is None


def test_a_graph_that_never_got_requests_goes_with_the_version_that_is_given_up(world: World) -> None:
    world.deploy(V1, V2)
    world.kube.stuck.add(VersionName("v2 of the graph"))
    brought_up(world, routed())
    assert world.predictors()["arms"] == (0, False)
    # The champion has all requests already, so nobody asks for another split.
    assert world.traffic.read_back() == ALONE
    world.traffic.retire(V2)
    world.look()
    assert world.predictors() == {"v1": (100, False)}
    assert not [name for kind, name in world.kube.objects if kind == "Deployment" and "arms" in name]


def test_a_shadow_that_becomes_an_arm_of_the_graph_stands_alone_beside_it(world: World) -> None:
    world.deploy(V1, V2)
    world.traffic.apply(SHADOW, {})
    with pytest.raises(UnavailableError, match="the graph between v1, v2 starts"):
        world.traffic.apply(routed(), {})
    assert world.predictors() == {"v1": (100, False), "v2": (0, False), "arms": (0, False)}
    brought_up(world, routed())
    assert world.predictors() == {"v1": (0, False), "v2": (0, False), "arms": (100, False)}
    assert world.traffic.read_back() == routed()
    assert world.traffic.readiness() == {V1: Readiness.READY, V2: Readiness.READY}


def test_a_version_beside_the_graph_that_is_not_ready_goes_since_it_would_freeze_the_weights(
    world: World,
) -> None:
    world.deploy(V1, V2)
    world.kube.stuck.add(V3)
    world.deploy(V3)
    brought_up(world, routed())
    assert world.predictors() == {"v1": (0, False), "v2": (0, False), "arms": (100, False)}
    assert world.route() == {"v1": 0, "v2": 0, "arms": 100}
    assert world.traffic.read_back() == routed()


@pytest.mark.parametrize("after", [ALONE, CANARY, champion_only(V2)], ids=["back", "canary", "promoted"])
def test_after_the_router_its_predictor_goes_with_one_write(world: World, after: TrafficSplit) -> None:
    world.deploy(V1, V2)
    brought_up(world, routed())
    world.traffic.apply(after, {})
    assert "arms" not in world.predictors()
    assert world.traffic.read_back() == after
    world.look()
    assert not [name for kind, name in world.kube.objects if kind == "Deployment" and "arms" in name]


def test_other_arms_get_another_graph_after_the_champion_had_all_requests(world: World) -> None:
    world.deploy(V1, V2, V3)
    brought_up(world, routed())
    other = TrafficSplit(
        (Arm(V1, Weight(50)), Arm(V3, Weight(50))), salt="r2", routed=(ArmRewards(V1), ArmRewards(V3))
    )
    with pytest.raises(UnavailableError, match="the graph between v1, v3 starts"):
        world.traffic.apply(other, {})
    assert world.route() == {"v1": 100, "v2": 0, "v3": 0}
    assert world.predictors() == {"v1": (100, False), "v2": (0, False), "v3": (0, False), "arms": (0, False)}
    brought_up(world, other)
    assert world.traffic.read_back() == other


def test_what_a_version_starts_or_the_file_changes_leaves_the_graph_where_it_is(world: World) -> None:
    world.deploy(V1, V2)
    brought_up(world, routed())
    world.deploy(V3)
    world.traffic.settle()
    assert world.predictors()["arms"] == (100, False)
    assert world.traffic.read_back() == routed()


def test_without_seldons_executor_a_router_is_refused(world: World) -> None:
    world.deploy(V1, V2)
    assert "seldonExecutor: false" in str(world.provider(routes=False).refusal(routed()))

"""Seldon over Istio: one SeldonDeployment with a predictor per version, whose weights Istio obeys.

Serving and traffic are one object here, so this is both ports. What shapes it, as seen of the real operator:

- A Deployment that is not ready freezes the weights of all predictors, those of a rollback included. So what leaves the
  split and is not ready is removed, not set to 0, and the VirtualService is read back before anything is said to be so.
- A shadow of 0 % is one of 100 %. Becoming a shadow, or ceasing to be one, restarts a predictor's pods: a shadow that
  leaves is removed.
- Requests are drawn one by one, and a failing version is not answered for: `refusal` says no before anything runs.
- A router between versions is one more predictor, whose graph has pods of each version for itself. Those that stand
  alone stay beside it without traffic, so the way back is a weight.
- Seldon's executor is ready only while the port of every version in its graph answers. So a version that left, or died,
  can't stay in it: the graph is taken away, and another one is made while the champion's own pods answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import orjson

from capstan.adapters.envoy import order as envoy_order
from capstan.adapters.envoy.config import agreed
from capstan.adapters.kubernetes.readiness import readiness_of, refusal_of, trouble_of
from capstan.adapters.kubernetes.serving import ID_LABEL, Artifact, artifact_of, pods_of, troubles
from capstan.adapters.kubernetes.serving import VersionObjects as Versions
from capstan.adapters.seldon.router import RouterPods
from capstan.adapters.seldon.serving import KIND, predictor_service
from capstan.domain.traffic import Arm, ArmRewards, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.errors import NotAllowedError, UnavailableError
from capstan.ports.kube import EXISTS, Kube, Object
from capstan.ports.serving import Endpoint

PART = "Seldon over Istio"
GRAPH = VersionName("arms")
"""Name of the predictor with a router between versions; none of a version is the same."""
SPLIT_ANNOTATION = "capstan.dev/split"
"""Annotation with the split that was asked for last: its order and salt, for which a VirtualService has no place."""
_LOOKS_SECONDS = 0.5


@dataclass(frozen=True)
class RoutedGraph:
    """What the predictor with a router between versions is made of."""

    predictor: Callable[[Mapping[VersionName, Artifact]], Object]
    """Function that makes it, named GRAPH; the graph's children are named like the versions."""
    labels: Mapping[str, str]
    """Of its Deployments and pods, which are none of a version."""
    part_label: str
    """Key of the label that names their node of the graph."""
    router: RouterPods


@dataclass(frozen=True)
class SharedDeployment:
    """What the one SeldonDeployment of a system is called and made of."""

    metadata: Object
    """With name and namespace."""
    spec: Object
    """Everything in the spec but the predictors."""
    predictor: Callable[[VersionName, Artifact, bool], Object]
    """Function that makes the predictor of a version, named like it; the flag says that it is a shadow, which may
    log payloads elsewhere.
    """
    port: int
    """Port of a predictor's Service: the executor's, or the model's where there is none."""
    graph: RoutedGraph | None = None
    """None: no router can stand between versions."""

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self.metadata["namespace"])


class SeldonIstio:
    """The Serving port and the TrafficProvider of one system with `traffic.provider: Istio`."""

    def __init__(
        self,
        kube: Kube,
        shared: SharedDeployment,
        versions: Versions,
        *,
        sticky: bool,
        hides_failures: bool,
        settles_seconds: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """sticky: users must stay on a version; hides_failures: nobody may see that a new version fails.

        versions: labels of the pods of all versions. settles_seconds: how long the VirtualService is waited for.
        """
        self._kube = kube
        self._shared = shared
        self._versions = versions
        self._sticky = sticky
        self._hides_failures = hides_failures
        self._settles_seconds = settles_seconds
        self._sleep = sleep

    # -- serving

    def deploy(self, version: ModelVersion) -> None:
        """Add it without traffic, or leave it alone if it is there; the first version gets all of it.

        Raises UntrustedArtifactError or NotFoundError of a version whose pod refused its Bento.
        """
        predictors = self._predictors()
        if version.name in predictors:
            present = self._deployments().get(version.name)
            refusal = refusal_of(present, self._pods().get(version.name, ())) if present is not None else None
            if refusal is not None:
                self.retire(version.name)
                raise refusal
            return
        artifact = Artifact(version.bento_tag, version.digest)
        alone = not any(_is_live(predictor) for predictor in predictors.values())
        added = {**self._shared.predictor(version.name, artifact, False), "traffic": 100 if alone else 0}
        self._put([*predictors.values(), added])

    def retire(self, name: VersionName) -> None:
        """Take its predictor away, with the last one the SeldonDeployment; no error if it is not there.

        What it answered goes to the first that is left: Seldon refuses weights that do not sum to 100.
        """
        predictors = self._predictors()
        gone = predictors.pop(name, None)
        if gone is None:
            return
        left = next((other for other, found in predictors.items() if _is_live(found)), None)
        graph = self._graph()
        if graph is not None and not graph.get("traffic", 0) and name in _children(graph):
            # It was never handed the requests, so no split that is asked for takes it away.
            graph = None
        if left is not None:
            freed = gone.get("traffic", 0) if _is_live(gone) else 0
            if freed:
                share = predictors[left].get("traffic", 0) + freed
                predictors[left] = {**predictors[left], "traffic": share}
            self._put(list(predictors.values()), graph=graph)
        else:
            self._kube.delete(KIND, self._shared.name, self._shared.namespace)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        """Every version that has a predictor, as its Deployment and pods say; Seldon's own state may be an old one.

        While requests go through a router, a version that dies in its graph is not ready either. The champion is, as
        long as it stands alone: that is the way back. Where the router dies, or the champion in the graph, all others
        are not ready, so that this way is taken: nobody answers in the place of either. A router that is not ready
        beside a version that died says nothing of the others: its executor waits for that version.
        """
        alone, graph, made = self._alone(), self._graph(), self._shared.graph
        if graph is None or made is None or not graph.get("traffic", 0):
            return alone
        inside = self._inside(made)
        champion, *challengers = _children(graph)
        states = {name: inside.get(name, Readiness.STARTING) for name in _children(graph)}
        needed = [states[champion]]
        if all(states[name] is Readiness.READY for name in challengers):
            needed.append(inside.get(_root(graph), Readiness.STARTING))
        return {
            name: _worst(state, states[name], *needed) if name in challengers else state
            for name, state in alone.items()
        }

    def _alone(self) -> Mapping[VersionName, Readiness]:
        """By the pods of the version's own predictor."""
        deployments, pods = self._deployments(), self._pods()
        return {
            name: readiness_of(deployments[name], pods.get(name, ()))
            if name in deployments
            else Readiness.STARTING
            for name in self._predictors()
        }

    def _inside(self, made: RoutedGraph) -> Mapping[str, Readiness]:
        """Of the graph's parts, named like their nodes."""
        found, pods = self._parts(made)
        states = {
            str(one["metadata"]["labels"][made.part_label]): readiness_of(one, pods.get(_part_of(one), ()))
            for one in found
        }
        # ABSENT asks for a deployment, which changes nothing here: the version itself is there.
        return {
            name: Readiness.CRASHED if state is Readiness.ABSENT else state for name, state in states.items()
        }

    def endpoint(self, name: VersionName) -> Endpoint | None:
        """Endpoint of its predictor's Service."""
        if name not in self._predictors():
            return None
        service = predictor_service(self._shared.name, name)
        return Endpoint(f"{service}.{self._shared.namespace}.svc", self._shared.port)

    def troubles(self) -> Mapping[VersionName, str]:
        """What is in the way of versions that do not start."""
        return troubles(self._deployments(), self._pods())

    def settle(self) -> None:
        """Bring every version that runs to what the file asks for now; to be called when the file has changed."""
        predictors = self._predictors()
        if not predictors:
            return
        rendered = [
            {
                **self._rendered(predictor, shadow=not _is_live(predictor)),
                "traffic": predictor.get("traffic", 0),
            }
            for predictor in predictors.values()
        ]
        before, graph = self._graph(), self._settled_graph()
        if rendered != list(predictors.values()) or graph != before:
            self._put(rendered, graph=graph)

    # -- traffic

    def refusal(self, split: TrafficSplit) -> str | None:
        """Why Istio can't do the split; None if it can."""
        answering = [arm for arm in split.arms if arm.weight > 0]
        if (impossible := envoy_order.refusal(split)) is not None:
            return impossible
        if split.routed and self._shared.graph is None:
            return (
                "a router stands in a graph of Seldon's executor, which this cluster's settings leave out "
                '(seldonExecutor: false), since Pod Security "restricted" refuses it; write per: Batch and provider '
                "Envoy"
            )
        if split.interleaved is not None:
            return (
                "Istio asks one version for each request and cannot make one list of two; compare in a shadow step, or "
                "use provider Envoy"
            )
        if len(split.mirrors) > 1:
            return (
                f"Seldon has one shadow at a time, not {len(split.mirrors)}; drop one, or use provider Envoy"
            )
        if any(mirror.percent == 0 for mirror in split.mirrors):
            return "Seldon takes a shadow of 0 % for one of 100 %; write at least 1 %"
        if len(answering) > 1 and self._sticky:
            return (
                "Istio draws every request anew and cannot keep users on a version, as data.keys.stickyBy asks; "
                "drop stickyBy, or use serving.traffic.provider Envoy"
            )
        if len(answering) > 1 and self._hides_failures:
            return (
                "Istio cannot answer for a version that fails: up to its share of the requests would. To accept "
                "that, write serving.traffic.failures Bounded; to hide them, use provider Envoy"
            )
        return None

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        """Set weights and shadow, and wait until the VirtualService says so; applying what is so changes nothing.

        Raises NotAllowedError for a split that `refusal` explains; UnavailableError when a version that is to get its
        first requests is not ready, or when Seldon does not follow in time: it may still do so later.
        """
        del endpoints
        if (refused := self.refusal(split)) is not None:
            raise NotAllowedError(f"{PART} cannot do this split: {refused}")
        if self.read_back() == split:
            return
        # What a version has in a graph goes with the graph, or is what this split brings up.
        predictors, readiness = self._predictors(), self._alone()
        answering = _answering(predictors)
        for name in sorted(split.versions - answering):
            if readiness.get(name) is not Readiness.READY:
                raise UnavailableError(PART, f"{name} is not ready; nothing was routed")
        if missing := sorted(split.versions - predictors.keys()):
            raise UnavailableError(PART, f"{', '.join(missing)} has no predictor")
        if split.routed and self._shared.graph is not None:
            self._route(split, self._shared.graph)
            return
        live = [
            {**self._turned(predictors[arm.version], shadow=False), "traffic": int(arm.weight)}
            for arm in split.answering
        ]
        shadows = [
            {**self._turned(predictors[mirror.version], shadow=True), "traffic": int(mirror.percent)}
            for mirror in split.mirrors
        ]
        self._put([*live, *self._warm(predictors, split), *shadows], split, graph=None)
        self._await(split)

    def _route(self, split: TrafficSplit, made: RoutedGraph) -> None:
        """Bring the graph up beside the versions, tell its router, and then hand it all requests."""
        graph, arms = self._graph(), [one.version for one in split.routed]
        if graph is not None and graph.get("traffic", 0) and _children(graph) != arms:
            self._take_graph_away(split)
            graph = None
        if graph is None and self._routes_to_a_graph():
            # Before its successor is written: Seldon does not change the way while that one starts.
            self._await(champion_only(split.champion))
        predictors = self._predictors()
        if graph is None or _children(graph) != arms:
            # A shadow starts anew, so that it stands alone by the time the graph is up.
            for name in arms:
                if not _is_live(predictors[name]):
                    predictors[name] = {**self._rendered(predictors[name], shadow=False), "traffic": 0}
            artifacts = {name: artifact_of(predictors[name]["componentSpecs"][0]) for name in arms}
            self._put(list(predictors.values()), graph={**made.predictor(artifacts), "traffic": 0})
            raise UnavailableError(
                PART, f"the graph between {', '.join(arms)} starts; nothing was routed to it"
            )
        # Once requests go through it, a broken pod must not keep its router from hearing of rewards.
        if not graph.get("traffic", 0):
            self._require_graph(graph, made)
        made.router.tell(split.routed)
        alone = [
            {**self._turned(predictors[arm.version], shadow=False), "traffic": 0} for arm in split.answering
        ]
        self._put(
            [*alone, *self._warm(predictors, split)],
            split,
            graph={**graph, "traffic": 100},
        )
        self._await(split)

    def _warm(self, predictors: Mapping[VersionName, Object], split: TrafficSplit) -> list[Object]:
        """What stays without traffic beside the split's versions: all that does not hold the weights up."""
        deployments = self._deployments()
        return [
            {**predictor, "traffic": 0}
            for name, predictor in predictors.items()
            if name not in split.versions and _is_live(predictor) and _is_settled(deployments.get(name))
        ]

    def _take_graph_away(self, split: TrafficSplit) -> None:
        """The champion's own pods get all requests; what is not ready goes, since it would hold that up."""
        predictors = self._predictors()
        beside = [
            {**self._turned(found, shadow=False), "traffic": 100 if name == split.champion else 0}
            for name, found in predictors.items()
            if name in split.versions
        ]
        self._put([*beside, *self._warm(predictors, split)], graph=None)

    def _routes_to_a_graph(self) -> bool:
        obeyed = self._virtual_service()
        return obeyed is not None and any(GRAPH in _of_rule(rule).versions for rule in _rules(obeyed))

    def _require_graph(self, graph: Object, made: RoutedGraph) -> None:
        """Raises UnavailableError with the pods that are in the way, and the versions whose pods they are."""
        deployments, pods = self._parts(made)
        found = {str(one["metadata"]["labels"][made.part_label]): one for one in deployments}
        unready = {
            part: _why_unsettled(found[part], pods) if part in found else f"{part} has no Deployment yet"
            for part in (*_children(graph), _root(graph))
            if not _is_settled(found.get(part))
        }
        if unready:
            arms = ", ".join(_children(graph))
            why = "; ".join(unready.values())
            raise UnavailableError(
                PART,
                f"the graph between {arms} is not ready: {why}",
                unready=unready.keys() & set(_children(graph)),
            )

    def _parts(self, made: RoutedGraph) -> tuple[list[Object], Mapping[str, list[Object]]]:
        """Deployments of the graph, and their pods by `_part_of`."""
        pods: dict[str, list[Object]] = {}
        for pod in self._kube.list("Pod", self._shared.namespace, labels=made.labels):
            pods.setdefault(_part_of(pod), []).append(pod)
        return self._owned({**made.labels, ID_LABEL: EXISTS}), pods

    def read_back(self) -> TrafficSplit | None:
        """The split in force: what the VirtualService says, if the SeldonDeployment asks for no other.

        Where they differ, a change waits for pods to be ready: then the split equals none that was wanted.
        """
        wanted, obeyed = self._get(), self._virtual_service()
        if wanted is None or obeyed is None:
            return None
        found = agreed([*(_of_rule(rule) for rule in _rules(obeyed)), _of_predictors(wanted)])
        text = wanted["metadata"].get("annotations", {}).get(SPLIT_ANNOTATION)
        asked = _read(text) if text else None
        if asked is None or _bare(asked) != found:
            return found
        if asked.routed and self._shared.graph is not None and not self._is_told(asked, self._shared.graph):
            return asked.untold
        return asked

    @staticmethod
    def _is_told(asked: TrafficSplit, made: RoutedGraph) -> bool:
        try:
            return made.router.knows(asked.routed)
        except UnavailableError:
            # The way back to the champion must not wait for a router that does not answer.
            return False

    # -- the objects

    def _turned(self, predictor: Object, *, shadow: bool) -> Object:
        """As it is, so that its pods stay, unless it becomes a shadow or ceases to be one."""
        return predictor if _is_live(predictor) is not shadow else self._rendered(predictor, shadow=shadow)

    def _rendered(self, predictor: Object, *, shadow: bool) -> Object:
        artifact = artifact_of(predictor["componentSpecs"][0])
        made = self._shared.predictor(VersionName(predictor["name"]), artifact, shadow)
        return {**made, "shadow": True} if shadow else made

    def _await(self, split: TrafficSplit) -> None:
        waited = 0.0
        while (found := self.read_back()) != split:
            if waited >= self._settles_seconds:
                unready = sorted(n for n, state in self.readiness().items() if state is not Readiness.READY)
                why = f"{', '.join(unready)} not ready" if unready else f"it obeys {found}"
                raise UnavailableError(PART, f"the VirtualService does not follow yet: {why}")
            self._sleep(_LOOKS_SECONDS)
            waited += _LOOKS_SECONDS

    def _settled_graph(self) -> Object | None:
        """As the file asks for it now."""
        graph = self._graph()
        if graph is None or self._shared.graph is None:
            return graph
        artifacts = {
            VersionName(each["spec"]["containers"][0]["name"]): artifact_of(each)
            for each in graph["componentSpecs"][1:]
        }
        return {**self._shared.graph.predictor(artifacts), "traffic": graph.get("traffic", 0)}

    def _put(
        self,
        predictors: Sequence[Object],
        split: TrafficSplit | None = None,
        *,
        graph: Object | EllipsisType | None = ...,
    ) -> None:
        """`graph`: the predictor with a router, None to take it away; left out: as it is."""
        found = self._get()
        kept = self._graph() if isinstance(graph, EllipsisType) else graph
        if kept is not None:
            predictors = [*predictors, kept]
        before = found["metadata"].get("annotations", {}).get(SPLIT_ANNOTATION) if found is not None else None
        text = _written(split) if split is not None else before
        annotations = {
            **self._shared.metadata.get("annotations", {}),
            **({SPLIT_ANNOTATION: text} if text is not None else {}),
        }
        self._kube.apply(
            {
                "apiVersion": "machinelearning.seldon.io/v1",
                "kind": KIND,
                "metadata": {**self._shared.metadata, "annotations": annotations},
                "spec": {**self._shared.spec, "predictors": list(predictors)},
            }
        )

    def _get(self) -> Object | None:
        found = self._kube.get(KIND, self._shared.name, self._shared.namespace)
        return None if found is None or found["metadata"].get("deletionTimestamp") else found

    def _virtual_service(self) -> Object | None:
        return self._kube.get("VirtualService", self._shared.name, self._shared.namespace)

    def _predictors(self) -> dict[VersionName, Object]:
        found = self._get()
        predictors = found["spec"]["predictors"] if found is not None else ()
        named = {VersionName(predictor["name"]): predictor for predictor in predictors}
        named.pop(GRAPH, None)
        return named

    def _graph(self) -> Object | None:
        found = self._get()
        predictors = found["spec"]["predictors"] if found is not None else ()
        return next((predictor for predictor in predictors if predictor["name"] == GRAPH), None)

    def _deployments(self) -> Mapping[VersionName, Object]:
        labels = {**self._versions.labels, ID_LABEL: EXISTS}
        return {self._versions.version(found): found for found in self._owned(labels)}

    def _owned(self, labels: Mapping[str, str]) -> list[Object]:
        """Deployments of the SeldonDeployment."""
        wanted = self._get()
        uid = wanted["metadata"].get("uid") if wanted is not None else None
        return [
            found
            for found in self._kube.list("Deployment", self._shared.namespace, labels=labels)
            if any(owner.get("uid") == uid for owner in found["metadata"].get("ownerReferences", ()))
        ]

    def _pods(self) -> Mapping[VersionName, list[Object]]:
        return pods_of(self._kube, self._versions, seldon=True)


def _is_live(predictor: Object) -> bool:
    return not predictor.get("shadow", False)


def _worst(*states: Readiness) -> Readiness:
    order = (Readiness.READY, Readiness.STARTING, Readiness.CRASHED, Readiness.ABSENT)
    return max(states, key=order.index)


def _is_settled(deployment: Object | None) -> bool:
    """Whether it holds nothing up: all of its pods are the newest and available, which is more than ready."""
    if deployment is None:
        return False
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return (
        status.get("observedGeneration") == deployment["metadata"].get("generation")
        and status.get("updatedReplicas", 0) == status.get("availableReplicas", 0) == wanted
        and not status.get("unavailableReplicas", 0)
    )


def _answering(predictors: Mapping[VersionName, Object]) -> frozenset[VersionName]:
    """Versions that get requests or copies of them already."""
    return frozenset(name for name, predictor in predictors.items() if predictor.get("traffic", 0) > 0)


def _of_predictors(wanted: Object) -> TrafficSplit:
    predictors = wanted["spec"]["predictors"]
    live = [(each["name"], each.get("traffic", 0)) for each in predictors if _is_live(each)]
    shadows = [(each["name"], each.get("traffic") or 100) for each in predictors if not _is_live(each)]
    return _split(live, shadows)


def _rules(virtual_service: Object) -> Sequence[Object]:
    """Rules of HTTP and of gRPC."""
    return [rule for rule in virtual_service["spec"].get("http", ()) if rule.get("route")]


def _of_rule(rule: Object) -> TrafficSplit:
    route = rule["route"]
    whole = 100 if len(route) == 1 else 0
    live = [(each["destination"]["subset"], each.get("weight") or whole) for each in route]
    mirror, percent = rule.get("mirror"), rule.get("mirrorPercentage", {}).get("value", 100)
    return _split(live, [(mirror["subset"], round(percent))] if mirror else [])


def _split(live: Sequence[tuple[str, int]], shadows: Sequence[tuple[str, int]]) -> TrafficSplit:
    """The split without arms of no weight, in one order, so that equal splits are equal."""
    return TrafficSplit(
        arms=tuple(Arm(VersionName(name), Weight(weight)) for name, weight in sorted(live) if weight > 0),
        mirrors=tuple(Mirror(VersionName(name), Weight(percent)) for name, percent in sorted(shadows)),
    )


def _root(graph: Object) -> str:
    return str(graph["graph"]["name"])


def _children(graph: Object) -> list[VersionName]:
    return [VersionName(child["name"]) for child in graph["graph"].get("children", ())]


def _part_of(document: Object) -> str:
    """What tells the Deployments of a graph apart, and their pods with them."""
    return str(document["metadata"].get("labels", {}).get("app", ""))


def _why_unsettled(deployment: Object, pods: Mapping[str, Sequence[Object]]) -> str:
    return (
        trouble_of(deployment, pods.get(_part_of(deployment), ()))
        or f"{deployment['metadata']['name']} starts"
    )


def _bare(split: TrafficSplit) -> TrafficSplit:
    if split.routed:
        return _split([(GRAPH, 100)], [])
    return _split(
        [(arm.version, arm.weight) for arm in split.answering],
        [(mirror.version, mirror.percent) for mirror in split.mirrors],
    )


def _written(split: TrafficSplit) -> str:
    return orjson.dumps(
        {
            "arms": [[arm.version, arm.weight, *([True] if arm.is_vacant else [])] for arm in split.arms],
            "mirrors": [[mirror.version, mirror.percent] for mirror in split.mirrors],
            "salt": split.salt,
            **({"routed": [[*_told(one)] for one in split.routed]} if split.routed else {}),
        }
    ).decode()


def _told(one: ArmRewards) -> tuple[object, ...]:
    return one.version, one.count, one.total, one.squares


def _read(text: str) -> TrafficSplit | None:
    """The split in an annotation; None if somebody else wrote there."""
    try:
        found: Any = orjson.loads(text)
        return TrafficSplit(
            arms=tuple(
                Arm(VersionName(name), Weight(weight), is_vacant=bool(vacant))
                for name, weight, *vacant in found["arms"]
            ),
            mirrors=tuple(Mirror(VersionName(name), Weight(percent)) for name, percent in found["mirrors"]),
            salt=str(found["salt"]),
            routed=tuple(
                ArmRewards(VersionName(name), int(count), int(total), int(squares))
                for name, count, total, squares in found.get("routed", ())
            ),
        )
    except (ValueError, KeyError, TypeError):
        return None

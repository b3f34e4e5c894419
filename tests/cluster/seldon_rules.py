"""Which SeldonDeployments the webhook of Seldon Core 1.18.2 refuses, and the same rules as a policy of the API server.

After `ValidateSeldonDeployment` of its operator, as far as one-node graphs without Kafka and prepackaged servers go.
The policy stands in for the webhook where Seldon is not installed: what it would refuse is refused at the same moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capstan.ports.kube import Object

PROTOCOLS = ("seldon", "tensorflow", "kfserving", "v2")
NO_PREDICTORS = "Graph contains no predictors"
PROTOCOL = "Invalid protocol"
TWICE = "Duplicate predictor name"
NO_CONTAINER = "Can't find container for Predictive Unit"
NO_MODE = "No logger mode specified"
NO_ENGINE = "Running without engine only valid for single element graphs"
ONLY_SHADOW = "Shadow can not exist as only predictor"
SHADOWS = "Multiple shadows are not allowed"
SHADOW_TRAFFIC = "shadow traffic is illegal, the traffic number should be between [0, 100]"
SUM = "Traffic must sum to 100 for multiple predictors"
SINGLE = "Traffic must sum be 100 for a single predictor when set"


def refusals(deployment: Object) -> Sequence[str]:
    """The words of every rule that it breaks."""
    spec = deployment["spec"]
    predictors: Sequence[Object] = spec.get("predictors") or ()
    shadows = [predictor for predictor in predictors if predictor.get("shadow")]
    live = [predictor for predictor in predictors if not predictor.get("shadow")]
    total = sum(predictor.get("traffic", 0) for predictor in live)
    names = [predictor["name"] for predictor in predictors]
    graphs = [(predictor, predictor["graph"]) for predictor in predictors]
    rules = {
        NO_PREDICTORS: bool(predictors),
        PROTOCOL: spec.get("protocol", "") in ("", *PROTOCOLS),
        TWICE: len(set(names)) == len(names),
        NO_CONTAINER: all(_has_container(predictor, graph) for predictor, graph in graphs),
        NO_MODE: all("logger" not in graph or graph["logger"].get("mode") for _, graph in graphs),
        NO_ENGINE: not any(
            "seldon.io/no-engine" in predictor.get("annotations", {}) and graph.get("children")
            for predictor, graph in graphs
        ),
        ONLY_SHADOW: not (len(predictors) == 1 and shadows),
        SHADOWS: len(shadows) <= 1,
        SHADOW_TRAFFIC: all(0 <= shadow.get("traffic", 0) <= 100 for shadow in shadows),
        SUM: len(live) <= 1 or total == 100,
        SINGLE: len(predictors) != 1 or not 0 < total < 100,
    }
    return [words for words, holds in rules.items() if not holds]


def _has_container(predictor: Object, graph: Mapping[str, object]) -> bool:
    """Also of each child, at which the policy of the API server does not look."""
    children: Sequence[Mapping[str, object]] = graph.get("children", ())  # type: ignore[assignment]
    if not all(_has_container(predictor, child) for child in children):
        return False
    if graph.get("implementation", "UNKNOWN_IMPLEMENTATION") != "UNKNOWN_IMPLEMENTATION":
        return True
    return any(
        container["name"] == graph["name"]
        for component in predictor.get("componentSpecs", ())
        for container in component["spec"]["containers"]
    )


_ALL = "object.spec.predictors"
_LIVE = f"{_ALL}.filter(p, !(has(p.shadow) && p.shadow))"
_SHADOWS = f"{_ALL}.filter(p, has(p.shadow) && p.shadow)"
_TOTAL = f"{_LIVE}.map(p, has(p.traffic) ? p.traffic : 0).sum()"
_OWN = "(!has(p.graph.implementation) || p.graph.implementation == 'UNKNOWN_IMPLEMENTATION')"
_CEL = {
    NO_PREDICTORS: f"{_ALL}.size() > 0",
    PROTOCOL: f"!has(object.spec.protocol) || object.spec.protocol in ['', {', '.join(map(repr, PROTOCOLS))}]",
    TWICE: f"{_ALL}.all(p, {_ALL}.exists_one(q, q.name == p.name))",
    NO_CONTAINER: f"{_ALL}.all(p, !{_OWN} || (has(p.componentSpecs) && p.componentSpecs.exists(c, "
    "c.spec.containers.exists(k, k.name == p.graph.name))))",
    NO_MODE: f"{_ALL}.all(p, !has(p.graph.logger) || (has(p.graph.logger.mode) && p.graph.logger.mode != ''))",
    NO_ENGINE: f"{_ALL}.all(p, !(has(p.annotations) && 'seldon.io/no-engine' in p.annotations) || "
    "!has(p.graph.children) || p.graph.children.size() == 0)",
    ONLY_SHADOW: f"!({_ALL}.size() == 1 && {_SHADOWS}.size() == 1)",
    SHADOWS: f"{_SHADOWS}.size() <= 1",
    SHADOW_TRAFFIC: f"{_SHADOWS}.all(p, !has(p.traffic) || (p.traffic >= 0 && p.traffic <= 100))",
    SUM: f"{_LIVE}.size() <= 1 || {_TOTAL} == 100",
    SINGLE: f"{_ALL}.size() != 1 || !({_TOTAL} > 0 && {_TOTAL} < 100)",
}


def policy(namespace: str) -> list[Object]:
    """The rules for one namespace, as a ValidatingAdmissionPolicy and its binding."""
    name = f"seldon-rules-{namespace}"
    rule = {
        "apiGroups": ["machinelearning.seldon.io"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["seldondeployments"],
    }
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": cel, "message": words} for words, cel in _CEL.items()],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": here},
            },
        },
    ]


def deployment(*predictors: Object, **spec: object) -> Object:
    """A SeldonDeployment that asks for nothing to run."""
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "rules"},
        "spec": {"protocol": "v2", **spec, "predictors": list(predictors)},
    }


def predictor(
    name: str, *, container: str = "m", graph: Mapping[str, object] | None = None, **more: object
) -> Object:
    """One of `deployment`, without replicas."""
    pod = {"containers": [{"name": container, "image": "none"}]}
    component = {"spec": pod, "replicas": 0}
    return {
        "name": name,
        "graph": {"name": "m", "type": "MODEL", **(graph or {})},
        "componentSpecs": [component],
        **more,
    }


BROKEN: Mapping[str, tuple[Object, str]] = {
    "another protocol": (deployment(predictor("a"), protocol="v3"), PROTOCOL),
    "no predictors": (deployment(), NO_PREDICTORS),
    "a name twice": (deployment(predictor("a", traffic=50), predictor("a", traffic=50)), TWICE),
    "no container": (deployment(predictor("a", container="other")), NO_CONTAINER),
    "a logger without mode": (deployment(predictor("a", graph={"logger": {"url": "http://c"}})), NO_MODE),
    "only a shadow": (deployment(predictor("a", shadow=True)), ONLY_SHADOW),
    "two shadows": (
        deployment(predictor("a", traffic=100), *(predictor(name, shadow=True) for name in "bc")),
        SHADOWS,
    ),
    "a shadow of 150": (
        deployment(predictor("a", traffic=100), predictor("b", shadow=True, traffic=150)),
        SHADOW_TRAFFIC,
    ),
    "no sum of 100": (deployment(predictor("a", traffic=75), predictor("b", traffic=20)), SUM),
    "none has any": (deployment(predictor("a"), predictor("b")), SUM),
    "a single one of 75": (deployment(predictor("a", traffic=75)), SINGLE),
}
"""With the rule that each breaks."""
SOUND: Mapping[str, Object] = {
    "a single one": deployment(predictor("a")),
    "a single one of 100": deployment(predictor("a", traffic=100)),
    "weights": deployment(predictor("a", traffic=75), predictor("b", traffic=25)),
    "one that is warm": deployment(predictor("a", traffic=100), predictor("b", traffic=0)),
    "a shadow": deployment(predictor("a", traffic=100), predictor("b", shadow=True, traffic=50)),
    "a shadow beside a weight that is not looked at": deployment(
        predictor("a", traffic=75), predictor("b", shadow=True)
    ),
}

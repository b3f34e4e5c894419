"""Envoy's configuration for a traffic split, as plain data; and the split back from Envoy's own answer.

Each version is one cluster (`v2`) with active health checks. Each arm is an aggregate cluster of its own
(`arm-v2-else-v1` = [v2, v1]), so that a request that fails in the challenger is answered by the champion, and so that
the arm's own counters say how many requests were assigned to it, whoever answered in the end.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import orjson

from capstan.adapters.envoy import replies as envoy_replies
from capstan.domain.assignment import joined, stretches
from capstan.domain.payload_limits import LARGEST_CALL
from capstan.domain.traffic import Arm, Interleaved, Mirror, TrafficSplit, Weight
from capstan.domain.versions import VersionName
from capstan.ports.combining import COMBINER, INSTRUCTION_HEADER, Instruction, instruction_of
from capstan.ports.serving import Endpoint

Json = dict[str, Any]

STICKY_HEADER = "x-capstan-key"
ROLE_HEADER = "x-capstan-role"
ARM_HEADER = "x-capstan-arm"
"""The version that a request was assigned to; a retry in the champion keeps it."""
CHAMPION, CHALLENGER = "champion", "challenger"
ARM_PREFIX, ELSE, BY = "arm-", "-else-", "-by-"
COLLECTOR_CLUSTER = "collector"
POSTED = ("/feedback", "/events")
"""Paths of what clients post about requests; the collector answers them."""
WEBHOOKS = "/webhooks"
"""Above the paths of other systems' signed calls, one a sender; the collector answers them too."""
EXTENSIONS = "type.googleapis.com/envoy.extensions"
BUFFER_FILTER = "envoy.filters.http.buffer"
BUFFER = f"{EXTENSIONS}.filters.http.buffer.v3.Buffer"
ROUTES_NAME = "capstan"
ROUTES_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
HASH_PATTERN = "^(.*)$"
DIFFERING = "(gateways differ)"
"""Salt that read-back tells when not all Envoys obey one split; no rollout has such a name."""


@dataclass(frozen=True)
class GatewaySettings:
    """What the gateway needs besides the split."""

    port: int = 7480
    host: str = "127.0.0.1"
    admin_port: int = 0
    collector: Endpoint | None = None
    """Endpoint to which `/feedback` and `/events` go; None: they are answered with 404."""
    combiner: Endpoint | None = None
    """Endpoint that makes one list of two rankers' answers; None: no request can be interleaved."""
    keeps_request_ids: bool = False
    """True, in a replay: the sender names its requests, so that coins fall as before. A client could choose its own."""
    per_try_timeout_seconds: float = 2.0
    timeout_seconds: float = 5.0
    max_body_bytes: int = 1_048_576
    """Most bytes in the body of a prediction."""
    max_feedback_bytes: int = 10_485_760
    """Most bytes in a body of labels or events: what the collector takes."""
    concurrency: int = 1
    """Worker threads; more cores than two are better used by the models."""


def arm_cluster(version: VersionName, champion: VersionName, *, is_vacant: bool = False) -> str:
    """`arm-v1` for the champion, `arm-v2-else-v1` for a challenger: another fallback is another cluster.

    `arm-v2-by-v1` is the arm of a version that left: the champion answers all of it.
    """
    if version == champion:
        return f"{ARM_PREFIX}{version}"
    return f"{ARM_PREFIX}{version}{BY if is_vacant else ELSE}{champion}"


def arm_version(cluster: str) -> VersionName:
    return VersionName(cluster.removeprefix(ARM_PREFIX).partition(ELSE)[0].partition(BY)[0])


def is_vacant(cluster: str) -> bool:
    """Whether the champion answers all requests of this arm."""
    return is_arm(cluster) and BY in cluster


def is_arm(cluster: str) -> bool:
    return cluster.startswith(ARM_PREFIX)


def detour(arm: str, champion: VersionName) -> Json:
    """The cluster of an arm that is routed to no more: who still asks for it is answered by the champion."""
    return _aggregate(arm, [champion])


def clusters(
    split: TrafficSplit | None, endpoints: Mapping[VersionName, Endpoint], settings: GatewaySettings
) -> list[Json]:
    """One cluster for each endpoint, one aggregate for each arm of the split; the collector and the combiner."""
    found = [version_cluster(name, endpoints[name]) for name in sorted(endpoints)]
    if split is not None:
        for arm in split.arms:
            members = dict.fromkeys([split.champion] if arm.is_vacant else [arm.version, split.champion])
            name = arm_cluster(arm.version, split.champion, is_vacant=arm.is_vacant)
            found.append(_aggregate(name, list(members)))
        if split.interleaved is not None:
            # Without the combiner the champion answers alone.
            found.append(_aggregate(arm_cluster(COMBINER, split.champion), [COMBINER, split.champion]))
    if settings.combiner is not None:
        found.append(version_cluster(COMBINER, settings.combiner))
    if settings.collector is not None:
        found.append(_static(COLLECTOR_CLUSTER, settings.collector))
    return found


def version_cluster(name: VersionName, endpoint: Endpoint) -> Json:
    check = {
        "timeout": "2s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        # A version that is not ready yet is asked often, so that a rollout does not wait for the next question.
        "unhealthy_interval": "0.2s",
        "http_health_check": {"path": "/v2/health/ready", "host": "capstan"},
    }
    return {**_static(name, endpoint), "health_checks": [check]}


def _static(name: str, endpoint: Endpoint) -> Json:
    address = {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
    literal = re.fullmatch(r"[0-9.]+|\[?[0-9a-fA-F:]+]?", endpoint.host) is not None
    # The servers close an idle connection after 5 s. Envoy closes it earlier, or a request could meet the close.
    connections = {"idle_timeout": "4s"}
    if not literal:
        # A Service spreads connections and not requests: a new pod gets none as long as old connections last.
        connections["max_connection_duration"] = "60s"
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        **({"type": "STATIC"} if literal else {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}),
        "connect_timeout": "1s",
        "circuit_breakers": _breakers(),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": connections,
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def endpoint_of(cluster: Json) -> Endpoint | None:
    """Endpoint to which a cluster of `version_cluster` sends; None for any other cluster."""
    try:
        [group] = cluster["load_assignment"]["endpoints"]
        [host] = group["lb_endpoints"]
        address = host["endpoint"]["address"]["socket_address"]
        return Endpoint(str(address["address"]), int(address["port_value"]))
    except (KeyError, TypeError, ValueError):
        return None


def _aggregate(name: str, members: Sequence[str]) -> Json:
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": _breakers(),
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{EXTENSIONS}.clusters.aggregate.v3.ClusterConfig",
                "clusters": list(members),
            },
        },
    }


def _breakers() -> Json:
    # Envoy allows three retries at a time by default: with a dead challenger the others would fail.
    bound = {"max_connections": 1024, "max_pending_requests": 8192, "max_requests": 8192, "max_retries": 8192}
    return {"thresholds": [bound]}


def routes(
    split: TrafficSplit | None,
    settings: GatewaySettings,
    endpoints: Mapping[VersionName, Endpoint] = MappingProxyType({}),
) -> Json:
    """The route table; without a split every prediction is answered 503.

    `endpoints` are those of the versions that a combiner asks by itself.
    """
    table: list[Json] = []
    if settings.collector is not None:
        limit = {"@type": f"{BUFFER}PerRoute", "buffer": {"max_request_bytes": settings.max_feedback_bytes}}
        taken = {"typed_per_filter_config": {BUFFER_FILTER: limit}}
        for path in POSTED:
            posted: Json = {"cluster": COLLECTOR_CLUSTER, "timeout": "15s"}
            table.append({"match": {"path": path}, "route": posted, **taken})
            posted = {**posted, "prefix_rewrite": path}
            table.append({"match": {"path": f"{path}/"}, "route": posted, **taken})
        limit = {"@type": f"{BUFFER}PerRoute", "buffer": {"max_request_bytes": LARGEST_CALL}}
        taken = {"typed_per_filter_config": {BUFFER_FILTER: limit}}
        match = {"safe_regex": {"regex": f"{WEBHOOKS}/[^/?]+/?"}}
        table.append({"match": match, "route": {"cluster": COLLECTOR_CLUSTER, "timeout": "15s"}, **taken})
    if split is None:
        no_version = envoy_replies.direct(503, envoy_replies.NO_VERSION)
        table.append({"match": {"prefix": "/"}, "direct_response": no_version})
    else:
        action = _action(replace(split, interleaved=None), settings, endpoints)
        mirrored = {
            **_action(split, settings, endpoints),
            "request_mirror_policies": [_mirror(mirror) for mirror in split.mirrors],
        }
        table += [
            {"match": {"path": "/predict"}, "route": mirrored},
            {"match": {"path": "/predict/"}, "route": {**mirrored, "prefix_rewrite": "/predict"}},
            {"match": {"safe_regex": {"regex": "/v2/models/[^/]+/infer"}}, "route": mirrored},
            {"match": {"prefix": "/v2/"}, "route": action},
            # Of the version that answers the asker, and never copied: it is no prediction.
            {"match": {"path": "/explain"}, "route": action},
            {
                "match": {"prefix": "/"},
                "direct_response": envoy_replies.direct(404, envoy_replies.NO_ROUTE),
            },
        ]
    predictions = [
        {
            "name": ":path",
            "string_match": {"safe_regex": {"regex": r"(/predict/?|/v2/models/[^/]+/infer)(\?.*)?"}},
        },
        {"name": ":method", "string_match": {"exact": "POST"}},
    ]
    host = {
        "name": ROUTES_NAME,
        "domains": ["*"],
        "include_request_attempt_count": True,
        "virtual_clusters": [{"name": "predictions", "headers": predictions}],
        "routes": table,
    }
    return {"@type": ROUTES_TYPE, "name": ROUTES_NAME, "virtual_hosts": [host]}


def _action(
    split: TrafficSplit, settings: GatewaySettings, endpoints: Mapping[VersionName, Endpoint]
) -> Json:
    arms = [_stretch(arm, split.champion) for arm in stretches(split)]
    if split.interleaved is not None:
        arms = _with_combiner(arms, split, split.interleaved, endpoints)
    rewrite = {"pattern": {"regex": HASH_PATTERN}, "substitution": f"{escape(split.salt)}/\\1"}
    return {
        "weighted_clusters": {"clusters": arms, "use_hash_policy": True},
        # There is no second policy: a constant one would send all requests without a key to one arm.
        "hash_policy": [{"header": {"header_name": STICKY_HEADER, "regex_rewrite": rewrite}}],
        "host_rewrite_literal": "capstan",
        "timeout": f"{settings.timeout_seconds:g}s",
        "retry_policy": {
            "retry_on": "5xx,reset,connect-failure",
            "num_retries": 2,
            "per_try_timeout": f"{settings.per_try_timeout_seconds:g}s",
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 1,
                },
            },
        },
    }


def _stretch(arm: Arm, champion: VersionName) -> Json:
    """A part of the hash: where it leads, and what the versions are told of it."""
    role = CHAMPION if arm.version == champion or arm.is_vacant else CHALLENGER
    return _leading(arm, champion, {ROLE_HEADER: role, ARM_HEADER: arm.version})


def _with_combiner(
    arms: Sequence[Json], split: TrafficSplit, wanted: Interleaved, endpoints: Mapping[VersionName, Endpoint]
) -> list[Json]:
    """The champion's arm without what the combiner answers, and the combiner's after it."""
    asked = (split.champion, wanted.challenger)
    instruction = Instruction(
        *asked, {name: endpoints[name] for name in asked}, wanted.method, split.salt
    ).header()
    told = {
        ROLE_HEADER: CHAMPION,
        ARM_HEADER: COMBINER,
        INSTRUCTION_HEADER: instruction.replace("%", "%%"),
    }
    [champion] = arms
    combined = _leading(Arm(COMBINER, wanted.percent), split.champion, told)
    return [{**champion, "weight": champion["weight"] - wanted.percent}, combined]


def _leading(arm: Arm, champion: VersionName, told: Mapping[str, str]) -> Json:
    return {
        "name": arm_cluster(arm.version, champion, is_vacant=arm.is_vacant),
        "weight": arm.weight,
        "request_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in told.items()
        ],
    }


def _mirror(mirror: Mirror) -> Json:
    fraction = {"default_value": {"numerator": mirror.percent, "denominator": "HUNDRED"}}
    return {"cluster": mirror.version, "runtime_fraction": fraction}


def document(resources: Sequence[Json]) -> tuple[str, bytes]:
    """(version, content) of a file that Envoy watches; the version is the content's own hash."""
    content = orjson.dumps(list(resources), option=orjson.OPT_SORT_KEYS)
    version = hashlib.sha256(content).hexdigest()[:16]
    return version, orjson.dumps(
        {"version_info": version, "resources": list(resources)}, option=orjson.OPT_INDENT_2
    )


def escape(salt: str) -> str:
    """The salt as a literal in a substitution."""
    return salt.replace("\\", "\\\\")


def split_of(route_config: Json) -> TrafficSplit | None:
    """Split that a route table, as Envoy dumps it, obeys; None if it answers nothing."""
    for route in route_config["virtual_hosts"][0].get("routes", ()):
        action = route.get("route", {})
        if route.get("match", {}).get("path") == "/predict" and "weighted_clusters" in action:
            parts = action["weighted_clusters"]["clusters"]
            arms = [
                Arm(arm_version(arm["name"]), Weight(arm.get("weight", 0)), is_vacant(arm["name"]))
                for arm in parts
            ]
            interleaved = _interleaved(parts)
            if interleaved is not None:
                arms = [
                    replace(arm, weight=Weight(arm.weight + interleaved.percent))
                    for arm in arms
                    if arm.version != COMBINER
                ]
            return TrafficSplit(
                arms=joined(arms),
                mirrors=tuple(
                    Mirror(VersionName(policy["cluster"]), Weight(_percent(policy)))
                    for policy in action.get("request_mirror_policies", ())
                ),
                salt=_salt(action),
                interleaved=interleaved,
            )
    return None


def _interleaved(arms: Sequence[Json]) -> Interleaved | None:
    for arm in arms:
        if arm_version(arm["name"]) == COMBINER:
            told = {
                entry["header"]["key"]: entry["header"]["value"] for entry in arm["request_headers_to_add"]
            }
            instruction = instruction_of(told[INSTRUCTION_HEADER].replace("%%", "%"))
            return Interleaved(instruction.challenger, Weight(arm.get("weight", 0)), instruction.method)
    return None


def _percent(policy: Json) -> int:
    return int(
        policy.get("runtime_fraction", {}).get("default_value", {"numerator": 100}).get("numerator", 0)
    )


def _salt(action: Json) -> str:
    for policy in action.get("hash_policy", ()):
        substitution = str(policy.get("header", {}).get("regex_rewrite", {}).get("substitution", ""))
        return substitution.removesuffix("/\\1").replace("\\\\", "\\")
    return ""


def agreed(splits: Sequence[TrafficSplit | None]) -> TrafficSplit | None:
    """The one split that all obey.

    Where they differ: all their versions, since any of them may get requests, at the mean of their weights, under a
    salt that no rollout has; so it equals no split that is wanted, and nobody takes a version of it for unused.
    """
    if len(set(splits)) <= 1:
        return next(iter(splits), None)
    weights: dict[VersionName, int] = {}
    percents: dict[VersionName, int] = {}
    here = {arm.version for found in splits if found is not None for arm in found.arms if not arm.is_vacant}
    for found in splits:
        for arm in found.arms if found is not None else ():
            weights[arm.version] = weights.get(arm.version, 0) + arm.weight
        for mirror in found.mirrors if found is not None else ():
            percents[mirror.version] = percents.get(mirror.version, 0) + mirror.percent
        if found is not None and found.interleaved is not None:
            both = found.interleaved
            percents[both.challenger] = percents.get(both.challenger, 0) + both.percent
    return TrafficSplit(
        arms=tuple(
            Arm(name, Weight(round(sum_ / len(splits))), is_vacant=name not in here)
            for name, sum_ in weights.items()
        ),
        mirrors=tuple(Mirror(name, Weight(round(sum_ / len(splits)))) for name, sum_ in percents.items()),
        salt=DIFFERING,
    )


def used_clusters(routes: Json) -> frozenset[str]:
    """Clusters that a route table sends anything to."""
    found: set[str] = set()
    for host in routes.get("virtual_hosts", ()):
        for route in host.get("routes", ()):
            action = route.get("route", {})
            found |= {arm["name"] for arm in action.get("weighted_clusters", {}).get("clusters", ())}
            found |= {policy["cluster"] for policy in action.get("request_mirror_policies", ())}
            found |= {action["cluster"]} if "cluster" in action else set()
    return frozenset(found)


def members(cluster: Json) -> frozenset[str]:
    """Clusters that an aggregate sends requests to; none for any other."""
    typed = cluster.get("cluster_type", {}).get("typed_config", {})
    return frozenset(typed.get("clusters", ()))

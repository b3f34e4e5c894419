"""One Envoy's documents made of those of several systems, as plain data, and one system's share of what Envoy says.

Each system writes as if it were alone. In the merged documents its clusters are called `NAME/cluster`, and its routes
are there twice: below `/NAME/` for any host, and under `NAME.localhost` as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from capstan.adapters.envoy import replies as envoy_replies
from capstan.adapters.envoy.config import ROUTES_NAME, ROUTES_TYPE, Json
from capstan.adapters.envoy.host import Kind

Rename: TypeAlias = Callable[[str], str]
OWN_PATHS = frozenset({"predict", "feedback", "events", "webhooks", "v2"})
"""First parts of paths that a system's own routes have; a system of such a name is asked by its host name alone."""
EVERYBODY = "_all"
"""Name of the virtual host for any host name; no system can be called so."""
PREDICTION = r"(/predict/?|/v2/models/[^/]+/infer)(\?.*)?"


@dataclass(frozen=True)
class Fragment:
    """What one system wants Envoy to obey."""

    version: str
    """Hash of the document as the system made it."""
    resources: tuple[Json, ...]

    @classmethod
    def of(cls, content: bytes) -> Fragment:
        document = orjson.loads(content)
        return cls(str(document["version_info"]), tuple(document["resources"]))


def host_name(system: str) -> str:
    """The name under which a system has all paths for itself.

    Browsers and curl take it for this machine; other clients send it as the header Host.
    """
    return f"{system}.localhost"


def merged(kind: Kind, fragments: Mapping[str, Fragment], *, root: str | None, port: int) -> bytes:
    """The document for Envoy. `root`: the system that answers paths without a name; None: none does."""
    ordered = {name: fragments[name] for name in sorted(fragments)}
    version = " ".join(f"{name}={fragment.version}" for name, fragment in ordered.items())
    if kind == "clusters":
        resources = [
            renamed_cluster(cluster, _given_to(name))
            for name, fragment in ordered.items()
            for cluster in fragment.resources
        ]
    else:
        version = f"/={root or ''} {version}"
        resources = [_routes(ordered, root, port)]
    return orjson.dumps({"version_info": version, "resources": resources}, option=orjson.OPT_INDENT_2)


def version_in(merged_version: str, system: str) -> str:
    """Version of one system's document in a merged one; empty: it has none there."""
    parts = dict(part.partition("=")[::2] for part in merged_version.split(" "))
    return parts.get(system, "")


def own_clusters(configs: Sequence[Json], system: str) -> list[Json]:
    """Of a dump of clusters, those of a system under their own names; complaints are everybody's."""
    found = []
    for config in configs:
        cluster = config.get("cluster")
        if cluster is None:
            found.append(config)
        elif cluster["name"].startswith(f"{system}/"):
            own = renamed_cluster(cluster, _taken_from(system))
            found.append({**config, "cluster": own})
    return found


def own_routes(configs: Sequence[Json], system: str) -> list[Json]:
    """Of a dump of route tables, that of a system as it wrote it; complaints are everybody's."""
    found = []
    for config in configs:
        table = config.get("route_config", {"virtual_hosts": ()})
        own = [
            {
                **host,
                "routes": [_renamed_route(r, _taken_from(system)) for r in host["routes"]],
            }
            for host in table.get("virtual_hosts", ())
            if host["name"] == system
        ]
        version = version_in(str(config.get("version_info", "")), system)
        if own or "error_state" in config:
            shown = {"route_config": {**table, "virtual_hosts": own}} if own else {}
            found.append({**config, "version_info": version, **shown})
    return found


def _given_to(system: str) -> Rename:
    return lambda cluster: f"{system}/{cluster}"


def _taken_from(system: str) -> Rename:
    return lambda cluster: cluster.removeprefix(f"{system}/")


def renamed_cluster(cluster: Json, rename: Rename) -> Json:
    """The cluster under another name, and those that it stands for."""
    found = {**cluster, "name": rename(cluster["name"])}
    if "load_assignment" in cluster:
        found["load_assignment"] = {**cluster["load_assignment"], "cluster_name": found["name"]}
    kind = cluster.get("cluster_type")
    if kind is not None:
        typed = kind["typed_config"]
        found["cluster_type"] = {
            **kind,
            "typed_config": {**typed, "clusters": [rename(name) for name in typed["clusters"]]},
        }
    return found


def _renamed_route(route: Json, rename: Rename) -> Json:
    action = route.get("route")
    if action is None:
        return route
    action = dict(action)
    if "cluster" in action:
        action["cluster"] = rename(action["cluster"])
    if "weighted_clusters" in action:
        parts = [{**part, "name": rename(part["name"])} for part in action["weighted_clusters"]["clusters"]]
        action["weighted_clusters"] = {**action["weighted_clusters"], "clusters": parts}
    if "request_mirror_policies" in action:
        action["request_mirror_policies"] = [
            {**policy, "cluster": rename(policy["cluster"])} for policy in action["request_mirror_policies"]
        ]
    return {**route, "route": action}


def _routes(fragments: Mapping[str, Fragment], root: str | None, port: int) -> Json:
    below: list[Json] = []
    without: list[Json] = []
    hosts: list[Json] = []
    counted: list[Json] = []
    for name, fragment in fragments.items():
        [table] = fragment.resources
        [host] = table["virtual_hosts"]
        own = [_renamed_route(route, _given_to(name)) for route in host["routes"]]
        prefix = f"/{name}" if name not in OWN_PATHS else None
        if prefix is not None:
            below += [_below(prefix, route) for route in own]
        if name == root:
            without = [_naming(route, [other for other in fragments if other != name]) for route in own]
        paths = [
            p for p in (re.escape(prefix) if prefix else None, "" if name == root else None) if p is not None
        ]
        if paths:
            counted.append(_counted(name, f"({'|'.join(paths)}){PREDICTION}"))
        hosts.append(
            {
                **host,
                "name": name,
                "domains": [host_name(name), f"{host_name(name)}:{port}"],
                "virtual_clusters": [_counted(name, PREDICTION)],
                "routes": own,
            }
        )
    everybody = {
        "name": EVERYBODY,
        "domains": ["*"],
        "include_request_attempt_count": True,
        "virtual_clusters": counted,
        "routes": [*below, *(without or [_nobody(list(fragments))])],
    }
    return {"@type": ROUTES_TYPE, "name": ROUTES_NAME, "virtual_hosts": [*hosts, everybody]}


def _counted(name: str, path: str) -> Json:
    """Where predictions of one system are counted; a first that fits is taken."""
    headers = [
        {"name": ":path", "string_match": {"safe_regex": {"regex": path}}},
        {"name": ":method", "string_match": {"exact": "POST"}},
    ]
    return {"name": name, "headers": headers}


def _nobody(names: Sequence[str]) -> Json:
    there = ", ".join(f"/{name}/predict" for name in names if name not in OWN_PATHS)
    text = f"is no route here; the systems here are asked at {there}" if there else envoy_replies.NO_VERSION
    return {
        "match": {"prefix": "/"},
        "direct_response": envoy_replies.direct(404 if there else 503, text),
    }


def _naming(route: Json, others: Sequence[str]) -> Json:
    """The route; where it says that there is none, it names the other systems too."""
    answer = route.get("direct_response", {})
    there = ", ".join(f"/{name}/predict" for name in others if name not in OWN_PATHS)
    if not there or answer.get("body", {}).get("inline_string") != envoy_replies.NO_ROUTE:
        return route
    text = f"{envoy_replies.NO_ROUTE}. Other systems here are asked at {there}"
    return {**route, "direct_response": envoy_replies.direct(answer["status"], text)}


def _below(prefix: str, route: Json) -> Json:
    """The same route below a prefix, which the version never sees."""
    match = dict(route["match"])
    rewrite: Json
    if "safe_regex" in match:
        match["safe_regex"] = {"regex": re.escape(prefix) + match["safe_regex"]["regex"]}
        # The prefix alone is taken away; what follows it is the path.
        pattern = {"regex": f"^{re.escape(prefix)}/"}
        rewrite = {"regex_rewrite": {"pattern": pattern, "substitution": "/"}}
    else:
        kind = "path" if "path" in match else "prefix"
        rewrite = {"prefix_rewrite": match[kind]}
        match[kind] = prefix + match[kind]
    found = {**route, "match": match}
    if "route" in route:
        # A route that rewrites already says where it leads.
        found["route"] = {**rewrite, **route["route"]}
    return found

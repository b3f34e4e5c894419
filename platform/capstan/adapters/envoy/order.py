"""The order in which traffic moves on one Envoy or on many without losing a request."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy import host as envoy_host
from capstan.adapters.envoy import stats as envoy_stats
from capstan.adapters.envoy.config import GatewaySettings, Json, agreed
from capstan.adapters.envoy.host import PART, EnvoyHost, Kind
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName
from capstan.errors import NotAllowedError, UnavailableError
from capstan.ports.combining import COMBINER
from capstan.ports.serving import Endpoint

TAKES_SECONDS = 5.0
"""Seconds within which Envoy has read a new document; after them something is wrong."""


class OrderedTraffic(ABC):
    """The TrafficProvider over all Envoys that `_hosts` names: no step begins before every one has ended the last."""

    _looks_seconds = 0.02
    """Seconds between two looks at what Envoy says."""

    def __init__(
        self, settings: GatewaySettings, *, ready_timeout_seconds: float, sleep: Callable[[float], None]
    ) -> None:
        self.settings = settings
        self._ready_timeout = ready_timeout_seconds
        self._sleep = sleep

    @abstractmethod
    def _hosts(self) -> Sequence[EnvoyHost]:
        """Envoys that answer requests now: at least one. Raises UnavailableError."""

    def refusal(self, split: TrafficSplit) -> str | None:
        """Why Envoy can't do the split; None if it can."""
        if split.interleaved is not None and self.settings.combiner is None:
            return (
                "interleaving needs Capstan's combiner beside the gateway, which runs where a step of the file "
                "interleaves; write the step `interleave`, or compare in a shadow step"
            )
        if split.routed:
            return (
                "a router draws requests in a graph of Seldon, which those that come through Capstan's gateway do not "
                "meet; write per: Batch, or provider: Istio"
            )
        return refusal(split)

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None:
        """Cluster -> ready -> route -> drain -> remove; applying what is so already changes nothing.

        Raises NotAllowedError for a split that `refusal` explains; UnavailableError when an Envoy is away, when a
        version that is to get its first requests is not ready, or when Envoy does not take the configuration: whatever
        was routed before stays routed.
        """
        if (refused := self.refusal(split)) is not None:
            raise NotAllowedError(f"{PART} cannot do this split: {refused}")
        if missing := sorted(split.versions - endpoints.keys()):
            raise UnavailableError(PART, f"no endpoint is known for {', '.join(missing)}")
        wanted = envoy_config.clusters(split, endpoints, self.settings)
        self._move(wanted, envoy_config.routes(split, self.settings, endpoints))

    def read_back(self) -> TrafficSplit | None:
        """The split that all obey now, from their own dumps; one that none was told where they differ."""
        return agreed([envoy_host.split(host) for host in self._hosts()])

    def endpoints(self) -> Mapping[VersionName, Endpoint | None]:
        """Where each version's requests and copies go on every Envoy, from their own dumps; None where they differ."""
        return agreed_endpoints([envoy_host.live(host, "clusters") for host in self._hosts()])

    def healthy(self) -> Mapping[str, bool]:
        """Version (or `collector`) -> whether the health checks of every Envoy pass."""
        return _health(self._hosts())

    def _move(self, wanted: Sequence[Json], routes: Json) -> None:
        versions = versions_of(envoy_config.split_of(routes))
        used = envoy_config.used_clusters(routes)
        # A ConfigMap also holds the detours of the change that it ended. They are set where that change ends, for here
        # the arms may still be routed to.
        lasting = [each for each in wanted if each["name"] in used or not envoy_config.is_arm(each["name"])]
        names = {cluster["name"] for cluster in lasting}
        leaving = [cluster for cluster in self._live("clusters") if cluster["name"] not in names]
        ended = [*wanted, *self._detours(leaving, routes, known={cluster["name"] for cluster in wanted})]
        answering = self._answering()
        self._set_clusters([*lasting, *leaving])
        # A version that answers already is not waited for: its failure is judged by the planner.
        self._await_ready(versions - answering)
        self._set_routes(routes)
        if leaving:
            self._drain([cluster["name"] for cluster in leaving])
        if leaving or len(ended) > len(lasting):
            self._set_clusters(ended)

    def _detours(self, leaving: Sequence[Json], routes: Json, known: set[str]) -> list[Json]:
        """Arms that leave, on their way to the new champion until the next change; without those `known` already.

        Envoy chooses the arm of a request by its head and looks for the arm's cluster once it has the body. No counter
        tells of requests in between, so that draining cannot wait for them; a slow client would get a 503.
        """
        split = envoy_config.split_of(routes)
        if split is None:
            return []
        routed = {name for table in self._live("routes") for name in envoy_config.used_clusters(table)}
        arms = [cluster["name"] for cluster in leaving if envoy_config.is_arm(cluster["name"])]
        return [envoy_config.detour(name, split.champion) for name in arms if name in routed - known]

    def _answering(self) -> frozenset[VersionName]:
        """Versions that every Envoy sends requests to already."""
        return frozenset.intersection(*(versions_of(envoy_host.split(host)) for host in self._hosts()))

    def _live(self, kind: Kind) -> list[Json]:
        """What any Envoy obeys, by name."""
        found: dict[str, Json] = {}
        for host in self._hosts():
            for resource in envoy_host.live(host, kind):
                found.setdefault(resource["name"], resource)
        return list(found.values())

    def _set_clusters(self, wanted: Sequence[Json]) -> None:
        version, content = envoy_config.document(wanted)

        def taken(host: EnvoyHost) -> bool:
            return envoy_host.version(host, "clusters") == version

        self._set("clusters", content, taken)

    def _set_routes(self, routes: Json) -> None:
        version, content = envoy_config.document([routes])
        wanted = envoy_config.split_of(routes)

        def taken(host: EnvoyHost) -> bool:
            return envoy_host.version(host, "routes") == version and envoy_host.split(host) == wanted

        self._set("routes", content, taken)

    def _set(self, kind: Kind, content: bytes, taken: Callable[[EnvoyHost], bool]) -> None:
        """Set it on every Envoy, including those that appear meanwhile; returns when all have taken it."""
        told: set[str] = set()
        while new := [host for host in self._hosts() if host.name not in told]:
            for host in new:
                host.publish(kind, content)
            for host in new:
                self._await(host, kind, partial(taken, host))
                told.add(host.name)

    def _await(self, host: EnvoyHost, kind: Kind, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TAKES_SECONDS
        renewed = False
        while not condition():
            if time.monotonic() > deadline:
                where = host.where(kind)
                raise UnavailableError(
                    PART,
                    f"it has not taken the {kind} of {where} for {TAKES_SECONDS:g} s: {envoy_host.complaint(host)}",
                )
            if not renewed and time.monotonic() > deadline - TAKES_SECONDS * 0.8:
                # The document is right, yet Envoy obeys another one: the file was changed and changed back unseen.
                host.renew(kind)
                renewed = True
            self._sleep(self._looks_seconds / 2)

    def _await_ready(self, versions: frozenset[VersionName]) -> None:
        deadline = time.monotonic() + self._ready_timeout
        hosts = self._hosts() if versions else ()
        while unready := sorted(versions - {name for name, passes in _health(hosts).items() if passes}):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    PART, f"{', '.join(unready)} does not pass its health check; nothing was routed"
                )
            self._sleep(self._looks_seconds)

    def _drain(self, names: Sequence[str]) -> None:
        """Wait until the leaving clusters have had nothing to answer for a moment, at most a request's whole
        timeout.
        """
        deadline = time.monotonic() + self.settings.timeout_seconds + 1
        hosts = self._hosts()
        quiet = 0
        while quiet < 3 and time.monotonic() < deadline:
            busy = any(envoy_stats.active_of(host.ask, names) for host in hosts)
            quiet = 0 if busy else quiet + 1
            self._sleep(0.03)


def agreed_endpoints(found: Sequence[Sequence[Json]]) -> Mapping[VersionName, Endpoint | None]:
    known: dict[VersionName, Endpoint | None] = {}
    for clusters in found:
        for cluster in clusters:
            endpoint = envoy_config.endpoint_of(cluster)
            if endpoint is not None and cluster["name"] not in (envoy_config.COLLECTOR_CLUSTER, COMBINER):
                name = VersionName(cluster["name"])
                known[name] = endpoint if known.get(name, endpoint) == endpoint else None
    return known


def versions_of(split: TrafficSplit | None) -> frozenset[VersionName]:
    """Versions that a split uses; none without a split."""
    return split.versions if split is not None else frozenset()


def _health(hosts: Sequence[EnvoyHost]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for host in hosts:
        for name, passes in envoy_host.health(host).items():
            found[name] = found.get(name, True) and passes
    return found


def refusal(split: TrafficSplit) -> str | None:
    """Why no Envoy can do the split; None if it can."""
    versions = [arm.version for arm in split.arms]
    answering = {arm.version for arm in split.arms if arm.weight > 0}
    if sum(arm.weight for arm in split.arms) != 100:
        return f"the weights {[arm.weight for arm in split.arms]} do not sum to 100"
    if any(arm.weight < 0 for arm in split.arms) or any(not 0 <= m.percent <= 100 for m in split.mirrors):
        return "a weight or percentage is outside 0-100"
    if len(set(versions)) < len(versions):
        return f"a version has two arms: {versions}"
    if double := sorted(answering & {mirror.version for mirror in split.mirrors}):
        return f"{', '.join(double)} cannot answer requests and receive their copies at once"
    if (both := split.interleaved) is not None and not 1 <= both.percent <= 100:
        return f"a share of {both.percent} % cannot be interleaved; write 1 to 100"
    if both is not None and (len(versions) > 1 or both.challenger in versions):
        return "requests are interleaved in the champion's arm alone; it must have no other arm beside it"
    if both is not None and any(mirror.version == both.challenger for mirror in split.mirrors):
        return f"{both.challenger} cannot be interleaved and receive copies at once"
    if any(char in split.salt for char in "\n\r\0"):
        return "the salt holds a control character"
    return None

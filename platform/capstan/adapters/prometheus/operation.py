"""Latency, errors and routed shares of two versions, read from Prometheus."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from capstan.adapters.envoy.config import ARM_PREFIX, CHALLENGER, CHAMPION, arm_cluster, arm_version
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.domain.verdicts.evidence import OperationEvidence, QueryEvidence, VersionOperation
from capstan.domain.versions import SystemName, VersionName
from capstan.ports.combining import INTERLEAVED_METRIC
from capstan.ports.measurements import Sample

SHADOW = "shadow"


def growth(selector: str, seconds: float) -> str:
    """PromQL for how much each counter grew in a window that ends at the query's time.

    `increase()` alone would lose the first value of a series that appears inside the window and would extrapolate;
    plain differences would go wrong when a process restarts. A process that is dead by now still counts: only its
    last sample is asked for.
    """
    window = f"{max(int(seconds * 1000), 1)}ms"
    last = f"last_over_time({selector}[{window}])"
    before = f"last_over_time({selector}[5m] offset {window})"
    resets = f"resets({selector}[{window}])"
    return (
        f"((({last} - {before}) >= 0) and {resets} == 0)"
        f" or (increase({selector}[{window}]) and {resets} > 0)"
        f" or {last}"
    )


class PrometheusOperation:
    """The OperationMetrics of one system whose traffic goes through Capstan's Envoy.

    A challenger that hangs, resets or is dead counts nothing itself, and its users were answered by the champion; the
    gateway's counters of the challenger's arm (of its mirror in a shadow step) tell, or those of the combiner that asks
    it for interleaved requests. So the largest of them counts.
    """

    def __init__(
        self,
        query: PrometheusQuery,
        system: SystemName,
        *,
        namespace: str | None = None,
        behind_envoy: bool = True,
        envoy_is_shared: bool = False,
    ) -> None:
        """`namespace`: the system's in a cluster, where many gateways are scraped; None: there is just the one.

        `envoy_is_shared`: on one machine, the one gateway serves other systems too.

        `behind_envoy` False: who splits the requests neither names their role nor hides a failure; a version's own
        counters are then all there is, whatever role they say.
        """
        self._behind_envoy = behind_envoy
        self._query = query
        own = f'system="{system}"'
        if namespace is not None:
            own += f',namespace="{namespace}"'
        self._own = own
        is_alone = namespace is None and not envoy_is_shared
        self._gateway = 'job="envoy"' if is_alone else f'job="envoy",{own}'

    def operation(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        since_wall: datetime,
        now_wall: datetime,
        shadow: bool,
    ) -> OperationEvidence:
        """Both versions in the same window; raises UnavailableError when Prometheus is away."""
        window = (now_wall - since_wall).total_seconds()
        roles = {champion: CHAMPION, challenger: SHADOW if shadow else CHALLENGER}
        versions = "|".join(re.escape(version) for version in roles)
        own = f'{self._own},version=~"{versions}"'.replace("\\", "\\\\")

        def grown(metric: str, labels: str, by: str) -> list[Sample]:
            query = f"sum by ({by}) ({growth(f'{metric}{{{labels}}}', window)})"
            return list(self._query.instant(query, at=now_wall))

        answers = grown("capstan_requests_total", own, "version,role,code")
        copied = grown(INTERLEAVED_METRIC, own, "version,outcome") if shadow else []
        buckets = grown("capstan_request_seconds_bucket", own, "version,role,le")
        gateway = self._gateway
        completed = _by_cluster(grown("envoy_cluster_upstream_rq_completed", gateway, "envoy_cluster_name"))
        retried = _by_cluster(grown("envoy_cluster_upstream_rq_retry", gateway, "envoy_cluster_name"))
        failing = f'{gateway},envoy_response_code_class="5"'
        failed = _by_cluster(grown("envoy_cluster_upstream_rq_xx", failing, "envoy_cluster_name"))

        def is_of(sample: Sample, name: VersionName) -> bool:
            named = sample.labels.get("version") == name
            return named and (not self._behind_envoy or sample.labels.get("role") == roles[name])

        def version(name: VersionName) -> VersionOperation:
            # Mirrored requests are counted by the version's own cluster, those of users by the arm's cluster.
            cluster = name if roles[name] == SHADOW else arm_cluster(name, champion)
            assigned = completed.get(cluster, 0)
            mine = [sample for sample in answers if is_of(sample, name)]
            requests = sum(round(sample.value) for sample in mine)
            errors = sum(
                round(s.value) for s in mine if not re.fullmatch("200|4..", s.labels.get("code", ""))
            )
            hidden = min(retried.get(cluster, 0) + failed.get(cluster, 0), assigned)
            combined = {
                sample.labels.get("outcome"): round(sample.value)
                for sample in copied
                if sample.labels.get("version") == name and roles[name] == SHADOW
            }
            return VersionOperation(
                version=name,
                requests=max(requests, assigned, sum(combined.values())),
                errors=max(errors, hidden, combined.get("failed", 0)),
                latency_buckets=_buckets([sample for sample in buckets if is_of(sample, name)]),
                refused=sum(round(s.value) for s in mine if s.labels.get("code", "").startswith("4")),
            )

        arms: Counter[VersionName] = Counter()
        for cluster, count in completed.items():
            if cluster.startswith(ARM_PREFIX):
                arms[arm_version(cluster)] += count
        assigned = {name: arms[name] for name in (champion, challenger, *arms)}
        found = (version(champion), version(challenger))
        if not self._behind_envoy and not shadow:
            assigned = {each.version: each.requests for each in found}
        return OperationEvidence(*found, assigned)

    def own_query(
        self, promql: str, *, since_wall: datetime, now_wall: datetime, interval: timedelta
    ) -> QueryEvidence:
        """A person's own query at the end of each interval; raises UnavailableError, also for one that is refused."""
        return self._query.measured(promql, since=since_wall, now=now_wall, interval=interval)


def _by_cluster(samples: list[Sample]) -> Mapping[str, int]:
    return {sample.labels.get("envoy_cluster_name", ""): round(sample.value) for sample in samples}


def _buckets(samples: list[Sample]) -> dict[float, int]:
    return dict(sorted((float(s.labels["le"]), round(s.value)) for s in samples))

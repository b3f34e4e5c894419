"""Envoy's counters of predictions, added up over its restarts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from capstan.adapters.envoy.config import ARM_PREFIX, COLLECTOR_CLUSTER, arm_version
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.files import write_whole

PREDICTIONS = "vhost.capstan.vcluster.predictions.upstream_rq_"
EXPORTED = (
    r"^(cluster\.[^.]+\.(upstream_rq_completed|upstream_rq_retry|upstream_rq_[1-5]xx|upstream_rq_timeout"
    r"|upstream_rq_per_try_timeout|upstream_rq_rx_reset|upstream_cx_connect_fail|membership_healthy)"
    r"|vhost\.[^.]+\.vcluster\.[^.]+\.upstream_rq_([1-5]xx|completed|time)"
    r"|http\.gateway\.downstream_rq_(total|active|[1-5]xx))$"
)
"""Value of `filter` in `/stats/prometheus`: the metrics that Prometheus is given."""
CLASSES = ("2xx", "4xx", "5xx")
Ask: TypeAlias = Callable[..., Any]
"""Function that asks an admin port: path and query -> parsed JSON."""


@dataclass(frozen=True)
class PredictionCounts:
    """Predictions that clients asked for; mirrors, retries and feedback not counted."""

    answered: int
    """Requests that a version answered with 2xx."""
    refused: int
    """Requests of clients that were refused with 4xx."""
    failed: int
    """Requests that were answered with 5xx after all retries."""

    @property
    def completed(self) -> int:
        """Requests that a version has dealt with, as its payloads show."""
        return self.answered + self.refused

    @classmethod
    def of(cls, codes: Mapping[str, int]) -> PredictionCounts:
        """From counts by class of code."""
        return cls(codes["2xx"], codes["4xx"], codes["5xx"])


class EnvoyCounters:
    """What `/stats` says; sums over all lives of Envoy's process, told apart by `boot`, are kept in a file."""

    def __init__(self, file: Path, get: Ask, boot: Callable[[], str]) -> None:
        self._file = file
        self._get = get
        self._boot = boot

    def predictions(self) -> PredictionCounts:
        """The sum of this life and of all earlier ones as they were last read.

        Envoy counts from 0 after a restart. What it counted between the last reading and a SIGKILL is not known, so
        read it often.
        """
        book = self._book()
        boot = self._boot()
        now = _counters(self._get, f"^{PREDICTIONS}[245]xx$")
        if boot != book["boot"]:
            before = {name: book["before"].get(name, 0) + count for name, count in book["last"].items()}
            book = {"boot": boot, "before": before, "last": {}}
        book["last"] = {name: now.get(f"{PREDICTIONS}{name}", 0) for name in CLASSES}
        write_whole(self._file, orjson.dumps(book))
        total = {name: count + book["before"].get(name, 0) for name, count in book["last"].items()}
        return PredictionCounts.of(total)

    def remember(self) -> None:
        """Read the counters while Envoy still lives, if it does."""
        with contextlib.suppress(UnavailableError):
            self.predictions()

    def assigned(self) -> Mapping[VersionName, int]:
        return assigned(self._get)

    def active(self) -> int:
        return active(self._get)

    def _book(self) -> dict[str, Any]:
        try:
            book: dict[str, Any] = orjson.loads(self._file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {"boot": "", "before": {}, "last": {}}
        return book


def predictions(ask: Ask) -> PredictionCounts:
    """Counts of this life of one Envoy."""
    now = _counters(ask, f"^{PREDICTIONS}[245]xx$")
    return PredictionCounts.of({name: now.get(f"{PREDICTIONS}{name}", 0) for name in CLASSES})


def assigned(ask: Ask) -> Counter[VersionName]:
    """Predictions that the split gave to each arm in this life of one Envoy, whoever answered in the end."""
    found: Counter[VersionName] = Counter()
    for name, value in _counters(ask, rf"^cluster\.{ARM_PREFIX}[^.]*\.upstream_rq_completed$").items():
        found[arm_version(name.split(".")[1])] += value
    return found


def active(ask: Ask) -> int:
    """Requests, mirrored copies and retries that are not answered yet; those to the collector not counted."""
    waiting = r"^(cluster\..*\.upstream_rq_(active|pending_active)|http\.gateway\.downstream_rq_active)$"
    stats = _counters(ask, waiting)
    return sum(value for name, value in stats.items() if not name.startswith(f"cluster.{COLLECTOR_CLUSTER}."))


def active_of(ask: Ask, clusters: Sequence[str]) -> int:
    """Requests that these clusters have not answered yet."""
    stats = _counters(ask, r"^cluster\..*\.upstream_rq_active$")
    return sum(stats.get(f"cluster.{name}.upstream_rq_active", 0) for name in clusters)


def connections(ask: Ask) -> int:
    """Connections of clients, including idle ones."""
    return sum(_counters(ask, r"^http\.gateway\.downstream_cx_active$").values())


def version_of_clusters(ask: Ask) -> str:
    """Version of the clusters document that was taken last."""
    name = "cluster_manager.cds.version_text"
    stats = ask("/stats", format="json", filter=f"^{name}$", type="TextReadouts")["stats"]
    return "".join(str(stat.get("value", "")) for stat in stats)


def _counters(ask: Ask, pattern: str) -> dict[str, int]:
    stats = ask("/stats", format="json", filter=pattern)["stats"]
    return {stat["name"]: int(stat["value"]) for stat in stats if "value" in stat}

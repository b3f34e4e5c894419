"""Envoy's counters of predictions, added up over its restarts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from capstan.adapters.envoy_config import ARM_PREFIX, COLLECTOR_CLUSTER, arm_version
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.files import write_whole

PREDICTIONS = "vhost.capstan.vcluster.predictions.upstream_rq_"


@dataclass(frozen=True)
class PredictionCounts:
    """Predictions that clients asked for; mirrors, retries and feedback not counted."""

    completed: int
    """Answered by a version: 2xx, or 4xx that refused the request."""
    failed: int
    """Answered 5xx in the end, after all retries."""


class EnvoyCounters:
    """What `/stats` says; sums over all lives of Envoy's process, told apart by `boot`, are kept in a file."""

    def __init__(self, file: Path, get: Callable[..., Any], boot: Callable[[], str]) -> None:
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
        now = self.counters(f"^{PREDICTIONS}[245]xx$")
        if boot != book["boot"]:
            before = {name: book["before"].get(name, 0) + count for name, count in book["last"].items()}
            book = {"boot": boot, "before": before, "last": {}}
        book["last"] = {name: now.get(f"{PREDICTIONS}{name}", 0) for name in ("2xx", "4xx", "5xx")}
        write_whole(self._file, orjson.dumps(book))
        total = {name: count + book["before"].get(name, 0) for name, count in book["last"].items()}
        return PredictionCounts(completed=total["2xx"] + total["4xx"], failed=total["5xx"])

    def remember(self) -> None:
        """Read while Envoy still lives, if it does."""
        with contextlib.suppress(UnavailableError):
            self.predictions()

    def assigned(self) -> Mapping[VersionName, int]:
        found: Counter[VersionName] = Counter()
        for name, value in self.counters(rf"^cluster\.{ARM_PREFIX}[^.]*\.upstream_rq_completed$").items():
            found[arm_version(name.split(".")[1])] += value
        return found

    def active(self) -> int:
        waiting = r"^(cluster\..*\.upstream_rq_(active|pending_active)|http\.gateway\.downstream_rq_active)$"
        stats = self.counters(waiting)
        return sum(
            value for name, value in stats.items() if not name.startswith(f"cluster.{COLLECTOR_CLUSTER}.")
        )

    def counters(self, pattern: str) -> dict[str, int]:
        stats = self._get("/stats", format="json", filter=pattern)["stats"]
        return {stat["name"]: int(stat["value"]) for stat in stats if "value" in stat}

    def text(self, name: str) -> str:
        stats = self._get("/stats", format="json", filter=f"^{name}$", type="TextReadouts")["stats"]
        return "".join(str(stat.get("value", "")) for stat in stats)

    def _book(self) -> dict[str, Any]:
        try:
            book: dict[str, Any] = orjson.loads(self._file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {"boot": "", "before": {}, "last": {}}
        return book

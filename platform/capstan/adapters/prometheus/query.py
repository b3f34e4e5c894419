"""Asks a Prometheus server, wherever it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from capstan.domain.verdicts.evidence import QueryEvidence, QueryMeasurement
from capstan.errors import UnavailableError
from capstan.outages import answer_in_words, in_words
from capstan.ports.measurements import Sample

PART = "Prometheus"
MOST_MEASUREMENTS = 1000
"""Of a person's own query, in one answer; Prometheus itself refuses above 11,000."""


class PrometheusQuery:
    """Instant queries; raises UnavailableError when the server does not answer or refuses the query."""

    def __init__(self, address: str, *, timeout_seconds: float = 10.0) -> None:
        self._client = httpx.Client(base_url=address, timeout=timeout_seconds, trust_env=False)

    def instant(self, query: str, *, at: datetime | None = None) -> Sequence[Sample]:
        """The samples of the query at a moment (None: now); NaN and infinity are left out, for they measure nothing."""
        form = {"query": query, **({"time": f"{at.timestamp():.3f}"} if at is not None else {})}
        answer = self.ask("POST", "/api/v1/query", data=form)
        found = []
        for element in answer["result"]:
            value = float(element["value"][1])
            if math.isfinite(value):
                found.append(Sample(element["metric"], value))
        return found

    def measured(self, query: str, *, since: datetime, now: datetime, interval: timedelta) -> QueryEvidence:
        """The query at the end of each interval since a moment, up to now; only the newest 1,000 are asked for.

        NaN and infinity are left out as in `instant`. The same moments give the same measurements whenever it is asked.
        """
        asked = (now - since) // interval
        if asked < 1:
            return QueryEvidence()
        first = since + interval * max(asked - MOST_MEASUREMENTS + 1, 1)
        newest = since + interval * asked
        form = {
            "query": query,
            "start": f"{first.timestamp():.3f}",
            "end": f"{newest.timestamp():.3f}",
            "step": f"{interval.total_seconds():.3f}",
        }
        answer = self.ask("POST", "/api/v1/query_range", data=form)
        series = answer["result"]
        found = []
        for at, text in series[0]["values"] if len(series) == 1 else ():
            value = float(text)
            if math.isfinite(value):
                # Prometheus answers in milliseconds; the moment is that of the interval's end to the microsecond.
                nearest = round((float(at) - since.timestamp()) / interval.total_seconds())
                found.append(QueryMeasurement(since + interval * nearest, value))
        return QueryEvidence(tuple(found), asked, newest, len(series))

    def firing(self, system: str, kind: str) -> frozenset[tuple[str, str]]:
        """(alert name, version) of the alerts that fire by its own account."""
        return frozenset(
            (alert["labels"]["alertname"], alert["labels"].get("version", ""))
            for alert in self.ask("GET", "/api/v1/alerts")["alerts"]
            if alert["state"] == "firing"
            and (alert["labels"].get("system"), alert["labels"].get("kind")) == (system, kind)
        )

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """Value of `data` in an API answer."""
        try:
            answer = self._client.request(method, path, **request)
            if answer.is_error:
                raise UnavailableError(PART, answer_in_words(answer.status_code, answer.text, PART))
            json = answer.headers.get("content-type", "").startswith("application/json")
            body = answer.json() if json else {}
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
        if body.get("status", "success") != "success":
            raise UnavailableError(PART, answer_in_words(answer.status_code, answer.text, PART))
        return body.get("data")

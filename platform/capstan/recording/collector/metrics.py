"""The collector's metrics: the counts of its ledger and what only this process knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from capstan.recording.collector.asked_requests import Request
from capstan.recording.collector.ledger import REFUSED, UNPAIRED, Ledger


class CollectorMetrics(Collector):
    """Read at every scrape."""

    def __init__(
        self,
        ledger: Ledger,
        own: Callable[[], Mapping[str, float]],
        asked: Mapping[tuple[str, Request], int],
    ) -> None:
        """`own` tells senders, full, waiting, failing, calls of webhooks, and halves, unpaired and repeated of the
        executor's log.

        `asked`: what was posted, by its form and what was found of its requests.
        """
        self._ledger = ledger
        self._own = own
        self._asked = asked

    def collect(self) -> Iterable[Metric]:
        ledger, own = self._ledger, self._own()
        totals = {
            "capstan_collector_payloads_stored": ("Payloads taken", ledger.stored),
            "capstan_collector_payloads_lost": (
                "Payloads that producers lost or that were refused",
                ledger.lost,
            ),
            "capstan_collector_payloads_refused": ("Payloads that break a rule", ledger.refused),
            "capstan_collector_payloads_duplicate": ("Payloads taken before", ledger.duplicates),
            "capstan_collector_requests_answered": ("Requests whose answer is stored", ledger.answered),
            "capstan_collector_requests_refused": (
                "Of the answered: requests that a version refused with 4xx",
                ledger.refused_requests,
            ),
            "capstan_collector_labels": ("Labels taken", ledger.labels),
            "capstan_collector_no_labels": ("Cases that will never have a label", ledger.no_labels),
            "capstan_collector_labels_duplicate": ("Labels known before", ledger.label_duplicates),
            "capstan_collector_events": ("Events taken, corrections among them", ledger.events),
            "capstan_collector_events_retracted": ("Events taken back", ledger.events_retracted),
            "capstan_collector_events_duplicate": ("Events known before", ledger.event_duplicates),
            "capstan_collector_senders_refused": ("Calls without a valid token", own["senders"]),
            "capstan_collector_disk_full": ("Calls answered 507", own["full"]),
            "capstan_collector_webhook_calls": ("Signed calls taken", own["calls"]),
            "capstan_collector_webhook_calls_duplicate": ("Signed calls taken before", own["calls_repeated"]),
            "capstan_collector_webhook_calls_refused": (
                "Calls without a valid signature, too old, too large or too many",
                own["calls_refused"],
            ),
            "capstan_collector_executor_unpaired": (
                "Requests or responses in the executor's log without the other half",
                own["unpaired"],
            ),
            "capstan_collector_executor_repeated": (
                "Halves in the executor's log taken before",
                own["repeated"],
            ),
        }
        for name, (text, value) in totals.items():
            yield CounterMetricFamily(name, text, value=value)
        gauges = {
            "capstan_collector_waiting_bytes": ("Taken, not yet in Parquet", own["waiting"]),
            "capstan_collector_flush_failing": ("1 while nothing can be written to Parquet", own["failing"]),
            "capstan_collector_payloads_missing": (
                "Numbered by producers that fell silent, never handed in",
                ledger.missing,
            ),
            "capstan_collector_executor_waiting": ("Halves in the executor's log that wait", own["halves"]),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        yield self._by_request("labels", "label")
        yield self._by_request("events", "event")
        yield from self._by_version()

    def _by_request(self, form: str, noun: str) -> Metric:
        family = CounterMetricFamily(
            f"capstan_collector_{noun}_requests",
            f"New {form} by what was known of their request when they came: matched, waiting (payloads were on their "
            "way), neverAsked (no answered request has the id) or unknown (not looked up in time)",
            labels=["request"],
        )
        for request in Request:
            family.add_metric([request.value], self._asked.get((form, request), 0))
        return family

    def _by_version(self) -> Iterable[Metric]:
        labels = ["system", "version"]
        lost = CounterMetricFamily(
            "capstan_collector_version_payloads_lost", "Lost payloads by version", labels=labels
        )
        missing = GaugeMetricFamily(
            "capstan_collector_version_payloads_missing", "Missing payloads by version", labels=labels
        )
        # By the name of the services' own counter, since this is where PayloadsLost looks.
        unknown = CounterMetricFamily(
            "capstan_payloads_lost",
            "Lost payloads that the version itself cannot count",
            labels=[*labels, "reason"],
        )
        absent: Counter[tuple[str, str]] = Counter()
        for boot in list(self._ledger.boots.values()):
            if boot.version is not None:
                # Zero too: what appears with its first value seems never to have risen.
                absent[boot.system or "", boot.version] += sum(boot.missing.values())
        for system, versions in self._ledger.losses.items():
            for version, days in versions.items():
                lost.add_metric([system, version], sum(days.values()) - absent[system, version])
        for (system, version), payloads in absent.items():
            missing.add_metric([system, version], payloads)
            reasons = self._ledger.unknown_losses.get(system, {}).get(version, {})
            for reason in (REFUSED, UNPAIRED):
                unknown.add_metric([system, version, reason], reasons.get(reason, 0))
        yield lost
        yield missing
        yield unknown

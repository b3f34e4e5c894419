"""The monitor's metrics: what it has decided about the watched version, for Prometheus to repeat."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from capstan.monitoring.watching import Watcher
from capstan.monitoring.windows import DriftWindow, QualityWindow

ALERT_GAUGES = {
    "DriftDetected": "capstan_drift_alert",
    "PredictionDrifted": "capstan_prediction_drift_alert",
    "MissingValuesRose": "capstan_missing_alert",
    "QualityDropped": "capstan_quality_alert",
    "MonitorBlind": "capstan_monitor_blind_alert",
}


class Exposition(Collector):
    """Read at every scrape; all values are of one checkpoint."""

    def __init__(self, system: str, watcher: Watcher, consecutive: int) -> None:
        self._system = system
        self._watcher = watcher
        self.consecutive = consecutive

    def collect(self) -> Iterable[Metric]:
        checkpoint = self._watcher.checkpoint
        generation = _gauge("capstan_monitor_generation", "Rises with every decision", ["system"])
        generation.add_metric([self._system], checkpoint.generation)
        yield generation
        watch = checkpoint.watch
        if watch is None:
            return
        labels = [self._system, watch.version]
        held = watch.alerts(consecutive=self.consecutive)
        for alert, name in ALERT_GAUGES.items():
            gauge = _gauge(name, f"1 while {alert} holds", ["system", "version"])
            gauge.add_metric(labels, alert in held)
            yield gauge
        ends = _gauge(
            "capstan_window_end_timestamp_seconds", "End of the last window", ["system", "version", "window"]
        )
        for kind, last in (("drift", watch.last_drift), ("quality", watch.last_quality)):
            if last is not None:
                ends.add_metric([*labels, kind], last.end.timestamp())
        yield ends
        unjudged = _gauge(
            "capstan_windows_unjudged",
            "Windows in a row without a verdict, up to the last; 0 where it had one",
            ["system", "version", "question", "reason"],
        )
        for question in watch.questions():
            if question.end is not None:
                unjudged.add_metric([*labels, question.name, question.reason], question.unjudged)
        yield unjudged
        if watch.last_drift is not None:
            yield from _drift(labels, watch.last_drift)
        if watch.last_quality is not None:
            yield from _quality(labels, watch.last_quality)


def _drift(labels: list[str], window: DriftWindow) -> Iterable[Metric]:
    rows = _gauge("capstan_window_rows", "Rows of the last drift window", ["system", "version"])
    rows.add_metric(labels, window.rows)
    yield rows
    families = {
        "distance": _gauge("capstan_drift_distance", "KS, or total variation", [*_BY_FEATURE]),
        "threshold": _gauge("capstan_drift_threshold", "What the distance must exceed", [*_BY_FEATURE]),
        "missing_rate": _gauge("capstan_missing_rate", "Share of missing values", [*_BY_FEATURE]),
        "missing_rise": _gauge("capstan_missing_rise", "Above the training data's", [*_BY_FEATURE]),
        "missing_threshold": _gauge("capstan_missing_threshold", "What the rise must exceed", [*_BY_FEATURE]),
    }
    for feature in window.features:
        for name, family in families.items():
            value = getattr(feature, name)
            if value is not None:
                family.add_metric([*labels, feature.feature], value)
    yield from families.values()
    if window.prediction is not None and window.prediction.distance is not None:
        distance = _gauge("capstan_prediction_drift_distance", "KS of predictions", ["system", "version"])
        distance.add_metric(labels, window.prediction.distance)
        threshold = _gauge("capstan_prediction_drift_threshold", "What it must exceed", ["system", "version"])
        threshold.add_metric(labels, window.prediction.threshold)
        yield from (distance, threshold)


def _quality(labels: list[str], window: QualityWindow) -> Iterable[Metric]:
    by_metric = ["system", "version", "metric"]
    values = {
        "capstan_quality": ("Metric of the last labelled window", window.value),
        "capstan_quality_standard_error": ("Its standard error over days", window.standard_error),
        "capstan_quality_reference": ("The metric on the test window", window.reference),
    }
    for name, (text, value) in values.items():
        if value is not None:
            family = _gauge(name, text, by_metric)
            family.add_metric([*labels, window.metric], value)
            yield family
    if window.coverage is not None:
        coverage = _gauge("capstan_label_coverage", "Labelled share of the window", ["system", "version"])
        coverage.add_metric(labels, window.coverage)
        yield coverage


_BY_FEATURE = ("system", "version", "feature")


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)

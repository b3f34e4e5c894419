"""What dashboards draw of Capstan's metrics: rows of panels, each with its queries.

The queries name the variables `$system`, `$namespace` and `$version`, which a person chooses above the panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from capstan.monitoring.budgets import BUDGET_LEFT, BURN_RATE, FAST, GATEWAY, PREDICTIONS, SLOW

Unit = Literal["short", "reqps", "s", "percentunit", "bytes", "celsius", "dateTimeFromNow"]
"""Grafana's names of units."""


@dataclass(frozen=True)
class Query:
    """One set of lines."""

    expression: str
    legend: str
    """With labels as `{{version}}`."""


@dataclass(frozen=True)
class Panel:
    """One picture."""

    title: str
    text: str
    """What it shows, and what to look for."""
    queries: tuple[Query, ...]
    unit: Unit = "short"
    bounds: tuple[float, ...] = ()
    """Values from which on something is wrong, the mildest first."""
    shows: Literal["lines", "newest"] = "lines"


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    uid: str
    """By which links and later versions find it; also the name of its file."""
    title: str
    text: str
    rows: tuple[Row, ...]
    is_of_a_system: bool = True
    """Whether system, namespace and version are chosen above it."""


def _of(metric: str, more: str = "", *, version: bool = True) -> str:
    chosen = ',version=~"$version"' if version else ""
    # On one machine series have no namespace, which "all" matches too.
    return f'{metric}{{system="$system",namespace=~"$namespace"{chosen}{more}}}'


def _in_parts(metric: str, threshold: str, of: str) -> str:
    """A distance in parts of its threshold; a monitor that moved leaves two series of one thing for minutes."""
    by = f"max by (namespace, system, version, {of})"
    return f"{by} ({_of(metric)}) / {by} ({_of(threshold)})"


def _gateway(metric: str, more: str = "") -> str:
    return f'{metric}{{job="envoy",system=~"$system|",namespace=~"$namespace"{more}}}'


def _rate(series: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def _quantile(share: float, series: str, by: str) -> str:
    return f"histogram_quantile({share:g}, {_rate(series, ', '.join(filter(None, [by, 'le'])))})"


_PREDICTIONS = f',envoy_virtual_cluster=~"{PREDICTIONS}|$system"'
_FIRING, _FAILED, _REFUSED = ',alertstate="firing"', ',code=~"5.."', ',code=~"4.."'
_ARMS, _NAMED = ',envoy_cluster_name=~"arm-.*"', ',version!=""'
_REQUESTS = _of("capstan_requests_total")
_SECONDS = _of("capstan_request_seconds_bucket")

PROMISES = Row(
    "Promises to users",
    (
        Panel(
            "Budget left",
            "Share of what may fail in the window of each promise that is left; below 0 the promise is broken.",
            (Query(_of(BUDGET_LEFT, version=False), "{{slo}}"),),
            "percentunit",
            shows="newest",
        ),
        Panel(
            "Burn rate",
            "How many times as often a promise fails as it may, in the last hour and the last 6 hours.",
            (Query(_of(BURN_RATE, ',window=~"1h|6h"', version=False), "{{slo}} {{window}}"),),
            bounds=(SLOW[1].factor, FAST[0].factor),
        ),
        Panel(
            "Alerts that fire",
            "Each alert of the system; `capstan explain ALERT` prints its runbook.",
            (
                Query(
                    f"sum by (alertname, version, slo) ({_of('ALERTS', _FIRING, version=False)})",
                    "{{alertname}} {{version}} {{slo}}",
                ),
            ),
        ),
    ),
)
REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Answers a second",
            "By version and role; a mirrored copy has the role shadow.",
            (Query(_rate(_REQUESTS, "version, role"), "{{version}} {{role}}"),),
            "reqps",
        ),
        Panel(
            "Failed answers",
            "Share of answers with 5xx. Users get the champion's answer instead of a challenger's failure.",
            (
                Query(
                    f"{_rate(_of('capstan_requests_total', _FAILED), 'version')} / "
                    f"({_rate(_REQUESTS, 'version')} > 0)",
                    "{{version}}",
                ),
            ),
            "percentunit",
        ),
        Panel(
            "Refused requests",
            "Share of requests that a client got wrong, 4xx.",
            (
                Query(
                    f"{_rate(_of('capstan_requests_total', _REFUSED), 'version')} / "
                    f"({_rate(_REQUESTS, 'version')} > 0)",
                    "{{version}}",
                ),
            ),
            "percentunit",
        ),
        Panel(
            "Latency of versions",
            "Median and 99th percentile of the seconds that a version took.",
            (
                Query(_quantile(0.5, _SECONDS, "version"), "{{version}} median"),
                Query(_quantile(0.99, _SECONDS, "version"), "{{version}} p99"),
            ),
            "s",
        ),
        Panel(
            "Latency for users",
            "At the gateway, a second try included.",
            tuple(
                Query(
                    f"{_quantile(share, _gateway(GATEWAY.format('time') + '_bucket', _PREDICTIONS), '')} / 1000",
                    name,
                )
                for share, name in ((0.5, "median"), (0.99, "p99"))
            ),
            "s",
        ),
        Panel(
            "Traffic split",
            "Share of the users' requests that each arm of the gateway was given.",
            (
                Query(
                    _rate(
                        _gateway("envoy_cluster_upstream_rq_completed", _ARMS),
                        "envoy_cluster_name",
                    )
                    + " / ignoring (envoy_cluster_name) group_left () ("
                    + f"sum(rate({_gateway('envoy_cluster_upstream_rq_completed', _ARMS)}"
                    + "[$__rate_interval])) > 0)",
                    "{{envoy_cluster_name}}",
                ),
            ),
            "percentunit",
        ),
        Panel(
            "Age of the model",
            "Time since the end of the champion's training data; a replay has a clock of its own.",
            (
                Query(
                    f"time() - max by (version) ({_of('capstan_training_data_end_timestamp_seconds')})",
                    "{{version}}",
                ),
            ),
            "s",
            shows="newest",
        ),
        Panel(
            "Unlike training",
            "Values a second that were answered though training never saw their like.",
            (
                Query(
                    f"topk(10, {_rate(_of('capstan_outside_training_total'), 'version, column')})",
                    "{{version}} {{column}}",
                ),
            ),
        ),
    ),
)
SATURATION = Row(
    "Saturation",
    (
        Panel(
            "Processor",
            "Cores that each version's process uses; at its limit requests wait.",
            (
                Query(
                    _rate(_of("process_cpu_seconds_total"), "version, instance"), "{{version}} {{instance}}"
                ),
            ),
        ),
        Panel(
            "Memory",
            "Resident memory of each version's process.",
            (
                Query(
                    f"sum by (version, instance) ({_of('process_resident_memory_bytes')})",
                    "{{version}} {{instance}}",
                ),
            ),
            "bytes",
        ),
        Panel(
            "GPUs",
            "Share of the time in which each GPU that a version may use computes; at 1 no more requests fit.",
            (
                Query(
                    f"max by (version, instance, gpu) ({_of('capstan_gpu_utilization_ratio')})",
                    "{{version}} {{instance}} GPU {{gpu}}",
                ),
            ),
            "percentunit",
        ),
        Panel(
            "Memory of GPUs",
            "Taken by whatever process, and by the version's own where NVML tells it.",
            (
                Query(
                    f"max by (version, instance, gpu) ({_of('capstan_gpu_memory_used_bytes')})",
                    "{{version}} {{instance}} GPU {{gpu}}",
                ),
                Query(
                    f"max by (version, instance, gpu) ({_of('capstan_gpu_process_memory_bytes')})",
                    "{{version}} {{instance}} GPU {{gpu}} own",
                ),
            ),
            "bytes",
        ),
        Panel(
            "Temperature of GPUs",
            "Degrees Celsius; a GPU that is too hot computes more slowly.",
            (
                Query(
                    f"max by (version, instance, gpu) ({_of('capstan_gpu_temperature_celsius')})",
                    "{{version}} {{instance}} GPU {{gpu}}",
                ),
            ),
            "celsius",
        ),
        Panel(
            "Requests in the gateway",
            "Being answered now: those that rise without more requests a second wait for a version.",
            (Query(f"sum({_gateway('envoy_http_downstream_rq_active')})", "active"),),
        ),
        Panel(
            "Waiting payloads",
            "Bytes that the collector has taken and not yet stored.",
            (Query(f"sum({_of('capstan_collector_waiting_bytes', version=False)})", "waiting"),),
            "bytes",
        ),
        Panel(
            "Lost payloads",
            "A second; verdicts that they could bias are withheld.",
            (
                Query(_rate(_of("capstan_payloads_lost_total"), "version, reason"), "{{version}} {{reason}}"),
                Query(
                    f"sum by (version) ({_of('capstan_collector_version_payloads_missing')})",
                    "{{version}} missing",
                ),
            ),
        ),
    ),
)
DRIFT = Row(
    "Inputs and predictions",
    (
        Panel(
            "Drift of features",
            "Distance from the training data in parts of its threshold: above 1 a window has drifted.",
            (
                Query(
                    f"topk(10, {_in_parts('capstan_drift_distance', 'capstan_drift_threshold', 'feature')})",
                    "{{version}} {{feature}}",
                ),
            ),
            bounds=(1,),
        ),
        Panel(
            "Drift as rows come",
            "What online detectors say of the last requests in parts of the threshold; with monitoring.drift.online.",
            (
                Query(
                    f"topk(10, {_in_parts('capstan_online_drift', 'capstan_online_drift_threshold', 'feature')})",
                    "{{version}} {{feature}}",
                ),
            ),
            bounds=(1,),
        ),
        Panel(
            "Drift of predictions",
            "The same of what the model answers.",
            (
                Query(
                    _in_parts(
                        "capstan_prediction_drift_distance", "capstan_prediction_drift_threshold", "output"
                    ),
                    "{{version}} {{output}}",
                ),
            ),
            bounds=(1,),
        ),
        Panel(
            "Missing values",
            "How far the share of missing values rose above that of the training data, in parts of its threshold.",
            (
                Query(
                    f"topk(10, {_in_parts('capstan_missing_rise', 'capstan_missing_threshold', 'feature')})",
                    "{{version}} {{feature}}",
                ),
            ),
            bounds=(1,),
        ),
        Panel(
            "What gave drift away",
            "Share of the distance of all features that is lost without one.",
            (Query(_of("capstan_drift_given_away"), "{{version}} {{feature}}"),),
            "percentunit",
        ),
        Panel(
            "Slices that moved",
            "Distance of a feature among the rows of one slice, where it is above its threshold.",
            (Query(f"topk(10, {_of('capstan_drift_slice_distance')})", "{{version}} {{slice}} {{feature}}"),),
        ),
        Panel(
            "Rows of the last window",
            "Windows of too few rows are not judged.",
            (Query(_of("capstan_window_rows"), "{{version}}"),),
        ),
        Panel(
            "Windows without a verdict",
            "In a row, with the reason; no alert does not mean that all is well.",
            (Query(_of("capstan_windows_unjudged"), "{{version}} {{question}} {{reason}}"),),
            bounds=(2,),
        ),
        Panel(
            "Age of the last window",
            "Since its end, in real time; a replay has a clock of its own.",
            (Query(f"{_of('capstan_window_end_timestamp_seconds')} * 1000", "{{version}} {{window}}"),),
            "dateTimeFromNow",
            shows="newest",
        ),
    ),
)
QUALITY = Row(
    "Quality",
    (
        Panel(
            "Quality",
            "The metric of the last labelled window with 95 % bounds, and what it was at the test.",
            (
                Query(_of("capstan_quality"), "{{version}}"),
                Query(
                    f"{_of('capstan_quality')} - 1.96 * {_of('capstan_quality_standard_error')}",
                    "{{version}} low",
                ),
                Query(
                    f"{_of('capstan_quality')} + 1.96 * {_of('capstan_quality_standard_error')}",
                    "{{version}} high",
                ),
                Query(_of("capstan_quality_reference"), "{{version}} at the test"),
            ),
        ),
        Panel(
            "Estimated quality",
            "The same as it probably is before labels come, with its interval.",
            (
                Query(_of("capstan_estimated_quality"), "{{version}} {{metric}}"),
                Query(_of("capstan_estimated_quality_low"), "{{version}} low"),
                Query(_of("capstan_estimated_quality_high"), "{{version}} high"),
                Query(_of("capstan_estimated_quality_reference"), "{{version}} at the test"),
            ),
        ),
        Panel(
            "Losses",
            "Mean loss of a row in the last labelled window, and at the test; for the detector of concept drift.",
            (
                Query(_of("capstan_concept_loss"), "{{version}} {{metric}}"),
                Query(_of("capstan_concept_loss_reference"), "{{version}} at the test"),
            ),
        ),
        Panel(
            "Coverage",
            "Share of rows that have a label, and of rows that the estimate was not calibrated for.",
            (
                Query(_of("capstan_label_coverage"), "{{version}} labelled"),
                Query(_of("capstan_estimated_quality_outside"), "{{version}} outside the estimate"),
            ),
            "percentunit",
        ),
        Panel(
            "What users did",
            "Mean outcome of each online metric with 95 % bounds.",
            (
                Query(_of("capstan_online_metric"), "{{version}} {{metric}}"),
                Query(
                    f"{_of('capstan_online_metric')} - 1.96 * {_of('capstan_online_standard_error')}",
                    "{{version}} {{metric}} low",
                ),
                Query(
                    f"{_of('capstan_online_metric')} + 1.96 * {_of('capstan_online_standard_error')}",
                    "{{version}} {{metric}} high",
                ),
            ),
        ),
    ),
)
LOOP = Row(
    "The loop",
    (
        Panel(
            "Stands still",
            "1 while trainings have failed too often, or while traffic is not divided as the step wants.",
            (
                Query(f"max by (version) ({_of('capstan_retraining_circuit_open')})", "circuit {{version}}"),
                Query(f"max by (version) ({_of('capstan_traffic_split_not_obeyed')})", "split {{version}}"),
            ),
            bounds=(1,),
        ),
        Panel(
            "Versions that answer",
            "1 while Prometheus reaches the version.",
            (Query(f"max by (version) ({_of('up', _NAMED)})", "{{version}}"),),
        ),
    ),
)
OPERATOR = (
    Row(
        "Systems",
        (
            Panel(
                "Systems by phase",
                "Of all namespaces.",
                (Query("sum by (phase) (capstan_systems)", "{{phase}}"),),
            ),
            Panel(
                "Promises with the least left",
                "Share of what may fail that is left, the ten worst of all systems.",
                (Query(f"bottomk(10, {BUDGET_LEFT})", "{{namespace}} {{system}} {{slo}}"),),
                "percentunit",
            ),
            Panel(
                "Alerts that fire",
                "Of all systems.",
                (
                    Query(
                        'sum by (alertname, namespace, system) (ALERTS{alertstate="firing",system!=""})',
                        "{{namespace}} {{system}} {{alertname}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Operator",
        (
            Panel(
                "Looks",
                "Due, planned, running, and at rest after a failure.",
                tuple(
                    Query(f"sum(capstan_queue_{name})", name)
                    for name in ("depth", "waiting", "running", "resting")
                ),
            ),
            Panel(
                "Seconds of a look",
                "Median and 99th percentile.",
                tuple(
                    Query(_quantile(share, "capstan_reconcile_seconds_bucket", ""), name)
                    for share, name in ((0.5, "median"), (0.99, "p99"))
                ),
                "s",
            ),
            Panel(
                "Failed looks",
                "A second, by error.",
                (Query(_rate("capstan_reconcile_errors_total", "error"), "{{error}}"),),
            ),
            Panel(
                "Calls to the API server",
                "A second, tries included.",
                (Query(_rate("capstan_api_calls_total", "verb, resource"), "{{verb}} {{resource}}"),),
                "reqps",
            ),
            Panel(
                "Objects put back",
                "A second: somebody changed or deleted them.",
                (Query(_rate("capstan_objects_put_back_total", "job"), "put back"),),
            ),
            Panel(
                "Leader", "1 where an operator holds the Lease.", (Query("max(capstan_leader)", "leader"),)
            ),
        ),
    ),
)

DASHBOARDS: Sequence[Dashboard] = (
    Dashboard(
        "capstan-system",
        "Capstan: a system",
        "What users get, how versions do, what the monitor sees and what the loop decides.",
        (PROMISES, REQUESTS, SATURATION, DRIFT, QUALITY, LOOP),
    ),
    Dashboard(
        "capstan-operator",
        "Capstan: operator and all systems",
        "Whether the operator keeps up, and which systems need a person.",
        OPERATOR,
        is_of_a_system=False,
    ),
)

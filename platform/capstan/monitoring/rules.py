"""Alert rules of one system, as the content of a Prometheus rule file.

Data alerts repeat what the monitor has decided in event time, so they need no `for`; operation alerts know wall time.
Every alert carries the system and the version it speaks of, and nothing that differs between scrapes, so that one
incident is one alert.
"""

from __future__ import annotations

from typing import Any

from capstan.spec import MLSystem

RUNBOOKS = "platform/docs/runbooks"
"""In the source tree: the pages travel with the version whose rules name them."""


def render(system: MLSystem) -> dict[str, Any]:
    """Two groups: what the data says, and how the parts run."""
    name = system.metadata.name
    return {
        "groups": [
            {"name": f"{name}-data", "rules": _data_rules(system)},
            {"name": f"{name}-operation", "rules": _operation_rules(system)},
        ]
    }


def _data_rules(system: MLSystem) -> list[dict[str, Any]]:
    name, watched = system.metadata.name, system.spec.monitoring
    in_windows = (
        f" in {watched.drift.consecutive} windows of {_days(watched.window.duration.total_seconds())}"
    )
    above = (
        "{{{{ range query (printf \"topk(3, %s{{system='%s',version='%s'}} > on (system, version, feature) "
        '%s)" "{value}" $labels.system $labels.version "{bound}") }}}}'
        '{{{{ .Labels.feature }}}} {{{{ printf "%.3f" .Value }}}} {{{{ end }}}}'
    )
    return [
        _data_rule(
            name,
            "DriftDetected",
            "capstan_drift_alert",
            "warning",
            # Each window has features above their thresholds, but not always the same ones.
            f"drift{in_windows} in a row; above threshold in the last: "
            + above.format(value="capstan_drift_distance", bound="capstan_drift_threshold")
            + "(distance)",
        ),
        _data_rule(
            name,
            "PredictionDrifted",
            "capstan_prediction_drift_alert",
            "warning",
            "distance of predictions from those at training: "
            + _value_of("capstan_prediction_drift_distance")
            + in_windows,
        ),
        _data_rule(
            name,
            "MissingValuesRose",
            "capstan_missing_alert",
            "warning",
            "missing values rose: "
            + above.format(value="capstan_missing_rise", bound="capstan_missing_threshold")
            + in_windows.strip(),
        ),
        _data_rule(
            name,
            "QualityDropped",
            "capstan_quality_alert",
            "critical",
            f"{watched.quality.metric} {_value_of('capstan_quality')}, at the test "
            f"{_value_of('capstan_quality_reference')}; the drop exceeds {watched.quality.max_drop:g} and chance",
            window="quality",
        ),
    ]


def _operation_rules(system: MLSystem) -> list[dict[str, Any]]:
    name = system.metadata.name
    guard = system.spec.rollout.guardrails.error_rate
    errors = guard.max if guard is not None else 0.01
    arms = f'system="{name}",role=~"challenger|shadow"'
    return [
        _rule(
            "PayloadsLost",
            f'sum by (system, version) (increase(capstan_payloads_lost_total{{system="{name}"}}[5m])) > 0',
            "warning",
            '{{ $labels.version }} lost {{ printf "%.0f" $value }} payloads in 5 minutes; verdicts may be withheld',
        ),
        _rule(
            "VersionDown",
            f'max by (system, version) (up{{system="{name}",version!=""}}) == 0',
            "critical",
            "{{ $labels.version }} has not answered for 30 seconds",
            held="30s",
        ),
        _rule(
            "ChallengerErrors",
            f'sum by (system, version) (increase(capstan_requests_total{{{arms},code=~"5.."}}[2m])) / '
            f"sum by (system, version) (increase(capstan_requests_total{{{arms}}}[2m])) > {errors:g}",
            "warning",
            "{{ $labels.version }} fails {{ $value | humanizePercentage }} of its requests; users get the champion",
        ),
    ]


def _data_rule(
    system: str, alert: str, gauge: str, severity: str, summary: str, *, window: str = "drift"
) -> dict[str, Any]:
    rule = _rule(alert, f'max by (system, version) ({gauge}{{system="{system}"}}) == 1', severity, summary)
    rule["labels"]["kind"] = "data"
    # `value` prints large numbers as 1.3850784e+09; whole seconds are what people and parsers expect.
    rule["annotations"]["as_of"] = _value_of(
        "capstan_window_end_timestamp_seconds", extra=f",window='{window}'", form="%.0f"
    )
    return rule


def _rule(alert: str, expression: str, severity: str, summary: str, *, held: str = "0s") -> dict[str, Any]:
    return {
        "alert": alert,
        "expr": expression,
        "for": held,
        "labels": {"severity": severity, "kind": "operation"},
        "annotations": {"summary": summary, "runbook": f"{RUNBOOKS}/{alert}.md"},
    }


def _value_of(metric: str, *, extra: str = "", form: str = "%.3f") -> str:
    query = f"{metric}{{system='%s',version='%s'{extra}}}"
    return (
        f'{{{{ with query (printf "{query}" $labels.system $labels.version) }}}}'
        f'{{{{ . | first | value | printf "{form}" }}}}{{{{ end }}}}'
    )


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:g} days" if seconds >= 86_400 else f"{seconds / 3600:g} hours"

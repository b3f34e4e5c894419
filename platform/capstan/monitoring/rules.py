"""Alert rules of one system, as the content of a Prometheus rule file.

Data alerts repeat what the monitor has decided in event time, so they need no `for`; operation alerts know wall time.
Every alert carries the system and the version it speaks of, and nothing that differs between scrapes, so that one
incident is one alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capstan.monitoring import budgets
from capstan.monitoring.exposition import DATA_ALERT
from capstan.monitoring.questions import QUESTIONS, AlertFacts, Kind, blind
from capstan.monitoring.questions.blind import BLIND
from capstan.monitoring.questions.texts import AlertText
from capstan.spec import MLSystem

RUNBOOK = "capstan explain {alert}"
"""Prints the page of the version that is installed: whoever gets the alert may have no clone."""
GPU_BUSY = 0.95
"""Share of five minutes above which a GPU is said to be saturated."""


@dataclass(frozen=True)
class _Scope:
    """Whose series a rule reads."""

    system: str
    namespace: str | None
    """None: on one machine, where series have no such label."""

    def series(self, metric: str, more: str = "") -> str:
        """The selector of the system's series of a metric."""
        own = f'system="{self.system}"'
        if self.namespace is not None:
            own += f',namespace="{self.namespace}"'
        return f"{metric}{{{own}{more}}}"

    def gateway(self, metric: str, more: str = "") -> str:
        """The same of what the gateway counts of predictions; on one machine a system alone is named nowhere."""
        own = f'job="envoy",system=~"{self.system}|"'
        if self.namespace is not None:
            own = f'job="envoy",system="{self.system}",namespace="{self.namespace}"'
        # Envoy adds a virtual cluster `other` by itself, which counts labels, events and wrong paths.
        own += f',envoy_virtual_cluster=~"{budgets.PREDICTIONS}|{self.system}"'
        return f"{metric}{{{own}{more}}}"

    @property
    def labels(self) -> dict[str, str]:
        """Those that series made from this system's carry."""
        return {
            "system": self.system,
            **({} if self.namespace is None else {"namespace": self.namespace}),
        }

    @property
    def by(self) -> str:
        return "system, version" if self.namespace is None else "namespace, system, version"


def render(system: MLSystem, namespace: str | None = None) -> dict[str, Any]:
    """What the data says, how fast budgets are spent if there are any, and how the parts run.

    `namespace`: the system's in a cluster.
    """
    scope = _Scope(system.metadata.name, namespace)
    prefix = scope.system if namespace is None else f"{namespace}.{scope.system}"
    groups: list[dict[str, Any]] = [{"name": f"{prefix}-data", "rules": _data_rules(system, scope)}]
    if system.spec.monitoring.slos:
        rules = _budget_rules(system, scope)
        groups.append({"name": f"{prefix}-budgets", "interval": budgets.INTERVAL, "rules": rules})
    groups.append({"name": f"{prefix}-operation", "rules": _operation_rules(system, scope)})
    for rule in (rule for group in groups for rule in group["rules"]):
        if namespace is not None:
            rule["labels"]["namespace"] = namespace
    return {"groups": groups}


def _budget_rules(system: MLSystem, scope: _Scope) -> list[dict[str, Any]]:
    rules = budgets.recording_rules(system, scope.series, scope.gateway, scope.labels)
    for alert in budgets.alert_rules(system, scope.series):
        rule = _rule(alert.name, alert.expression, alert.severity, alert.summary)
        rule["labels"] |= {"system": scope.system, "slo": alert.slo}
        rules.append(rule)
    return rules


def _data_rules(system: MLSystem, scope: _Scope) -> list[dict[str, Any]]:
    text = AlertText(system, scope.namespace)
    rules = [
        _data_rule(scope, text, question.alert, question.summary(text), question.kind)
        for question in QUESTIONS.values()
    ]
    return [*rules, _data_rule(scope, text, BLIND, blind.summary(text), "Drift")]


def _operation_rules(system: MLSystem, scope: _Scope) -> list[dict[str, Any]]:
    guard = system.spec.rollout.guardrails.error_rate
    errors = guard.max if guard is not None else 0.01
    arms = ',role=~"challenger|shadow"'
    lost = scope.series("capstan_payloads_lost_total")
    missing = scope.series("capstan_collector_version_payloads_missing")
    up = scope.series("up", ',version!=""')
    busy = scope.series("capstan_gpu_utilization_ratio")
    failed = scope.series("capstan_requests_total", f'{arms},code=~"5.."')
    asked = scope.series("capstan_requests_total", arms)
    return [
        _rule(
            "PayloadsLost",
            # What a dead pod had not handed in, its own counter can tell nobody any more.
            f"sum by ({scope.by}) (increase({lost}[5m]) or delta({missing}[5m])) > 0",
            "warning",
            '{{ $labels.version }} lost {{ printf "%.0f" $value }} payloads in 5 minutes; verdicts may be withheld',
        ),
        _rule(
            "VersionDown",
            f"max by ({scope.by}) ({up}) == 0",
            "critical",
            "{{ $labels.version }} has not answered for 30 seconds",
            held="30s",
        ),
        _rule(
            "GpuSaturated",
            # Memory is no sign: libraries take all of it at once and divide it themselves.
            f"max by ({scope.by}) (avg_over_time({busy}[5m])) > {GPU_BUSY:g}",
            "warning",
            "a GPU of {{ $labels.version }} was busy {{ $value | humanizePercentage }} of 5 minutes",
            held="5m",
        ),
        _rule(
            "ChallengerErrors",
            f"sum by ({scope.by}) (increase({failed}[2m])) / "
            f"sum by ({scope.by}) (increase({asked}[2m])) > {errors:g}",
            "warning",
            "{{ $labels.version }} fails {{ $value | humanizePercentage }} of its requests; users get the champion",
        ),
        _rule(
            "RetrainingCircuitOpen",
            f"max by ({scope.by}) ({scope.series('capstan_retraining_circuit_open')}) == 1",
            "critical",
            "trainings failed again and again, and none starts any more; `capstan status` says why, "
            "`capstan resume` closes the circuit",
        ),
        _rule(
            "TrafficSplitNotObeyed",
            f"max by ({scope.by}) ({scope.series('capstan_traffic_split_not_obeyed')}) == 1",
            "warning",
            "requests are not divided between the champion and {{ $labels.version }} as the rollout wants, "
            "which holds it",
        ),
    ]


def _data_rule(scope: _Scope, text: AlertText, alert: AlertFacts, summary: str, kind: Kind) -> dict[str, Any]:
    gauge = scope.series(DATA_ALERT, f',alert="{alert.name}"')
    rule = _rule(alert.name, f"max by ({scope.by}) ({gauge}) == 1", alert.severity, summary)
    rule["labels"]["kind"] = "data"
    if alert.trigger:
        rule["labels"]["trigger"] = alert.trigger
    # `value` prints large numbers as 1.3850784e+09; whole seconds are what people and parsers expect.
    rule["annotations"]["as_of"] = text.value_of(
        "capstan_window_end_timestamp_seconds", extra=f",window='{kind.lower()}'", form="%.0f"
    )
    return rule


def _rule(alert: str, expression: str, severity: str, summary: str, *, held: str = "0s") -> dict[str, Any]:
    return {
        "alert": alert,
        "expr": expression,
        "for": held,
        "labels": {"severity": severity, "kind": "operation"},
        "annotations": {"summary": summary, "runbook": RUNBOOK.format(alert=alert)},
    }

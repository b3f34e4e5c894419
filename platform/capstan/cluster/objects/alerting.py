"""Alerts of a system: objects for the Prometheus operator, or a rule file for a Prometheus that somebody configured.

The relabelings are those of charts/capstan-stack/files/prometheus.yml, so that series are the same either way.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from capstan.cluster.names import SYSTEM_LABEL, Owner, SystemNames
from capstan.cluster.objects.receivers import receiver_of, route
from capstan.cluster.settings import ClusterSettings
from capstan.monitoring.rules import render
from capstan.ports.codec import to_yaml
from capstan.ports.combining import INTERLEAVED_METRIC
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

SCRAPE_INTERVAL = "10s"
REVISION = "capstan_rules_revision"
"""Name of a series that Prometheus makes when it evaluates the rules of a system; a label says which rules."""
WEBHOOK_TOKEN = "webhook"  # noqa: S105
"""Key in the Secret of the system's tokens."""
OWN_RECEIVER = "capstan"
_META = "__meta_kubernetes_pod_"


def alerting(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """PrometheusRule, PodMonitor and AlertmanagerConfig."""
    labels = names.labels("alerting")
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": names.metadata(names.rules, labels, owner),
            "spec": rules(system, names),
        },
        _pod_monitor(names, owner, labels),
        _alertmanager_config(system, names, settings, owner, labels),
    ]


def rules(system: MLSystem, names: SystemNames) -> dict[str, Any]:
    """The content of a rule file; the same rules have the same revision."""
    document = render(system, names.namespace)
    for group in document["groups"]:
        for rule in group["rules"]:
            # `0s` is the default and is left out; the Prometheus operator would show it as a change.
            if rule.get("for") == "0s":
                del rule["for"]
    told = {"system": str(names.system), "namespace": names.namespace, "revision": revision(document)}
    document["groups"][-1]["rules"].append({"record": REVISION, "expr": "vector(1)", "labels": told})
    return document


def revision(document: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def rule_key(names: SystemNames) -> str:
    """Key of the system's rule file in the ConfigMap that a plain Prometheus mounts."""
    return f"{names.namespace}.{names.system}.yml"


def rule_file(system: MLSystem, names: SystemNames) -> str:
    return to_yaml(rules(system, names)).decode()


def in_force(system: MLSystem, names: SystemNames) -> str:
    """Query that has an answer when Prometheus evaluates exactly these rules."""
    told = rules(system, names)["groups"][-1]["rules"][-1]["labels"]
    wanted = ",".join(f'{name}="{value}"' for name, value in sorted(told.items()))
    return f"{REVISION}{{{wanted}}}"


def _pod_monitor(names: SystemNames, owner: Owner | None, labels: dict[str, str]) -> Object:
    keep_true = {"regex": "true", "action": "keep"}
    relabelings: list[Object] = [
        {"sourceLabels": [f"{_META}annotation_prometheus_io_scrape"], **keep_true},
        {"sourceLabels": [f"{_META}container_init"], "regex": "true", "action": "drop"},
        {
            "sourceLabels": ["__address__", f"{_META}annotation_prometheus_io_port"],
            "regex": r"(.+?)(?::\d+)?;(\d+)",
            "replacement": "$1:$2",
            "targetLabel": "__address__",
        },
        {
            "sourceLabels": [f"{_META}annotation_prometheus_io_path"],
            "regex": "(.+)",
            "targetLabel": "__metrics_path__",
        },
        {"sourceLabels": [f"{_META}label_capstan_dev_system"], "targetLabel": "system"},
        {"sourceLabels": [f"{_META}label_capstan_dev_version"], "targetLabel": "version"},
        {"targetLabel": "job", "replacement": "capstan"},
        {
            "sourceLabels": [f"{_META}label_app_kubernetes_io_name"],
            "regex": "gateway",
            "targetLabel": "job",
            "replacement": "envoy",
        },
        # Without these labels the ports of a pod look alike and are scraped once.
        {"regex": "container|endpoint", "action": "labeldrop"},
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": names.metadata(names.rules, labels, owner),
        "spec": {
            "selector": {"matchLabels": {SYSTEM_LABEL: str(names.system)}},
            "podMetricsEndpoints": [
                {
                    "interval": SCRAPE_INTERVAL,
                    "scrapeTimeout": "5s",
                    "honorLabels": True,
                    "relabelings": relabelings,
                    "metricRelabelings": [
                        {
                            "sourceLabels": ["job", "__name__"],
                            "regex": f"capstan;.+|envoy;(envoy_(cluster|vhost|http)_.*|{INTERLEAVED_METRIC})",
                            "action": "keep",
                        }
                    ],
                }
            ],
        },
    }


def _alertmanager_config(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    labels: dict[str, str],
) -> Object:
    # The Prometheus operator adds a matcher for this namespace; the rules' alerts carry that label.
    people = system.spec.monitoring.receivers
    # Without it, an alert that a route takes would not reach the loop.
    routes = [{"receiver": OWN_RECEIVER, "continue": True}, *map(route, people)] if people else []
    authorization = {"type": "Bearer", "credentials": {"name": names.tokens, "key": WEBHOOK_TOKEN}}
    return {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": names.metadata(names.rules, labels, owner),
        "spec": {
            "route": {
                **({"routes": routes} if routes else {}),
                "receiver": OWN_RECEIVER,
                "matchers": [{"name": "system", "value": str(names.system), "matchType": "="}],
                "groupBy": ["alertname", "system", "version", "slo", "namespace"],
                "groupWait": "0s",
                "groupInterval": "5s",
                "repeatInterval": "1h",
            },
            "receivers": [
                {
                    "name": OWN_RECEIVER,
                    "webhookConfigs": [
                        {
                            "url": settings.webhook_url,
                            "sendResolved": True,
                            "httpConfig": {"authorization": authorization},
                        }
                    ],
                },
                *map(receiver_of, people),
            ],
        },
    }

"""What the operator may do in a cluster, and why: the one list that the chart's roles and the documentation follow.

`python -m capstan_operator.rights` prints it as the chart reads it, with `--table` as the documentation shows it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from capstan.spec.providers import PROVIDERS, Right
from capstan_operator.leader import LEASE

_WATCH = ("get", "list", "watch")
_APPLY = ("create", "patch")

NAMESPACED: Sequence[Right] = (
    Right(
        "capstan.dev", ("mlsystems",), (*_WATCH, "patch"), "follow the files; hold and release the finalizer"
    ),
    Right("capstan.dev", ("mlsystems/status",), ("update", "patch"), "say where a system stands"),
    Right(
        "capstan.dev", ("mlsystems/finalizers",), ("update",), "own objects in a way that blocks their owner"
    ),
    Right(
        "capstan.dev",
        ("trainingruns", "modelrollouts"),
        (*_WATCH, "create", "delete"),
        "one per training and per rollout",
    ),
    Right(
        "capstan.dev", ("trainingruns/status", "modelrollouts/status"), ("update",), "say where they stand"
    ),
    Right(
        "",
        ("configmaps",),
        (*_WATCH, *_APPLY, "delete"),
        "story, gateway's split, files of runs and processes",
    ),
    # No patch and no delete: the API server answers both with the whole object, even with `dryRun=All`.
    Right("", ("secrets",), ("create",), "tokens and storage keys of a system: made once, never read"),
    Right("", ("services",), (*_WATCH, *_APPLY, "delete"), "gateway, collector, monitor, versions"),
    Right("", ("serviceaccounts", "persistentvolumeclaims"), _APPLY, "an account without rights; volumes"),
    Right("", ("pods",), _WATCH, "readiness, reasons of failures, addresses of gateway pods"),
    Right("", ("pods/log",), ("get",), "progress of a training"),
    Right("", ("events",), ("create", "list"), "tell the story; why a training's pod is not scheduled"),
    Right("apps", ("deployments",), (*_WATCH, *_APPLY, "delete"), "gateway, collector, monitor, versions"),
    Right("batch", ("jobs",), (*_WATCH, *_APPLY), "trainings, batches of predictions"),
    Right("policy", ("poddisruptionbudgets",), (*_WATCH, *_APPLY, "delete"), "drains take one pod at a time"),
    Right("autoscaling", ("horizontalpodautoscalers",), (*_APPLY, "delete"), "replicas of a version"),
    Right("networking.k8s.io", ("networkpolicies",), ("list", "watch", *_APPLY), "who talks to whom"),
    Right(
        "machinelearning.seldon.io",
        ("seldondeployments",),
        (*_WATCH, *_APPLY, "delete"),
        "versions, where Seldon is installed",
    ),
    *(right for provider in PROVIDERS.values() for right in provider.rights),
    Right(
        "monitoring.coreos.com",
        ("prometheusrules", "podmonitors", "alertmanagerconfigs"),
        _APPLY,
        "alerts, where the Prometheus operator is installed",
    ),
)
"""In the namespaces of systems: all, or those that the chart names."""

OWN: Sequence[Right] = (
    Right("coordination.k8s.io", ("leases",), ("create",), "one operator acts at a time"),
    Right(
        "coordination.k8s.io", ("leases",), ("get", "update"), "one operator acts at a time", names=(LEASE,)
    ),
)
"""In the operator's own namespace."""


def rules(rights: Sequence[Right]) -> list[dict[str, Any]]:
    """The rights in the form in which a Role or ClusterRole lists them."""
    return [
        {
            "apiGroups": [right.group],
            "resources": list(right.resources),
            **({"resourceNames": list(right.names)} if right.names else {}),
            "verbs": list(right.verbs),
        }
        for right in rights
    ]


def as_yaml() -> str:
    """The content of `charts/capstan/files/rights.yaml`."""
    document: Mapping[str, Any] = {"namespaced": rules(NAMESPACED), "own": rules(OWN)}
    yaml, text = YAML(), StringIO()
    yaml.width = 110
    yaml.default_flow_style = None
    yaml.dump(dict(document), text)
    return (
        "# Written by `python -m capstan_operator.rights`; a test holds it to that list.\n" + text.getvalue()
    )


def as_table() -> str:
    """The rights for people, in Markdown."""
    lines = ["| where | API group | resources | verbs | why |", "|---|---|---|---|---|"]
    for where, rights in (("systems", NAMESPACED), ("operator", OWN)):
        for right in rights:
            resources = ", ".join(f"`{one}`" for one in right.resources)
            if right.names:
                resources += f" named {', '.join(right.names)}"
            group = f"`{right.group}`" if right.group else "core"
            lines.append(f"| {where} | {group} | {resources} | {', '.join(right.verbs)} | {right.why} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m capstan_operator.rights", description=__doc__)
    parser.add_argument("--table", action="store_true", help="Markdown instead of YAML")
    sys.stdout.write(as_table() if parser.parse_args().table else as_yaml())
    return 0


if __name__ == "__main__":
    sys.exit(main())

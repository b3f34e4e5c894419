"""The custom resource definitions of Capstan, generated from the grammar of the file and from the domain.

`python -m capstan.cluster.crds --write charts/capstan/crds` brings the chart up to date; `--check` tells whether it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from capstan.cluster.crd_schema import (
    Schema,
    request_spec,
    status,
    system_name,
    system_name_rule,
    system_spec,
)
from capstan.cluster.names import GROUP
from capstan.domain.rollout import RolloutRequest
from capstan.domain.training import TrainingRequest
from capstan.engine.summary import PHASES
from capstan.ports.store import Kind

VERSION = "v1alpha1"
SHORT_NAMES: Mapping[Kind, str] = {Kind.SYSTEM: "mls", Kind.RUN: "trun", Kind.ROLLOUT: "mro"}
PLURALS: Mapping[Kind, str] = {
    Kind.SYSTEM: "mlsystems",
    Kind.RUN: "trainingruns",
    Kind.ROLLOUT: "modelrollouts",
}
_ABOUT: Mapping[Kind, str] = {
    Kind.SYSTEM: "A machine-learning system: what it must do, from its data to its retraining.",
    Kind.RUN: "One training run of an MLSystem. Made by Capstan; deleted with its system.",
    Kind.ROLLOUT: "One rollout of a new version of an MLSystem. Made by Capstan; deleted with its system.",
}
_HEAD = "# Written by `python -m capstan.cluster.crds --write`; a test holds it to the grammar of the file.\n"

_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "format": "int64"}


def definitions() -> dict[str, Schema]:
    """All CustomResourceDefinitions by the name of their file."""
    return {f"{PLURALS[kind]}.yaml": _definition(kind) for kind in Kind}


def _definition(kind: Kind) -> Schema:
    plural = PLURALS[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "capstan", "app.kubernetes.io/part-of": "capstan"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.value,
                "listKind": f"{kind.value}List",
                "plural": plural,
                "singular": kind.value.lower(),
                "shortNames": [SHORT_NAMES[kind]],
                "categories": ["capstan"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(kind),
                    "schema": {"openAPIV3Schema": _schema(kind)},
                }
            ],
        },
    }


def _schema(kind: Kind) -> Schema:
    parts: dict[Kind, tuple[Schema, Schema]] = {
        Kind.SYSTEM: (system_spec(), status(_system_status(), PHASES[Kind.SYSTEM])),
        Kind.RUN: (request_spec(TrainingRequest), status(_run_status(), PHASES[Kind.RUN])),
        Kind.ROLLOUT: (request_spec(RolloutRequest), status(_rollout_status(), PHASES[Kind.ROLLOUT])),
    }
    spec, seen = parts[kind]
    rules = {"x-kubernetes-validations": [system_name_rule()]} if kind is Kind.SYSTEM else {}
    return {
        "description": _ABOUT[kind],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "metadata": system_name() if kind is Kind.SYSTEM else {"type": "object"},
            "spec": spec,
            "status": seen,
        },
        **rules,
    }


def _system_status() -> dict[str, Schema]:
    def version(role: str) -> Schema:
        return {
            "description": role,
            "type": "object",
            "nullable": True,
            "properties": {
                "version": {"description": "Its name.", **_TEXT},
                "digest": {"description": "Identity of its bytes.", **_TEXT},
                "weight": {
                    "description": "Share of requests that the gateway was seen to give it, in percent.",
                    "nullable": True,
                    **_WHOLE,
                },
            },
        }

    return {
        "message": {
            "description": "What is in the way and the command that mends it, or what is waited for.",
            **_TEXT,
        },
        "champion": version("The version that answers."),
        "challenger": version("The version that is being rolled out; null while none is."),
        "drift": {
            "description": "Drifted while an alert of drift about the champion fires; Stable: its last window was "
            "judged and had none; SliceDrifted: the same, but a slice of its rows drifted (the condition Watched "
            "names it); NotJudged: it had too few rows, or none has closed yet (see the condition Watched); "
            "Unknown: nobody answers.",
            **_TEXT,
        },
        "nextTrainings": {
            "description": "When the schedule trains next, and how many of the labels of newData have come.",
            "type": "array",
            "items": {"type": "string"},
        },
        "estimatedQuality": {
            "description": "The champion's quality in the last window as it probably is before labels come, and how "
            "often such estimates were right; empty: nothing is estimated.",
            **_TEXT,
        },
        "operationAlerts": {
            "description": "Alerts about parts that fire now, such as PayloadsLost: for people, they start nothing.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"description": "Name of the alert.", **_TEXT},
                    "version": {"description": "The version it speaks of; empty: of none.", **_TEXT},
                    "slo": {"description": "The promise of monitoring.slos that it speaks of.", **_TEXT},
                    "since": {"description": "Since when it fires.", **_TEXT},
                    "summary": {"description": "Why, as it began.", **_TEXT},
                },
            },
        },
        "onlineMetrics": {
            "description": "What users did after answers, by online metric and version.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "metric": {"description": "Name of the metric in the file.", **_TEXT},
                    "title": {"description": "The metric as people read it.", **_TEXT},
                    "better": {"description": "Which way it improves: Higher or Lower.", **_TEXT},
                    "version": {"description": "The version that answered.", **_TEXT},
                    "value": {"description": "Mean outcome of units whose time is over.", **_TEXT},
                    "standardError": {"description": "Of the value.", **_TEXT},
                    "units": {"description": "Units behind the value.", "type": "integer"},
                    "coverage": {"description": "Share of units whose time is over.", **_TEXT},
                    "delay": {"description": "Median time from first request to events.", **_TEXT},
                    "to": {"description": "Requests up to here were looked at.", **_TEXT},
                },
            },
        },
    }


def _run_status() -> dict[str, Schema]:
    return {
        "version": {"description": "The version that it made; empty while there is none.", **_TEXT},
        "candidate": {"description": "The candidate that was taken; empty while none is.", **_TEXT},
        "message": {"description": "What it does now, or why it ended so.", **_TEXT},
    }


def _rollout_status() -> dict[str, Schema]:
    return {
        "step": {"description": "The present step, such as `2/3 canary 25 %`.", **_TEXT},
        "weight": {
            "description": "Share of requests that the challenger is meant to answer, in percent.",
            **_WHOLE,
        },
        "message": {"description": "What it waits for, or why it ended so.", **_TEXT},
    }


def _columns(kind: Kind) -> list[Schema]:
    def column(name: str, path: str, about: str, *, wide: bool = False, what: str = "string") -> Schema:
        found: Schema = {"name": name, "type": what, "jsonPath": path, "description": about}
        return {**found, "priority": 1} if wide else found

    ready = '.status.conditions[?(@.type=="Ready")].status'
    by_kind: dict[Kind, Sequence[Schema]] = {
        Kind.SYSTEM: (
            column("Phase", ".status.phase", "What happens now."),
            column("Ready", ready, "Whether the champion is ready."),
            column("Champion", ".status.champion.version", "The version that answers."),
            column("Challenger", ".status.challenger.version", "The version that is rolled out."),
            column("Weight", ".status.challenger.weight", "Its share of requests.", what="integer"),
            column("Drift", ".status.drift", "Whether inputs or predictions have drifted."),
            column("Message", ".status.message", "What is in the way, or what is waited for.", wide=True),
        ),
        Kind.RUN: (
            column("Phase", ".status.phase", "Where it stands."),
            column("Trigger", ".spec.trigger.kind", "What asked for it."),
            column("Version", ".status.version", "The version that it made."),
            column("Candidate", ".status.candidate", "The candidate that was taken.", wide=True),
            column("System", ".spec.system", "Whose run it is.", wide=True),
            column("TriggerReason", ".spec.trigger.reason", "Why it was asked for.", wide=True),
            column("Message", ".status.message", "What it does now, or why it ended so.", wide=True),
        ),
        Kind.ROLLOUT: (
            column("Phase", ".status.phase", "Where it stands."),
            column("Step", ".status.step", "The present step."),
            column("Weight", ".status.weight", "The challenger's share of requests.", what="integer"),
            column("Challenger", ".spec.challenger.name", "The version that is rolled out."),
            column("System", ".spec.system", "Whose rollout it is.", wide=True),
            column("Message", ".status.message", "What it waits for.", wide=True),
        ),
    }
    age = column("Age", ".metadata.creationTimestamp", "Since when it is there.", what="date")
    return [*by_kind[kind], age]


def as_yaml(document: Schema) -> str:
    """The definition as it stands in the chart."""
    from io import StringIO

    yaml = YAML()
    yaml.width = 120
    yaml.default_flow_style = False
    yaml.representer.ignore_aliases = lambda _: True
    text = StringIO()
    yaml.dump(document, text)
    return _HEAD + text.getvalue()


def differing(folder: Path) -> list[str]:
    """Names of the files in the folder that are not as they would be written."""
    wanted = {name: as_yaml(document) for name, document in definitions().items()}
    there = {file.name for file in folder.glob("*.yaml")}
    changed = {name for name, text in wanted.items() if name in there and (folder / name).read_text() != text}
    return sorted(changed | (there ^ wanted.keys()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m capstan.cluster.crds", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="DIR", help="write them there")
    what.add_argument("--check", type=Path, metavar="DIR", help="exit code 1 when those there differ")
    asked: Any = parser.parse_args(arguments)
    if asked.write is not None:
        asked.write.mkdir(parents=True, exist_ok=True)
        for name, document in definitions().items():
            (asked.write / name).write_text(as_yaml(document))
        return 0
    if wrong := differing(asked.check):
        sys.stderr.write(
            f"{', '.join(wrong)}: not what the grammar says; run `python -m capstan.cluster.crds --write "
            f"{asked.check}`\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

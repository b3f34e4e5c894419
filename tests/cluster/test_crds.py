# ruff: noqa: E501 - tables of cases are read line by line
"""A real API server takes the file, fills in its defaults, refuses typical mistakes and teaches the fields."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capstan.adapters.kubernetes.client import KubeClient
from capstan.engine.policies import policy_of, system_policy
from capstan.errors import CapstanError
from capstan.ports.kube import Object
from capstan.ports.store import Kind, Record
from capstan.spec import MLSystem, load

EXAMPLE = Path(__file__).parents[2] / "examples/flight-delays/system.yaml"


@pytest.fixture(scope="module")
def room(new_namespace: Callable[[], str]) -> str:
    return new_namespace()


def document(system: MLSystem, namespace: str) -> Object:
    found = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    found["metadata"]["namespace"] = namespace
    return found


@pytest.fixture
def example(room: str) -> Object:
    return document(load(EXAMPLE), room)


def kubectl(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True)


def test_the_example_is_accepted_as_it_stands_in_the_file(kube: KubeClient, room: str) -> None:
    done = kubectl("apply", "-n", room, "--dry-run=server", "-f", str(EXAMPLE))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "mlsystem.capstan.dev/flight-delays created (server dry run)\n"


def test_defaults_that_the_server_fills_in_change_no_policy(
    kube: KubeClient, room: str, example: Object
) -> None:
    system = load(EXAMPLE)
    example["metadata"]["name"] = "defaulted"
    written = kube.create(example)
    assert written["spec"] != example["spec"], "nothing was filled in"
    record = Record(Kind.SYSTEM, "defaulted", "defaulted", spec=written["spec"])  # type: ignore[arg-type]
    assert policy_of(record) == system_policy(system)
    assert policy_of(record).rollout.digest == system_policy(system).rollout.digest
    again = kube.apply({**example, "metadata": {"name": "defaulted", "namespace": room}}, manager="test")
    assert again["metadata"]["generation"] == written["metadata"]["generation"] == 1


def set_in(document: Any, path: str, value: Any) -> None:
    parts = path.replace("[", ".").replace("]", "").split(".")
    node = document["spec"]
    for part in parts[:-1]:
        key = int(part) if part.isdigit() else part
        if isinstance(node, dict) and key not in node:
            node[key] = {}
        node = node[key]
    last = parts[-1]
    if value is None:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = value


MISTAKES: dict[str, tuple[str, Any, str, str]] = {
    "unknown key": ("serving.replica", {"min": 1}, "spec.serving.replica", "unknown field"),
    "weight above 99": ("rollout.steps[1].canary.weight", 140, "spec.rollout.steps[1].canary.weight", "less than or equal to 99"),
    "text for a number": ("rollout.limits.failures", "one", "spec.rollout.limits.failures", "must be of type integer"),
    "no duration": ("rollout.progressDeadline", "5 minutes", "spec.rollout.progressDeadline", "write a duration"),
    "another task": ("objective.task", "Forecasting", "spec.objective.task", "BinaryClassification"),
    "no target": ("objective.target", None, "spec.objective.target", "Required value"),
    "two steps in one": ("rollout.steps[1].shadow", {}, "spec.rollout.steps[1]", "keep exactly one of shadow, "),
    "no kind of source": ("data.sources[0]", {"name": "flights"}, "spec.data.sources[0]", "keep exactly one of csv, parquet, jsonLines, delta, iceberg, database"),
    "min above max": ("serving.replicas", {"min": 4, "max": 3}, "spec.serving.replicas.min", "min is above max"),
    "target is not the label": ("objective.target", "delayed", "spec.objective.target", "write one column in both"),
    "leak": ("features[0]", {"name": "late", "numeric": {}}, "spec.features", "leakage"),
    "weights fall": ("rollout.steps[2].canary.weight", 5, "spec.rollout.steps", "must rise"),
    "unknown analysis": ("rollout.steps[0].shadow.analyses", ["qualty"], "spec.rollout.analyses", "add it there"),
    "a name twice": ("features[1].name", "distance", "spec.features[3]", "Duplicate value"),
    "metric of no task": ("training.choose.metric", "auc", "spec.training.choose.metric", "write one of rocAuc"),
    "Istio without Seldon": ("serving", {"runtime": "Deployment", "traffic": {"provider": "Istio"}}, "spec.serving.runtime", "write runtime: Seldon, or provider: Envoy"),
    "own variable": ("serving.environment", [{"name": "CAPSTAN_SYSTEM", "value": "x"}], "spec.serving.environment[0].name", "set by Capstan itself"),
    "variable of two values": ("serving.environment", [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}], "spec.serving.environment[0]", "exactly one of value, valueFrom"),
    "yours and made": ("data.volume", {"claim": "mine", "size": "1Gi"}, "spec.data.volume.claim", "keep claim, or size and storageClass"),
    "one look without an end": ("rollout.steps[1]", {"experiment": {"test": "FixedHorizon"}}, "spec.rollout.steps[1].experiment.duration", "write a duration above 0"),
    "several sources without a query": ("data.query", None, "spec.data.query", "add `query:`"),
    "check of nothing": ("data.checks", [{"column": "distance"}], "spec.data.checks[0]", "checks nothing"),
    "sliding without length": ("training.window", {"type": "Sliding"}, "spec.training.window.duration", "belong together"),
    "no margin": ("rollout.analyses[0]", {"name": "quality", "metric": "logLoss", "decide": "NotWorse", "margin": 0}, "spec.rollout.analyses[0].margin", "write a margin above 0"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value", "field", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_the_server_refuses_a_mistake_and_names_its_field(
    kube: KubeClient, room: str, example: Object, path: str, value: Any, field: str, words: str
) -> None:
    broken = copy.deepcopy(example)
    set_in(broken, path, value)
    done = kubectl("create", "-n", room, "--dry-run=server", "-f", "-", text=_json(broken))
    assert done.returncode == 1, done.stdout
    assert field in done.stderr
    assert words in done.stderr


def test_a_name_too_long_for_the_names_made_from_it_is_refused(kube: KubeClient, example: Object) -> None:
    example["metadata"]["name"] = "a" * 41
    with pytest.raises(CapstanError, match=r"metadata\.name"):
        kube.create(example)


def test_a_name_that_no_service_could_have_is_refused_in_words(kube: KubeClient, example: Object) -> None:
    example["metadata"]["name"] = "7churn"
    with pytest.raises(
        CapstanError, match=r"metadata\.name: write lower-case letters.*beginning with a letter"
    ):
        kube.create(example)


@pytest.mark.parametrize(
    ("path", "words"),
    {
        "rollout": ("mlsystem.spec.rollout", ["guardrails", "How a new version meets users"]),
        "step": (
            "mlsystem.spec.rollout.steps.canary.weight",
            ["Share of requests that it answers", "`weight: 25`"],
        ),
        "short name": ("mls.spec.serving.traffic", ["provider", "Istio, only in a cluster"]),
        "run": ("trun.spec.trigger", ["asOf", "may be read"]),
        "rollout object": ("mro.spec.challenger", ["bentoTag", "in the Bento store"]),
        "conditions": ("mlsystem.status.conditions", ["kstatus"]),
    }.values(),
)
def test_kubectl_explain_teaches(kube: KubeClient, path: str, words: list[str]) -> None:
    done = kubectl("explain", path)
    flat = " ".join(done.stdout.split())
    assert [word for word in words if word not in flat] == [], done.stdout + done.stderr


def test_all_objects_of_the_category_are_listed_with_their_columns(
    kube: KubeClient, room: str, example: Object
) -> None:
    example["metadata"]["name"] = "listed"
    kube.create(example)
    table = kubectl("get", "capstan", "-n", room).stdout
    assert "PHASE" in table
    assert "mlsystem.capstan.dev/listed" in table or "listed" in table
    columns = kubectl("get", "mls", "-n", room, "listed").stdout.splitlines()[0].split()
    assert columns == ["NAME", "PHASE", "READY", "CHAMPION", "CHALLENGER", "WEIGHT", "DRIFT", "AGE"]


def _json(document: Object) -> str:
    import json

    return json.dumps(document)

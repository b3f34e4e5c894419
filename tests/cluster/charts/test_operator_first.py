"""The operator is installed before its stack: it says what is missing, and goes on by itself once that is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.access import secret
from cluster.charts import installed
from cluster.loop.parcels import NAME
from cluster.loop.watched import Watched
from ruamel.yaml import YAML

from capstan.adapters.kubernetes.client import KubeClient

pytestmark = pytest.mark.timeout(900)
FILE = Path(__file__).parents[1] / "loop" / "system.yaml"


@pytest.fixture
def watched(kube: KubeClient, namespace: str) -> Iterator[Watched]:
    """A system that was applied where the operator is alone."""
    try:
        installed.install_operator(namespace)
        document = YAML(typ="safe").load(FILE)
        # Its versions would run through Seldon, which this test does without.
        document["spec"]["serving"]["runtime"] = "Deployment"
        document["metadata"]["namespace"] = namespace
        kube.apply(document)
        yield Watched.of(kube, namespace, NAME)
    finally:
        installed.uninstall(namespace)


def test_an_operator_before_its_stack_says_what_is_missing_and_recovers(
    kube: KubeClient, namespace: str, watched: Watched
) -> None:
    # No pod hangs: the operator is ready, and the system says what it waits for.
    keys = f"Secret {namespace}/object-storage-keys"
    watched.eventually(lambda: _says(watched, "Stalled", keys, "install charts/capstan-stack"), 60, keys)
    assert _says(watched, "Ready", keys) is False
    described = installed.kubectl("describe", "mlsystem", NAME, "-n", namespace)
    assert keys in described.partition("Events:")[2], described
    assert keys in installed.kubectl("get", "mlsystem", NAME, "-n", namespace, "-o", "wide")
    assert not kube.list("Deployment", namespace, labels=watched.names.selector("collector"))

    # Half a stack: a Secret of one's own is enough to go on, and the next thing that is missing is told.
    data = {"AWS_ACCESS_KEY_ID": "a3I=", "AWS_SECRET_ACCESS_KEY": "a3I="}
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    release = {"meta.helm.sh/release-name": "stack", "meta.helm.sh/release-namespace": namespace}
    meta = {"name": "object-storage-keys", "namespace": namespace, "labels": helm, "annotations": release}
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    rules = f"ConfigMap {namespace}/prometheus-rules"
    watched.eventually(lambda: _says(watched, "Degraded", rules, "install charts/capstan-stack"), 240, rules)
    assert _says(watched, "Stalled", keys) is None

    # The stack takes the Secret over as it is, and everything comes by itself.
    installed.install_stack(namespace)
    assert secret(kube, namespace, "object-storage-keys") == {
        "AWS_ACCESS_KEY_ID": "kr",
        "AWS_SECRET_ACCESS_KEY": "kr",
    }
    watched.eventually(lambda: _says(watched, "Degraded", rules) is None, 240, "rules have a place")
    watched.eventually(lambda: "PartAway" not in _reasons(watched), 240, "all parts answer")
    watched.eventually(lambda: bool(watched.runs()), 240, "the first training")


def _says(watched: Watched, kind: str, *words: str) -> bool | None:
    """Whether the condition holds, if it says so; None: it says something else, or nothing."""
    for one in (watched.object or {}).get("status", {}).get("conditions", ()):
        if one["type"] == kind and all(word in one["message"] for word in words):
            return bool(one["status"] == "True")
    return None


def _reasons(watched: Watched) -> list[str]:
    conditions = (watched.object or {}).get("status", {}).get("conditions", ())
    return [one["reason"] for one in conditions if one["type"] in ("Stalled", "Degraded")]

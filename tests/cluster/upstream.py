"""What others bring to a cluster, where they have not: their definitions, and a stand-in for Seldon's operator."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cluster import seldon_rules

from capstan.adapters.kubernetes.client import RESOURCES, KubeClient
from capstan.ports.kube import Object

HERE = Path(__file__).parent
CONTROLLER_LABEL = "seldon.io/controller-id"
SELDON_OPERATOR = {"control-plane": "seldon-controller-manager"}


def require_kinds(kube: KubeClient, *kinds: str) -> None:
    """Install the definitions of these kinds that the cluster lacks; they stay, as they would with their operator."""
    missing = [kind for kind in kinds if not kube.serves(kind)]
    for kind in missing:
        group, plural = RESOURCES[kind].api_version.partition("/")[0], RESOURCES[kind].plural
        file = HERE / "crds" / f"{group}_{plural}.yaml"
        subprocess.run(
            ["kubectl", "apply", "--server-side", "-f", str(file)], check=True, capture_output=True
        )
    deadline = time.monotonic() + 30
    while not all(kube.serves(kind) for kind in missing):
        assert time.monotonic() < deadline, f"the API server does not serve {missing}"
        time.sleep(0.2)


@contextmanager
def seldon_operator(kube: KubeClient, namespace: str) -> Iterator[None]:
    """The real one if it follows the namespace; else a stand-in that does, with the rules of its webhook."""
    require_kinds(kube, "SeldonDeployment", "VirtualService")
    labels = (kube.get("Namespace", namespace) or {}).get("metadata", {}).get("labels") or {}
    if any(follows(pod, namespace, labels) for pod in kube.list("Pod", labels=SELDON_OPERATOR)):
        yield
        return
    stand_in = subprocess.Popen([sys.executable, str(HERE / "seldon_stand_in.py"), namespace])
    try:
        with _policy(namespace):
            yield
    finally:
        stand_in.terminate()
        stand_in.wait(10)


def follows(operator: Object, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a pod of Seldon's operator looks at SeldonDeployments of the namespace with these labels.

    It is restricted by WATCH_NAMESPACE, else by `--namespace`; by a controller id it follows labelled objects only.
    """
    if operator.get("status", {}).get("phase") != "Running":
        return False
    manager = operator["spec"]["containers"][0]
    given = {entry["name"]: entry.get("value") or "" for entry in manager.get("env", ())}
    flags = [flag.partition("=")[2] for flag in manager.get("args", ()) if flag.startswith("--namespace=")]
    only = given.get("WATCH_NAMESPACE") or (flags[0] if flags else "")
    return only in ("", namespace) and not given.get("CONTROLLER_ID") and CONTROLLER_LABEL not in labels


@contextmanager
def _policy(namespace: str) -> Iterator[None]:
    """In force from the first moment on: a policy takes a while until it refuses."""
    documents = json.dumps({"apiVersion": "v1", "kind": "List", "items": seldon_rules.policy(namespace)})
    _kubectl("apply", documents)
    try:
        broken, words = seldon_rules.BROKEN["a single one of 75"]
        deadline = time.monotonic() + 30
        while words not in try_out(namespace, broken):
            assert time.monotonic() < deadline, "the rules of Seldon's webhook are not in force"
            time.sleep(0.2)
        yield
    finally:
        _kubectl("delete", documents)


def try_out(namespace: str, document: Object) -> str:
    """What the API server says to it, without keeping it; empty: it would be taken."""
    meta = {**document["metadata"], "namespace": namespace}
    asked = ["kubectl", "create", "--dry-run=server", "-f", "-"]
    text = json.dumps({**document, "metadata": meta})
    done = subprocess.run(asked, input=text, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def _kubectl(verb: str, documents: str) -> None:
    subprocess.run(["kubectl", verb, "-f", "-"], input=documents, check=True, capture_output=True, text=True)

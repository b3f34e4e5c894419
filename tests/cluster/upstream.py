"""What others bring to a cluster, where they have not: their definitions, and a stand-in for Seldon's operator."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capstan.adapters.kube_client import RESOURCES, KubeClient

HERE = Path(__file__).parent
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
    """The real one if it runs in the cluster; else a stand-in that follows the namespace's SeldonDeployments."""
    require_kinds(kube, "SeldonDeployment", "VirtualService")
    if kube.list("Pod", labels=SELDON_OPERATOR):
        yield
        return
    stand_in = subprocess.Popen([sys.executable, str(HERE / "seldon_stand_in.py"), namespace])
    try:
        yield
    finally:
        stand_in.terminate()
        stand_in.wait(10)

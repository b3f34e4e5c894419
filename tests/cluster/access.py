"""How a test gets at what is in the cluster: addresses of services, contents of secrets and of the object storage."""

from __future__ import annotations

import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.processes.ports_in_use import free_port
from capstan.artifacts.store import ArtifactStore
from capstan.cluster.names import SystemNames


def store_at(address: str, prefix: str) -> ArtifactStore:
    """What is below the prefix in the stack's object storage; its keys are in the environment."""
    host = address.removeprefix("http://")
    return ArtifactStore(f"s3://capstan/{prefix}?endpoint_override={host}&scheme=http")


def secret(kube: KubeClient, namespace: str, name: str) -> dict[str, str]:
    """Its contents; fails if it is not there."""
    found = kube.get("Secret", name, namespace)
    assert found is not None, f"no Secret {namespace}/{name}"
    return {key: b64decode(value).decode() for key, value in found["data"].items()}


def tokens(kube: KubeClient, names: SystemNames) -> dict[str, str]:
    """Of a system, from the Secret that its gateway mounts; fails if there is no gateway."""
    gateway = kube.get("Deployment", names.gateway, names.namespace)
    assert gateway is not None, f"no Deployment {names.namespace}/{names.gateway}"
    [name] = [
        volume["secret"]["secretName"]
        for volume in gateway["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "tokens"
    ]
    return secret(kube, names.namespace, name)


@contextmanager
def reached(
    kube: KubeClient, namespace: str, service: str, port: int, *, by_name: bool = False
) -> Iterator[str]:
    """Base URL of a Service: its own address where this machine reaches it, else by `kubectl port-forward`.

    `by_name`: it answers only to names that it knows, 127.0.0.1 among them.
    """
    found = kube.get("Service", service, namespace)
    assert found is not None, f"no Service {namespace}/{service}"
    address = found["spec"]["clusterIP"]
    if not by_name and _answers(address, port):
        yield f"http://{address}:{port}"
        return
    with forwarded(namespace, f"service/{service}", port) as local:
        yield f"http://127.0.0.1:{local}"


@contextmanager
def forwarded(namespace: str, what: str, port: int) -> Iterator[int]:
    """The port of this machine that `kubectl port-forward` leads to that of a Service or pod."""
    local = free_port()
    command = ["kubectl", "-n", namespace, "port-forward", what, f"{local}:{port}"]
    forward = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not _answers("127.0.0.1", local):
            assert time.monotonic() < deadline, f"cannot reach {namespace}/{what}"
            time.sleep(0.2)
        yield local
    finally:
        forward.terminate()
        forward.wait(10)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False

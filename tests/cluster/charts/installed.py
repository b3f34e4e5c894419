"""The charts installed in a namespace of their own, with images that were built here."""

from __future__ import annotations

import os
import subprocess

from cluster.charts.rendering import CHARTS, helm

REGISTRY = os.environ.get("CAPSTAN_TEST_REGISTRY") or "docker.io/library"
TAG = os.environ.get("CAPSTAN_TEST_TAG") or "test"
STACK_IS_LOCAL = os.environ.get("CAPSTAN_TEST_STACK", "local") == "local"
"""Whether images of the stack's programs were made by tests/cluster/images, or are pulled."""


STACK = (
    "statefulset/mlflow",
    "statefulset/object-storage",
    "statefulset/prometheus",
    "statefulset/alertmanager",
)
OPERATOR = "deployment/capstan-operator"
PAGE = "deployment/capstan-page"


def image(name: str) -> str:
    return f"{REGISTRY}/capstan-{name}:{TAG}"


def stack_options() -> list[str]:
    values = {"mlflow.image": image("python")}
    if STACK_IS_LOCAL:
        values |= {
            "objectStorage.image": image("test-object-storage"),
            "prometheus.image": image("test-prometheus"),
            "alertmanager.image": image("test-alertmanager"),
        }
    return _set(values)


def operator_options(systems: str) -> list[str]:
    """For systems of one namespace, so that installations beside each other do not meet."""
    values = {
        "images.registry": REGISTRY,
        "images.tag": TAG,
        "watchNamespaces": f"{{{systems}}}",
        "userRoles": "false",
    }
    if STACK_IS_LOCAL:
        values["images.override.alertmanager"] = image("test-alertmanager")
    return _set(values)


def install(namespace: str, systems: str | None = None) -> None:
    """Both charts, or an upgrade of both; returns when all pods are ready. `systems`: where these are, if elsewhere."""
    systems = systems or namespace
    _install_stack(namespace, systems)
    _install_operator(namespace, systems)
    _wait_for(namespace, *STACK, OPERATOR, PAGE)


def install_operator(namespace: str) -> None:
    """The operator alone; returns when it is ready."""
    _install_operator(namespace, namespace)
    _wait_for(namespace, OPERATOR, PAGE)


def install_stack(namespace: str) -> None:
    """The stack alone; returns when all pods are ready."""
    _install_stack(namespace, namespace)
    _wait_for(namespace, *STACK)


def _install_stack(namespace: str, systems: str) -> None:
    options = ["--set", f"prometheus.watchNamespaces={{{systems}}}", *stack_options()]
    _helm(namespace, "upgrade", "--install", "stack", str(CHARTS / "capstan-stack"), *options)


def _install_operator(namespace: str, systems: str) -> None:
    apply_definitions()
    chart = ("upgrade", "--install", "capstan", str(CHARTS / "capstan"), "--skip-crds")
    _helm(namespace, *chart, *operator_options(systems))


def _wait_for(namespace: str, *workloads: str) -> None:
    for what in workloads:
        kubectl("rollout", "status", what, "-n", namespace, "--timeout=300s")


def apply_definitions() -> None:
    """As the notes of the chart say for an upgrade."""
    kubectl(
        *("apply", "--server-side", "--force-conflicts", "--field-manager=helm"),
        *("-f", str(CHARTS / "capstan/crds")),
    )


def uninstall(namespace: str) -> None:
    for release in ("capstan", "stack"):
        _helm(namespace, "uninstall", release, "--wait", "--ignore-not-found")


def kubectl(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def _helm(namespace: str, *arguments: str) -> str:
    return helm(*arguments, "--namespace", namespace)


def _set(values: dict[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]

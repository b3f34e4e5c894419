"""Both charts are installed, upgraded, uninstalled and installed again; what the docs say is kept is kept."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any

import httpx
import pytest
from browser.conftest import FLAGS, chromium
from cluster.access import forwarded, reached, secret, store_at
from cluster.charts import installed
from cluster.charts.rendering import helm
from cluster.upstream import require_kinds
from playwright.sync_api import expect, sync_playwright

from capstan.adapters.kubernetes.client import KubeClient
from capstan.artifacts.store import ArtifactStore
from capstan.errors import UnavailableError
from capstan.testing.ports.waiting import eventually

EXPERIMENTS = "api/2.0/mlflow/experiments"
PAGE = {"app.kubernetes.io/name": "page"}
LOOPBACK = "0100007F"
"""As /proc/net/tcp writes it."""


def _artifacts(
    kube: KubeClient, namespace: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> ArtifactStore:
    for name, value in secret(kube, namespace, "object-storage-keys").items():
        monkeypatch.setenv(name, value)
    return store_at(address, "kept")


def _system(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "kept", "namespace": namespace},
        "spec": {
            "suspend": True,
            "objective": {"task": "BinaryClassification", "target": "churned"},
            "data": {
                "sources": [{"name": "customers", "csv": {"path": "customers.csv", "timeColumn": "seen_at"}}],
                "query": "select * from customers",
                "keys": {"id": "customer_id", "time": "seen_at"},
                "label": {"column": "churned", "availableAt": "known_at", "maximumDelay": "30d"},
            },
            "features": [{"name": "plan", "categorical": {"encode": "OneHot"}}],
            "training": {"candidates": [{"name": "baseline", "mostFrequent": {}}]},
        },
    }


@pytest.mark.timeout(1500)
def test_what_the_docs_say_is_kept_is_kept(
    kube: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_kinds(kube, "ServiceMonitor")
    installed.install(namespace)
    helm("test", "capstan", "--namespace", namespace, "--timeout", "180s")
    _the_parts_know_each_other(kube, namespace)

    _only_keys_open_the_object_storage(kube, namespace)

    keys = {
        name: secret(kube, namespace, name)
        for name in ("capstan-keys", "object-storage-keys", "object-storage-door")
    }
    with reached(kube, namespace, "object-storage", 7070) as address:
        _artifacts(kube, namespace, address, monkeypatch).write("note", b"kept")
    with reached(kube, namespace, "mlflow", 5000, by_name=True) as address:
        made = httpx.post(f"{address}/{EXPERIMENTS}/create", json={"name": "kept"})
        assert made.status_code == 200, made.text
    kube.patch("ConfigMap", "prometheus-rules", namespace, {"data": {"kept.yml": "groups: []\n"}})
    kube.apply(_system(namespace))

    _the_page_shows_what_a_person_may_see(kube, namespace)

    installed.install(namespace)
    assert {name: secret(kube, namespace, name) for name in keys} == keys
    rules = kube.get("ConfigMap", "prometheus-rules", namespace)
    assert rules is not None
    assert rules["data"] == {"kept.yml": "groups: []\n"}

    installed.uninstall(namespace)
    assert not kube.list("Deployment", namespace, labels={"app.kubernetes.io/name": "operator"})
    assert kube.get("MLSystem", "kept", namespace) is not None
    volumes = {claim["metadata"]["name"] for claim in kube.list("PersistentVolumeClaim", namespace)}
    assert {"data-mlflow-0", "data-object-storage-0", "data-prometheus-0", "data-alertmanager-0"} <= volumes

    installed.install(namespace)
    del keys["object-storage-door"]
    assert {name: secret(kube, namespace, name) for name in keys} == keys
    with reached(kube, namespace, "object-storage", 7070) as address:
        artifacts = _artifacts(kube, namespace, address, monkeypatch)
        # Just after an installation it may answer with a fault of its own; who reads asks again, as a pod does.
        eventually(lambda: _read(artifacts, "note") is not None, 60)
        assert artifacts.read("note") == b"kept"
    with reached(kube, namespace, "mlflow", 5000, by_name=True) as address:
        found = httpx.get(f"{address}/{EXPERIMENTS}/get-by-name", params={"experiment_name": "kept"})
        assert found.status_code == 200, found.text

    installed.uninstall(namespace)


def _read(artifacts: ArtifactStore, name: str) -> bytes | None:
    """None: the storage is not there yet."""
    with contextlib.suppress(UnavailableError):
        return artifacts.read(name)
    return None


def _the_page_shows_what_a_person_may_see(kube: KubeClient, namespace: str) -> None:
    """Its pods reach the stack; a session goes on when the replica that began it is deleted."""
    for name, verbs in (("sees", ["get", "list"]), ("sees-nothing", [])):
        meta = {"name": name, "namespace": namespace}
        kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        if verbs:
            installed.kubectl(
                *("create", "role", name, "-n", namespace, "--resource=mlsystems.capstan.dev"),
                *(f"--verb={verb}" for verb in verbs),
            )
            account = f"--serviceaccount={namespace}:{name}"
            installed.kubectl("create", "rolebinding", name, "-n", namespace, f"--role={name}", account)
    own = {"x-capstan-page": "1"}
    with reached(kube, namespace, "capstan-page", 80) as address, httpx.Client(base_url=address) as browser:
        door = browser.get("/")
        assert (door.status_code, "Kubernetes token" in door.text) == (401, True)
        nobody = kube.request_token("sees-nothing", namespace, seconds=600)
        listed = browser.get("/api/systems", headers={"authorization": f"Bearer {nobody}"}).json()
        assert listed["systems"] == []
        token = kube.request_token("sees", namespace, seconds=600)
        assert browser.post("/api/session", json={"token": token}, headers=own).status_code == 200
        assert [one["name"] for one in browser.get("/api/systems").json()["systems"]] == ["kept"]
        state = f"/systems/{namespace}/kept/api/state"
        eventually(
            lambda: not {"registry", "Prometheus", "Alertmanager"} & set(browser.get(state).json()["away"])
        )
        _a_browser_goes_on_while_replicas_are_killed(kube, namespace, address, token)


def _a_browser_goes_on_while_replicas_are_killed(
    kube: KubeClient, namespace: str, address: str, token: str
) -> None:
    """One after the other, so that one of them has the open stream; the same document goes on, still signed in."""
    pods = [pod["metadata"]["name"] for pod in kube.list("Pod", namespace, labels=PAGE)]
    assert len(pods) == 2
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS)) as browser,
    ):
        page = browser.new_page()
        page.goto(address)
        page.locator("#token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="kept").click()
        expect(page.locator("#head h1")).to_have_text("kept")
        page.evaluate("window.stillTheSamePage = true")
        for number, pod in enumerate(pods):
            installed.kubectl("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force")
            installed.kubectl("rollout", "status", installed.PAGE, "-n", namespace, "--timeout=120s")
            business = f"Keep customers, {number}"
            kube.patch("MLSystem", "kept", namespace, {"spec": {"objective": {"business": business}}})
            expect(page.locator("#head")).to_contain_text(business, timeout=60_000)
            expect(page.locator("#banner")).to_be_hidden()
        assert page.evaluate("window.stillTheSamePage") is True


def _the_parts_know_each_other(kube: KubeClient, namespace: str) -> None:
    """Prometheus reads the operator's metrics and sends to Alertmanager, which shows the operator its token."""
    with reached(kube, namespace, "prometheus", 9090) as address:
        managers = httpx.get(f"{address}/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
        assert managers
        targets = httpx.get(f"{address}/api/v1/targets").json()["data"]["activeTargets"]
        assert {target["scrapePool"] for target in targets} >= {"capstan-operator"}, json.dumps(targets)
        assert {target["labels"]["job"] for target in targets} >= {"capstan-operator", "capstan-page"}


def _only_keys_open_the_object_storage(kube: KubeClient, namespace: str) -> None:
    """Its S3 port asks for keys, another one for a certificate; the rest is out of other pods' reach."""
    [pod] = kube.list("Pod", namespace, labels={"app.kubernetes.io/name": "object-storage"})
    ports = installed.kubectl(
        *("exec", "-n", namespace, pod["metadata"]["name"], "--", "cat", "/proc/net/tcp", "/proc/net/tcp6")
    )
    listening = [line.split()[1] for line in ports.splitlines() if line.split()[3] == "0A"]
    others = {int(port, 16) for host, _, port in (at.rpartition(":") for at in listening) if host != LOOPBACK}
    assert others == {7070, 17070}
    with reached(kube, namespace, "object-storage", 7070) as address:
        assert httpx.get(f"{address}/capstan").status_code == 403
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        forwarded(namespace, f"pod/{pod['metadata']['name']}", 17070) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain) as speaking,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
    ):
        speaking.recv(100)

"""Claims about the Secrets of a system as its wiring makes them, and as its pods refer to them."""

from __future__ import annotations

import copy
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cluster.toy_versions import toy_system

from capstan.adapters.kubernetes.batches import JobBatches
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.tokens import TokenSource
from capstan.cluster.wiring.systems import ClusterSystem, ClusterWiring
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.ports.kube import Object
from capstan.spec.batch import Batch

DOCUMENT = {"metadata": {"name": "toy", "namespace": "team", "uid": "uid-of-toy"}}
STORAGE = "s3://capstan/artifacts?endpoint_override=object-storage.capstan-system.svc:9000&scheme=http"
V1 = ModelVersion(
    VersionName("v1"),
    Digest(f"sha256:{'a' * 64}"),
    RunName("run-1"),
    "toy:0123",
    datetime(2026, 3, 1, tzinfo=UTC),
)


class Keys:
    """What the operator has mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("master", "m" * 32)
        self.write("AWS_ACCESS_KEY_ID", "id")
        self.write("AWS_SECRET_ACCESS_KEY", "key")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def wire(self, kube: MemoryKube) -> ClusterSystem:
        """As an operator that starts with these keys."""
        settings = ClusterSettings(
            artifacts=STORAGE, artifact_keys=self.folder, master_key=self.folder / "master"
        )
        return ClusterWiring(kube, settings).wire(toy_system(), copy.deepcopy(DOCUMENT))


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of the test")
    return Keys(tmp_path)


def made(system: ClusterSystem) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in system.documents() if one["kind"] == "Secret"}


def asked_for(node: Any) -> Iterator[str]:
    """Names of Secrets that containers and volumes refer to."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "secretName":
                yield value
            elif key in ("secretRef", "secretKeyRef"):
                yield value["name"]
            else:
                yield from asked_for(value)
    elif isinstance(node, list):
        for item in node:
            yield from asked_for(item)


def test_every_secret_that_a_pod_refers_to_is_made_under_that_name(keys: Keys) -> None:
    kube = MemoryKube(without=("SeldonDeployment",))
    system = keys.wire(kube)
    system.serving.deploy(V1)
    names = {name for one in (*system.documents(), *kube.list("Deployment")) for name in asked_for(one)}
    assert names == set(made(system))
    assert len(names) == 2
    assert all(one["immutable"] for one in made(system).values())


def test_an_operator_that_starts_again_refers_to_the_same_secrets(keys: Keys) -> None:
    kube = MemoryKube(without=("SeldonDeployment",))
    assert made(keys.wire(kube)) == made(keys.wire(kube))


@pytest.mark.parametrize("key", ["master", "AWS_SECRET_ACCESS_KEY"])
def test_other_keys_are_in_another_secret_and_the_pods_move_to_it(keys: Keys, key: str) -> None:
    kube = MemoryKube(without=("SeldonDeployment",))
    before = keys.wire(kube)
    before.serving.deploy(V1)
    keys.write(key, "n" * 32)
    after = keys.wire(kube)
    after.settle()
    new = set(made(after)) - set(made(before))
    assert new
    names = {name for one in (*after.documents(), *kube.list("Deployment")) for name in asked_for(one)}
    assert names == set(made(after))


def test_the_reading_token_is_of_a_key_of_its_own_and_only_where_there_is_one(keys: Keys) -> None:
    keys.write("reading", "r" * 40)
    plain = keys.wire(MemoryKube(without=("SeldonDeployment",)))
    settings = ClusterSettings(
        artifacts=STORAGE,
        artifact_keys=keys.folder,
        master_key=keys.folder / "master",
        reading_key=keys.folder / "reading",
    )
    kube = MemoryKube(without=("SeldonDeployment",))
    read = ClusterWiring(kube, settings).wire(toy_system(), copy.deepcopy(DOCUMENT))

    def tokens(system: ClusterSystem) -> Mapping[str, str]:
        [secret] = [one for name, one in made(system).items() if name.startswith("toy-tokens")]
        return secret["data"]

    def monitor(system: ClusterSystem) -> Mapping[str, Any]:
        [config] = [
            one["data"]["monitor.json"]
            for one in system.documents()
            if one["kind"] == "ConfigMap" and "monitor.json" in one.get("data", {})
        ]
        return json.loads(config)

    assert "reading" not in tokens(plain)
    assert "reading_token" not in monitor(plain)
    assert monitor(read)["reading_token"] == "/tokens/reading"
    given = b64decode(tokens(read)["reading"]).decode()
    # What the page derives with the key that it mounts.
    assert given == TokenSource(b"r" * 40).token("uid-of-toy", "reading")
    assert {name: value for name, value in tokens(read).items() if name != "reading"} == tokens(plain)


def test_batches_by_the_calendar_have_a_volume_and_are_made_by_jobs() -> None:
    batch = Batch(schedule="0 3 * * *", output="predictions")
    system = toy_system()
    batched = system.model_copy(update={"spec": system.spec.model_copy(update={"batch": batch})})
    made = ClusterWiring(MemoryKube(), ClusterSettings(artifacts=STORAGE)).wire(
        batched, copy.deepcopy(DOCUMENT)
    )
    claims = {one["metadata"]["name"] for one in made.documents() if one["kind"] == "PersistentVolumeClaim"}
    assert "toy-predictions" in claims
    assert isinstance(made.engine._observer.batches, JobBatches)

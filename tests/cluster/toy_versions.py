"""A toy system whose versions really serve: its Bentos on a volume of its namespace, a client inside the cluster."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.kubernetes.client import KubeClient
from capstan.artifacts.store import ArtifactStore
from capstan.cluster.names import MODEL_PORT, SystemNames
from capstan.cluster.objects.access import access
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.pods import container, pod
from capstan.cluster.settings import ClusterSettings, Images
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.transform import FeatureTransform
from capstan.ports.kube import Object
from capstan.ports.serving import Endpoint
from capstan.spec import MLSystem, parse

SYSTEM = SystemName("toy")
ROW = {"distance": 1200, "carrier": "UA"}
INFER = {
    "id": "r-1",
    "inputs": [
        {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1200]},
        {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
    ],
}
SETTINGS = ClusterSettings(
    images=Images(operator="capstan-operator:test", serving="capstan-serving:test"), seldon_executor=False
)
_ASK = """
import json, sys, urllib.request
for url, body in json.loads(sys.argv[1]):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        print(json.dumps(json.loads(answer.read())))
"""


def toy_system(**serving: object) -> MLSystem:
    """One that asks for little."""
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": SYSTEM},
            "spec": {
                "objective": {"business": "Test", "task": "BinaryClassification", "target": "late"},
                "data": {
                    "sources": [{"name": "t", "csv": {"path": "t.csv", "timeColumn": "at"}}],
                    "query": "select * from t",
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "late", "availableAt": "known_at"},
                },
                "features": [
                    {"name": "distance", "numeric": {}},
                    {"name": "carrier", "categorical": {"encode": "Integer"}},
                ],
                "serving": {"resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}, **serving},
            },
        },
        base_dir=Path(),
    )


def train(folder: Path) -> Path:
    """A model folder."""
    rng = np.random.default_rng(7)
    table = {"distance": rng.uniform(100, 3000, 400), "carrier": rng.choice(["AA", "UA"], 400)}
    transform = FeatureTransform(
        (NumericSettings("distance", "distance", scale="Log"), CategoricalSettings("carrier", "carrier"))
    )
    pipeline = Pipeline([("transform", transform), ("model", LogisticRegression())])
    joblib.dump(pipeline.fit(table, table["carrier"] == "UA"), folder / "pipeline.joblib")
    manifest = {
        "system": SYSTEM,
        "task": "BinaryClassification",
        "target": "late",
        "columns": [
            {"name": "distance", "type": "Number", "kind": "numeric", "nullable": True},
            {"name": "carrier", "type": "Text", "kind": "categorical", "nullable": True},
        ],
        "keys": {},
        "classes": [False, True],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "sample.json").write_text(json.dumps([{"distance": 500.0, "carrier": "AA"}]))
    return folder


@dataclass
class ToyBento:
    """A real Bento, and the bytes that the artifacts keep of it."""

    tag: str
    digest: Digest
    tar: bytes

    @classmethod
    def build(cls, folder: Path) -> ToyBento:
        model, home = folder / "model", folder / "home"
        model.mkdir()
        packager = BentoPackager(home)
        tag, digest = packager.package(SYSTEM, train(model))
        store = ArtifactStore(f"file://{folder}/artifacts")
        store.push_bento(tag, packager.path(tag))
        tar = store.read(f"bentos/{tag.replace(':', '/')}.tar")
        assert tar is not None
        return cls(tag, digest, tar)

    def version(self, name: str, *, tag: str | None = None, digest: Digest | None = None) -> ModelVersion:
        return ModelVersion(
            VersionName(name),
            digest or self.digest,
            RunName("run-1"),
            tag or self.tag,
            datetime(2013, 2, 1, tzinfo=UTC),
        )


@dataclass
class ToyNamespace:
    """What versions need of their namespace: account, volume, tokens; and somebody who asks them."""

    kube: KubeClient
    name: str
    settings: ClusterSettings = SETTINGS

    @property
    def names(self) -> SystemNames:
        return SystemNames(self.name, SYSTEM)

    def prepare(self, contents: Mapping[str, bytes]) -> None:
        """The system's fixed objects, and these files below its artifacts."""
        token = base64.b64encode(b"secret").decode()
        tokens: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self.names.metadata(self.names.tokens, {}, None),
            "data": {"internal": token, "feedback": token},
        }
        for document in [*access(toy_system(), self.names, self.settings, None), tokens]:
            self.kube.apply(document)
        self.keep(contents)

    def keep(self, contents: Mapping[str, bytes]) -> None:
        """Put files below the artifacts, over what is there: a pod copies them out of a ConfigMap."""
        name = f"keep-{secrets.token_hex(3)}"
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": self.names.metadata(name, {}, None),
                "binaryData": {
                    path.replace("/", "__"): base64.b64encode(content).decode()
                    for path, content in contents.items()
                },
            }
        )
        place = artifacts_place(self.names, self.settings)
        script = (
            "import pathlib\n"
            "for file in pathlib.Path('/kept').glob('[!.]*'):\n"
            "    place = pathlib.Path('/artifacts', *file.name.split('__'))\n"
            "    place.parent.mkdir(parents=True, exist_ok=True)\n"
            "    place.write_bytes(file.read_bytes())\n"
        )
        mounts = [{"name": "kept", "mountPath": "/kept"}, *place.mounts(read_only=False)]
        volumes = [{"name": "kept", "configMap": {"name": name}}, *place.volumes]
        self.run(name, ("python", "-c", script), mounts=mounts, volumes=volumes)

    def ask(self, endpoint: Endpoint, calls: Sequence[tuple[str, Any]]) -> list[Any]:
        """Answers to (path, body or None), asked by a pod that the NetworkPolicies take for the gateway."""
        url = f"http://{endpoint.host}:{endpoint.port}"
        argument = json.dumps([(f"{url}{path}", body) for path, body in calls])
        said = self.run(f"ask-{secrets.token_hex(3)}", ("python", "-c", _ASK, argument))
        return [json.loads(line) for line in said.splitlines()]

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        mounts: Sequence[Object] = (),
        volumes: Sequence[Object] = (),
    ) -> str:
        """What a pod under Pod Security "restricted" said before it ended well."""
        main = container("main", self.settings.images.operator, self.settings.images, argv, mounts=mounts)
        spec = {**pod(self.names, self.settings, [main], volumes=volumes), "restartPolicy": "Never"}
        metadata = self.names.metadata(name, self.names.labels("gateway"), None)
        self.kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

        def phase() -> str:
            found = self.kube.get("Pod", name, self.name) or {}
            return str(found.get("status", {}).get("phase"))

        wait_until(
            lambda: phase() in ("Succeeded", "Failed"),
            lambda: yaml.dump(self.kube.get("Pod", name, self.name)),
        )
        said = self.kube.pod_log(name, self.name, tail=1000)
        assert phase() == "Succeeded", said
        self.kube.delete("Pod", name, self.name)
        return said

    def story(self) -> str:
        """Statuses of the versions' pods, for a test that waits in vain."""
        pods = self.kube.list("Pod", self.name, labels=self.names.selector("model"))
        return yaml.dump([pod.get("status") for pod in pods])


def wait_until(
    condition: Callable[[], bool], story: Callable[[], str] = lambda: "", seconds: float = 240
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, story()
        time.sleep(0.3)


def port_of(endpoint: Endpoint | None) -> Endpoint:
    assert endpoint is not None
    assert endpoint.port == MODEL_PORT
    return endpoint

"""One system in an installed Capstan, as a test speaks to it: commands, pods, artifacts, models made by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.access import store_at
from cluster.charts.installed import image
from cluster.loop.installed import Installed
from cluster.loop.traffic import Traffic
from cluster.loop.watched import Watched

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.conditions import holds
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.artifacts.content import MODEL_FOLDER
from capstan.artifacts.store import ArtifactStore
from capstan.cluster.names import SYSTEM_LABEL, VERSION_LABEL
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.engine import commands
from capstan.ports.kube import Object


@dataclass
class Story:
    """One installed Capstan with one system, its users, and what a test did to it."""

    kube: KubeClient
    platform: Installed
    name: str
    namespace: str
    folder: Path
    watched: Watched
    traffic: Traffic | None = None
    began: float = field(default_factory=time.monotonic)

    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def capstan(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "capstan", *arguments)

    def push(self) -> None:
        """Copy the tables to the data volume."""
        where = ("--context", ".", "--namespace", self.namespace)
        self.capstan("push", "system.yaml", *where, "--image", image("python"))

    def pods(self, version: str | None = None) -> list[Object]:
        """Those of the system, or of one version, that are ready."""
        labels = {SYSTEM_LABEL: self.name, **({} if version is None else {VERSION_LABEL: version})}
        return [pod for pod in self.kube.list("Pod", self.namespace, labels=labels) if holds(pod, "Ready")]

    def until_services_follow_pods(self) -> None:
        """Controllers look ever more seldom for an API server that was lost; Services stay as they were until then."""
        pod = next(one["metadata"]["name"] for one in self.pods() if "gateway" in one["metadata"]["name"])
        kubectl = ("kubectl", "-n", self.namespace)
        # Of the Service that this makes, only a controller that sees both it and the pod's new label makes an endpoint.
        self.run(*kubectl, "create", "service", "clusterip", "probe", "--tcp=80")
        self.run(*kubectl, "label", "pod", pod, "app=probe")
        slices = ("get", "endpointslices", "-l", "kubernetes.io/service-name=probe")
        ready = "jsonpath={.items[*].endpoints[*].conditions.ready}"
        self.watched.eventually(
            lambda: "true" in self.run(*kubectl, *slices, "-o", ready), 180, "a new Service has an endpoint"
        )
        self.run(*kubectl, "label", "pod", pod, "app-")
        self.run(*kubectl, "delete", "service", "probe")

    def takes_pods(self, node: str) -> bool:
        return not self.run("kubectl", "get", "node", node, "-o", "jsonpath={.spec.unschedulable}")

    @property
    def users(self) -> Traffic:
        assert self.traffic is not None
        return self.traffic

    def assert_nobody_noticed(self, since: int = 0, but: tuple[str, ...] = ()) -> None:
        """No user's request failed, of those after the first `since` failures, `but` such as begin so."""
        failures = [one for one in self.users.total.failures[since:] if not one.what.startswith(but)]
        assert failures == [], (
            f"{len(failures)} failures, the first {failures[0]}\n{self.watched.told_in_full()}"
        )

    def inject(self, model: Path, run: str) -> VersionName:
        """Package and register a hand-made model past every gate, and ask for its rollout."""
        champion = self.watched.state.champion
        assert champion is not None
        packager = BentoPackager(self.folder / "home")
        tag, digest = packager.package(SystemName(self.name), model)
        with self.artifacts() as artifacts:
            artifacts.push_bento(tag, packager.verify(tag, digest))
        made = ModelVersion(VersionName(""), digest, RunName(run), tag, champion.as_of)
        with self.platform.mlflow() as address:
            name = self.watched.names.registry_model
            registry = MlflowRegistry(SystemName(self.name), tracking_uri=address, model=name)
            version = registry.register(made, tags={}, metrics={}).name
        commands.issue(self.watched.store, self.name, "promote", version=version)
        return version

    def champions_model(self, folder: Path) -> Path:
        champion = self.watched.state.champion
        assert champion is not None
        with self.artifacts() as artifacts:
            bento = artifacts.pull_bento(champion.bento_tag, champion.digest, self.folder / "pulled")
        return shutil.copytree(bento / MODEL_FOLDER, folder / "model")

    @contextmanager
    def artifacts(self) -> Iterator[ArtifactStore]:
        with self.platform.object_storage() as address:
            yield store_at(address, f"{self.namespace}/{self.name}")

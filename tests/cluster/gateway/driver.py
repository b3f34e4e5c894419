"""Runs in a pod in the operator's place: moves traffic by the real adapter, sends requests, tells what came of it."""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.conditions import holds
from capstan.cluster.names import AGENT_PORT, COLLECTOR_PORT, GATEWAY_PORT, MODEL_PORT, SystemNames
from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight, champion_only
from capstan.domain.versions import SystemName, VersionName
from capstan.ports.kube import Object
from capstan.ports.serving import Endpoint

V1, V2, V3 = VersionName("v1"), VersionName("v2"), VersionName("v3")
THREADS = 6


@dataclass
class Answers:
    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    by_key: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return {"statuses": self.statuses, "versions": self.versions, "problems": self.problems[:5]}


class World:
    def __init__(self) -> None:
        self.kube = KubeClient.in_cluster()
        self.names = SystemNames(os.environ["NAMESPACE"], SystemName("flights"))
        self.report: dict[str, Any] = {}
        names = self.names
        self.fleet = EnvoyFleet(
            self.kube,
            httpx.Client(trust_env=False),
            config_map=names.metadata(names.gateway, names.labels("gateway"), None),
            labels=names.selector("gateway"),
            agent_port=AGENT_PORT,
            token=os.environ["TOKEN"],
            settings=GatewaySettings(
                port=GATEWAY_PORT, collector=Endpoint(names.host(names.collector), COLLECTOR_PORT)
            ),
        )

    def endpoint(self, version: VersionName) -> Endpoint:
        return Endpoint(self.names.host(self.names.model(version)), MODEL_PORT)

    def apply(self, split: TrafficSplit) -> None:
        self.fleet.apply(split, {name: self.endpoint(name) for name in split.versions})
        found = self.fleet.read_back()
        assert found == split, f"{split} was applied, {found} is obeyed"

    def pods(self, component: str) -> list[Object]:
        found = self.kube.list("Pod", self.names.namespace, labels=self.names.selector(component))
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, component: str) -> list[Object]:
        return [pod for pod in self.pods(component) if holds(pod, "Ready")]

    def send(self, count: int, host: str = "", port: int = 80, *, keyed: bool = False) -> Answers:
        numbers, answers = iter(range(count)), Answers()
        host = host or self.names.host(self.names.gateway)
        threads = [
            threading.Thread(target=client, args=(host, port, numbers, answers, keyed, lambda: False))
            for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    @contextmanager
    def load(self, name: str) -> Iterator[None]:
        """Requests without a pause while the block runs; what came of them goes into the report."""
        over, answers, numbers = threading.Event(), Answers(), iter(range(10**9))
        host = self.names.host(self.names.gateway)
        threads = [
            threading.Thread(target=client, args=(host, 80, numbers, answers, True, over.is_set))
            for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
            self.report[name] = answers.told()


_TAKEN = threading.Lock()


def client(
    host: str, port: int, numbers: Iterator[int], answers: Answers, keyed: bool, over: Callable[[], bool]
) -> None:
    """One connection that stays open until it is told to close."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    while not over():
        with _TAKEN:
            number = next(numbers, None)
        if number is None:
            return
        headers = {"x-capstan-key": f"tail-{number % 1000}"} if keyed else {}
        try:
            connection.request("POST", "/predict", b"{}", headers)
            answer = connection.getresponse()
            content, status = answer.read(), str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with _TAKEN:
                answers.statuses["lost"] += 1
                answers.problems.append(f"{type(error).__name__}: {error}")
            continue
        with _TAKEN:
            answers.statuses[status] += 1
            if status == "200":
                version = json.loads(content)["version"]
                answers.versions[version] += 1
                answers.by_key[f"tail-{number}"] = version
            else:
                answers.problems.append(content.decode()[:200])
        time.sleep(0.002)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 90.0) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"{what} did not happen in {seconds:g} s"
        time.sleep(0.2)
    return time.monotonic() - started


def canary(champion: VersionName, challenger: VersionName, weight: int, salt: str) -> TrafficSplit:
    arms = (Arm(champion, Weight(100 - weight)), Arm(challenger, Weight(weight)))
    return TrafficSplit(arms, salt=salt)


def story(world: World) -> None:
    eventually(lambda: len(world.ready("gateway")) == 2, "two ready gateway pods")
    assert world.fleet.read_back() is None
    world.report["before"] = world.send(5).statuses

    world.apply(champion_only(V1))
    world.apply(canary(V1, V2, 25, "r1"))
    world.report["shares"] = world.send(2000).told()
    addresses = [pod["status"]["podIP"] for pod in world.ready("gateway")]
    first, second = (world.send(400, address, GATEWAY_PORT, keyed=True).by_key for address in addresses)
    through = world.send(400, keyed=True).by_key
    world.report["same arm on both pods"] = len(first) == 400 and first == second == through
    counted = world.fleet.predictions()
    world.report["counted"] = [counted.completed, counted.failed, sum(world.fleet.assigned().values())]

    with world.load("versions change"):
        for wanted in (
            TrafficSplit(champion_only(V1).arms, (Mirror(V2, Weight(100)),), "r2"),
            canary(V1, V2, 50, "r2"),
            champion_only(V2),
            canary(V2, V3, 40, "r3"),
            champion_only(V3),
        ):
            world.apply(wanted)
            for version in (V1, V2, V3):
                if version not in wanted.versions:
                    restart(world, version)
    with world.load("pod deleted"):
        gone = world.ready("gateway")[0]["metadata"]["name"]
        world.kube.delete("Pod", gone, world.names.namespace)
        world.apply(canary(V3, V1, 30, "r4"))
        eventually(
            lambda: len(world.ready("gateway")) == 2 and not there(world, gone),
            "the deleted pod's replacement",
        )
        world.report["after the deletion"] = world.fleet.read_back() == canary(V3, V1, 30, "r4")
        time.sleep(1)
    with world.load("rolled out"):
        names = {pod["metadata"]["name"] for pod in world.ready("gateway")}
        change = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
        world.kube.patch("Deployment", world.names.gateway, world.names.namespace, change)
        eventually(
            lambda: len(world.ready("gateway")) == 2 and not any(there(world, name) for name in names),
            "a rollout of the gateway",
            180.0,
        )
        world.report["after the rollout"] = world.fleet.read_back() == canary(V3, V1, 30, "r4")

    written = world.kube.get("ConfigMap", world.names.gateway, world.names.namespace)
    assert written is not None
    edited = written["data"]["routes.json"].replace('"weight": 70', '"weight": 7')
    newer = str(int(written["data"]["generation"]) + 1)
    change = {"data": {"routes.json": edited, "generation": newer}}
    world.kube.patch("ConfigMap", world.names.gateway, world.names.namespace, change)
    world.report["edited by hand: seen"] = world.fleet.read_back() != canary(V3, V1, 30, "r4")
    world.apply(canary(V3, V1, 30, "r4"))
    world.report["edited by hand: put back"] = world.fleet.read_back() == canary(V3, V1, 30, "r4")

    found = world.kube.get("ConfigMap", world.names.gateway, world.names.namespace)
    assert found is not None
    with world.load("old copy put back"):
        time.sleep(1)
        world.apply(canary(V3, V1, 60, "r4"))
        obeyed = number(world)
        world.kube.patch("ConfigMap", world.names.gateway, world.names.namespace, {"data": found["data"]})
        world.report["old copy: seen"] = world.fleet.read_back() != canary(V3, V1, 60, "r4")
        world.apply(canary(V3, V1, 60, "r4"))
        time.sleep(1)
    world.report["old copy: put back"] = world.fleet.read_back() == canary(V3, V1, 60, "r4")
    world.report["old copy: number goes on"] = number(world) > obeyed


def number(world: World) -> int:
    """Of the ConfigMap's content."""
    found = world.kube.get("ConfigMap", world.names.gateway, world.names.namespace)
    assert found is not None
    return int(found["data"]["generation"])


def there(world: World, pod: str) -> bool:
    return world.kube.get("Pod", pod, world.names.namespace) is not None


def restart(world: World, version: VersionName) -> None:
    """Take the version's pod away, now that nothing is sent to it, and wait for the next one."""
    labels = world.names.version_labels(version)

    def names() -> set[str]:
        found = world.kube.list("Pod", world.names.namespace, labels=labels)
        return {pod["metadata"]["name"] for pod in found}

    before = names()
    for name in before:
        world.kube.delete("Pod", name, world.names.namespace)
    eventually(lambda: not before & names(), f"the end of {version}")


def main() -> int:
    world = World()
    try:
        story(world)
    except Exception as error:
        world.report["stopped by"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        Path("/dev/termination-log").write_text("")
        print("REPORT " + json.dumps(world.report), flush=True)
    return 0


sys.exit(main())

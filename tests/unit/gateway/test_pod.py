"""Claims about which configuration a gateway pod takes, without an Envoy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.host import EnvoyFiles
from capstan.domain.traffic import Arm, TrafficSplit, Weight, champion_only
from capstan.domain.versions import VersionName
from capstan.errors import ConflictError, UnavailableError
from capstan.gateway.documents import Configuration, Document, RefusedError, mounted
from capstan.gateway.pod import GatewayPod
from capstan.gateway.wiring import wire_pod
from capstan.ports.serving import Endpoint

V1, V2 = VersionName("v1"), VersionName("v2")
SETTINGS = GatewaySettings()


class StillEnvoy:
    """Is started and says nothing."""

    boot = "boot"

    def __init__(self, folder: Path) -> None:
        self.files = EnvoyFiles(folder)
        self.starts = 0

    def start(self) -> None:
        self.starts += 1

    def ask(self, path: str, **query: str) -> Any:
        raise UnavailableError("Envoy", f"{path} is not answered")


Start = Callable[[], tuple[GatewayPod, StillEnvoy]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A new life of the container in the same pod, every time."""

    def new() -> tuple[GatewayPod, StillEnvoy]:
        envoy = StillEnvoy(tmp_path / "envoy")
        return wire_pod(envoy, SETTINGS), envoy  # type: ignore[arg-type]

    return new


def configuration(generation: int, *versions: VersionName) -> Configuration:
    return Configuration(clusters_of(generation, *versions), routes_of(generation, *versions))


def clusters_of(generation: int, *versions: VersionName) -> Document:
    endpoints = {name: Endpoint("127.0.0.1", 3000) for name in versions}
    clusters = envoy_config.clusters(split(*versions), endpoints, SETTINGS)
    return Document(generation, envoy_config.document(clusters)[1])


def routes_of(generation: int, *versions: VersionName) -> Document:
    return Document(generation, envoy_config.document([envoy_config.routes(split(*versions), SETTINGS)])[1])


def split(*versions: VersionName) -> TrafficSplit:
    if len(versions) == 1:
        return champion_only(versions[0])
    return TrafficSplit(tuple(Arm(name, Weight(100 // len(versions))) for name in versions))


def routed(envoy: StillEnvoy) -> TrafficSplit | None:
    return envoy_config.split_of(orjson.loads(envoy.files.routes.read_bytes())["resources"][0])


def test_a_pod_without_any_configuration_starts_and_routes_nothing(start: Start) -> None:
    pod, envoy = start()
    pod.begin([])
    assert (routed(envoy), envoy.starts) == (None, 1)


def test_the_newest_of_all_candidates_is_taken(start: Start) -> None:
    pod, envoy = start()
    pod.begin([configuration(7, V1), configuration(9, V2), configuration(8, V1)])
    assert routed(envoy) == champion_only(V2)


def test_what_an_earlier_life_of_the_container_was_pushed_is_kept(start: Start) -> None:
    pod, _ = start()
    pod.begin([configuration(7, V1)])
    pod.push("clusters", clusters_of(8, V1, V2))
    pod.push("routes", routes_of(9, V1, V2))
    again, envoy = start()
    again.begin([configuration(8, V1)])
    assert routed(envoy) == split(V1, V2)


def test_what_is_pushed_before_envoy_is_started_is_not_lost(start: Start) -> None:
    pod, envoy = start()
    pod.push("clusters", clusters_of(8, V1, V2))
    pod.push("routes", routes_of(9, V1, V2))
    pod.begin([configuration(7, V1)])
    assert routed(envoy) == split(V1, V2)


def test_half_a_push_that_does_not_fit_what_is_mounted_is_left_out(start: Start) -> None:
    pod, envoy = start()
    pod.push("routes", routes_of(9, V2))
    pod.begin([configuration(7, V1)])
    assert routed(envoy) == champion_only(V1)


def test_an_older_document_is_refused_by_number(start: Start) -> None:
    pod, envoy = start()
    pod.begin([configuration(7, V1, V2)])
    with pytest.raises(ConflictError, match="generation 7 is obeyed, which is newer"):
        pod.push("routes", routes_of(6, V1))
    assert routed(envoy) == split(V1, V2)


def test_a_cluster_that_the_routes_use_is_not_given_up_nor_an_unknown_one_routed_to(start: Start) -> None:
    pod, envoy = start()
    pod.begin([configuration(7, V1)])
    with pytest.raises(RefusedError, match="the routes use arm-v1, which the clusters lack"):
        pod.push("clusters", Document(8, envoy_config.document([])[1]))
    with pytest.raises(RefusedError, match="the routes use arm-v2, which the clusters lack"):
        pod.push("routes", routes_of(8, V2))
    arms_alone = [c for c in clusters_of(8, V1).resources if c["name"] != "v1"]
    with pytest.raises(RefusedError, match="the routes use v1, which the clusters lack"):
        pod.push("clusters", Document(8, envoy_config.document(arms_alone)[1]))
    assert routed(envoy) == champion_only(V1)


def test_an_equal_configuration_that_is_mounted_later_moves_nothing(start: Start) -> None:
    pod, _ = start()
    pod.begin([configuration(7, V1)])
    assert pod.follow(configuration(8, V1))
    assert not pod.follow(configuration(8, V1))
    assert not pod.follow(None)
    assert pod.configuration is not None
    assert pod.configuration.rank == (8, 8)


@pytest.mark.parametrize("number", ["x", "", "-1", "9" * 19, "\u0663"])
def test_what_is_mounted_under_no_number_is_older_than_all_else_and_better_than_nothing(
    start: Start, tmp_path: Path, number: str
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "generation").write_text(number)
    (folder / "clusters.json").write_bytes(clusters_of(7, V1).content)
    (folder / "routes.json").write_bytes(routes_of(7, V1).content)
    found = mounted(folder)
    assert found is not None
    pod, envoy = start()
    pod.begin([found])
    assert routed(envoy) == champion_only(V1)
    other, envoy = start()
    other.begin([found, configuration(1, V2)])
    assert routed(envoy) == champion_only(V2)
    assert not other.follow(found)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"generation": "7", "clusters.json": '{"resources": []}'},
        {"generation": "7", "clusters.json": "{ not json", "routes.json": '{"resources": []}'},
        {"generation": "7", "clusters.json": '{"resources": []}', "routes.json": "[]"},
    ],
    ids=["empty", "a half", "no JSON", "no document"],
)
def test_a_config_map_that_is_empty_or_broken_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert mounted(tmp_path) is None

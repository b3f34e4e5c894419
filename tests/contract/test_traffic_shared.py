"""Claims about two systems behind one real Envoy: each moves its traffic as if it were alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import orjson
import pytest
from contract.envoy_worlds import V3
from contract.model_services import Clients, EventLoop, Service

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.replies import NO_VERSION
from capstan.adapters.envoy.shared import SharedEnvoy, SharedGateway
from capstan.adapters.envoy.stats import PredictionCounts
from capstan.adapters.processes.children import ProcessSupervisor, free_port
from capstan.adapters.prometheus.operation import PrometheusOperation
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.versions import SystemName, VersionName
from capstan.errors import UnavailableError
from capstan.monitoring.budgets import ENVOY_BOUNDS, GATEWAY
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import V1, V2, TrafficContract, split
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real


class System(Clients):
    """One system's services and its share of the gateway."""

    def __init__(self, name: str, envoy: SharedEnvoy, folder: Path, loop: EventLoop) -> None:
        super().__init__(loop, lambda: [f"{envoy.address}/{name}"])
        self.name = name
        self.envoy = envoy
        self.folder = folder
        self.services = {version: Service(f"{name} {version}", loop).start() for version in (V1, V2, V3)}
        self.collector = Service(f"{name} collector", loop).start()
        self.gateway = self.share()
        self.gateway.start()

    def share(self, port_of: Callable[[VersionName], int] | None = None) -> SharedGateway:
        settings = GatewaySettings(
            collector=self.collector.endpoint, per_try_timeout_seconds=0.3, timeout_seconds=2.0
        )
        file = self.folder / f"{self.name}.json"
        return SharedGateway(
            self.envoy, self.name, file, settings, port_of=port_of, ready_timeout_seconds=10.0
        )

    def endpoints(self) -> dict[VersionName, Endpoint]:
        return {name: service.endpoint for name, service in self.services.items()}

    def apply(self, wanted: TrafficSplit) -> None:
        self.gateway.apply(wanted, self.endpoints())

    def close(self) -> None:
        for service in (*self.services.values(), self.collector):
            service.stop()


class World:
    """Bikes came first; flights joined."""

    def __init__(self, folder: Path, loop: EventLoop) -> None:
        self.supervisor = ProcessSupervisor(folder / "processes", folder / "logs")
        self.folder = folder
        self.envoy = self.host()
        self.envoy.start()
        self.bikes, self.flights = (System(name, self.envoy, folder, loop) for name in ("bikes", "flights"))

    def host(self) -> SharedEnvoy:
        port = self.envoy.settings.port if hasattr(self, "envoy") else free_port()
        return SharedEnvoy(self.supervisor, self.folder / "envoy", GatewaySettings(port=port), root="bikes")

    def close(self) -> None:
        self.supervisor.stop_all()
        self.bikes.close()
        self.flights.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, loop: EventLoop) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("shared"), loop)
    yield world
    world.close()


@pytest.fixture
def world(tmp_path: Path, loop: EventLoop) -> Iterator[World]:
    world = World(tmp_path, loop)
    yield world
    world.close()


class TestShared(TrafficContract):
    """The suite of all providers, while another system's traffic stands beside."""

    @pytest.fixture
    def traffic(self, lasting: World) -> Iterator[SharedGateway]:
        lasting.bikes.apply(split(75, 25))
        lasting.flights.gateway.start()
        yield lasting.flights.gateway
        lasting.flights.gateway.stop()
        assert lasting.bikes.gateway.read_back() == split(75, 25)
        assert lasting.bikes.send(20).failed == 0

    @pytest.fixture
    def endpoints(self, lasting: World) -> Mapping[VersionName, Endpoint]:
        return lasting.flights.endpoints()


def test_each_system_is_asked_by_path_and_by_host_and_the_first_without_either(world: World) -> None:
    world.bikes.apply(champion_only(V1))
    world.flights.apply(champion_only(V1))
    anybody = Clients(world.bikes.loop, lambda: [world.envoy.address])
    asked = {
        "/flights/predict": ({}, "flights v1"),
        "/flights/predict/": ({}, "flights v1"),
        "/flights/v2/models/any/infer": ({}, "flights v1"),
        "/flights/feedback": ({}, "flights collector"),
        "/flights/webhooks/airflow": ({}, "flights collector"),
        "/bikes/predict": ({}, "bikes v1"),
        "/predict": ({}, "bikes v1"),
        "/events": ({}, "bikes collector"),
    }
    for path, (headers, answered) in asked.items():
        found = anybody.send(2, path=path, headers=headers)
        if "collector" not in answered:
            assert found.versions == {answered: 2}, path
        assert found.failed == 0, path
    by_host = anybody.send(2, headers={"host": f"flights.localhost:{world.envoy.settings.port}"})
    assert by_host.versions == {"flights v1": 2}
    assert anybody.send(2, path="/nobody/predict").statuses == {404: 2}
    assert len(world.flights.collector.seen) == 4
    assert len(world.bikes.collector.seen) == 2


@pytest.mark.parametrize("prefix", ["", "/bikes", "/flights"])
def test_what_the_gateway_refuses_has_the_shape_of_the_path_that_was_asked(world: World, prefix: str) -> None:
    def refused(path: str) -> object:
        with pytest.raises(HTTPError) as told:
            urlopen(f"{world.envoy.address}{prefix}{path}", b"{}", timeout=5)
        assert told.value.code == 503
        return orjson.loads(told.value.read())["error"]

    assert refused("/v2/models/m/infer") == f"version: {NO_VERSION}"
    assert refused("/predict") == {"field": "version", "rule": NO_VERSION}


def test_predictions_are_counted_for_whom_they_were_asked(world: World) -> None:
    world.bikes.apply(champion_only(V1))
    world.flights.apply(split(75, 25))
    anybody = Clients(world.bikes.loop, lambda: [world.envoy.address])
    world.flights.send(100)
    anybody.send(11, headers={"host": "flights.localhost"})
    anybody.send(7)
    assert world.flights.gateway.predictions() == PredictionCounts(answered=111, refused=0, failed=0)
    assert world.bikes.gateway.predictions() == PredictionCounts(answered=7, refused=0, failed=0)
    assigned = world.flights.gateway.assigned()
    assert assigned.keys() == {V1, V2}
    assert sum(assigned.values()) == 111


def test_two_loops_move_their_traffic_at_once_and_lose_nothing(world: World) -> None:
    systems = (world.bikes, world.flights)
    for system in systems:
        system.apply(champion_only(V1))
    loads = [system.start(connections=4, pause=0.002) for system in systems]

    def roll_out(system: System) -> None:
        for wanted in (split(75, 25), split(40, 60, mirror=V3), champion_only(V2), champion_only(V1)):
            system.apply(wanted)

    threads = [threading.Thread(target=roll_out, args=(system,)) for system in systems]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for system, load in zip(systems, loads, strict=True):
        answers = load.end()
        assert answers.failed == 0
        assert {name.partition(" ")[0] for name in answers.versions} == {system.name}
        assert system.gateway.read_back() == champion_only(V1)


def test_a_document_that_envoy_refuses_does_not_stand_in_the_way_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flights.apply(champion_only(V1))
    monkeypatch.setattr("capstan.adapters.envoy.order.TAKES_SECONDS", 0.5)
    broken = envoy_config.routes(champion_only(V1), world.flights.gateway.settings)
    broken["virtual_hosts"][0]["routes"][0]["route"]["timeout"] = "soon"
    with pytest.raises(UnavailableError, match="it has not taken the routes"):
        world.flights.gateway._set_routes(broken)
    monkeypatch.undo()
    world.bikes.apply(split(50, 50))
    assert world.bikes.gateway.read_back() == split(50, 50)
    assert world.flights.gateway.read_back() == champion_only(V1)
    assert world.flights.send(20).failed == 0


def test_a_system_that_leaves_is_gone_and_the_other_goes_on(world: World) -> None:
    world.bikes.apply(champion_only(V1))
    world.flights.apply(champion_only(V1))
    load = world.flights.start(connections=4)
    assert world.bikes.gateway.address == world.envoy.address
    world.bikes.gateway.stop()
    time.sleep(0.5)
    anybody = Clients(world.bikes.loop, lambda: [world.envoy.address])
    assert load.end().failed == 0
    # Nobody gets an answer of a model that was not asked.
    assert anybody.send(3).statuses == {404: 3}
    assert world.bikes.send(3).statuses == {404: 3}
    names = {cluster["name"] for cluster in world.flights.gateway._live("clusters")}
    assert "v1" in names
    assert world.envoy.ask("/clusters", format="json")["cluster_statuses"]
    assert not any(
        one["name"].startswith("bikes/")
        for one in world.envoy.ask("/clusters", format="json")["cluster_statuses"]
    )


def test_a_host_that_was_killed_finds_what_was_routed(world: World) -> None:
    world.bikes.apply(split(75, 25))
    world.flights.apply(champion_only(V2))
    load = world.flights.start(connections=4)
    heir = world.host()
    heir.start(keep=("bikes", "flights"))
    for system, routed in ((world.bikes, split(75, 25)), (world.flights, champion_only(V2))):
        system.envoy = heir
        again = system.share()
        again.start()
        assert again.read_back() == routed
    assert load.end().failed == 0


def test_a_version_that_listens_elsewhere_in_its_next_life_is_not_asked_where_it_was(world: World) -> None:
    world.bikes.apply(split(75, 25))
    world.flights.apply(champion_only(V1))
    ports = {name: one.port for name, one in world.bikes.endpoints().items()}
    kept = world.bikes.share(lambda name: ports[name])
    kept.start()
    assert kept.read_back() == split(75, 25)
    again = world.bikes.share(lambda name: ports[V3] if name == V1 else ports[name])
    again.start()
    # The loop finds that nothing is routed, and routes anew.
    assert again.read_back() is None
    assert world.bikes.send(3).statuses == {503: 3}
    again.apply(champion_only(V1), {V1: world.bikes.services[V3].endpoint})
    assert world.bikes.send(3).failed == 0
    assert world.flights.send(3).failed == 0


def test_what_nobody_keeps_is_not_routed_after_a_restart(world: World) -> None:
    world.bikes.apply(champion_only(V1))
    world.flights.apply(champion_only(V1))
    world.host().start(keep=("flights",))
    eventually(lambda: world.bikes.send(1).statuses == {404: 1})
    assert world.flights.send(10).failed == 0


def test_prometheus_tells_the_systems_of_one_envoy_apart(world: World) -> None:
    rates = PrometheusSettings(
        scrape_seconds=0.3,
        evaluate_seconds=1,
        envoy_admin=world.envoy.admin_address.removeprefix("http://"),
        envoy_is_shared=True,
    )
    server = PrometheusServer(world.supervisor, world.folder / "prometheus", rates)
    server.start()
    world.bikes.apply(split(50, 50))
    world.flights.apply(split(50, 50))
    since = time.time()
    world.flights.services[V2].behaviour = "raises"
    world.flights.send(60)
    world.bikes.send(40)

    def seen(system: str) -> tuple[int, int]:
        from datetime import UTC, datetime

        metrics = PrometheusOperation(server.query, SystemName(system), envoy_is_shared=True)
        found = metrics.operation(
            V1, V2, since_wall=datetime.fromtimestamp(since, UTC), now_wall=datetime.now(UTC), shadow=False
        )
        return sum(found.assigned.values()), found.challenger.errors

    eventually(lambda: (seen("flights")[0], seen("bikes")[0]) == (60, 40))
    assert seen("bikes")[1] == 0
    assert seen("flights")[1] > 10

    def counted(name: str, more: str = "") -> dict[str, float]:
        """As promises to users count: whichever version answered, after all tries."""
        found = server.query.instant(f'sum by (system) ({GATEWAY.format(name)}{{job="envoy"{more}}})')
        return {sample.labels["system"]: sample.value for sample in found}

    eventually(lambda: counted("completed") == {"flights": 60, "bikes": 40})
    eventually(lambda: counted("time_count") == {"flights": 60, "bikes": 40})
    assert counted("xx", ',envoy_response_code_class="2"') == {"flights": 60, "bikes": 40}
    bounds = server.query.instant(f"count by (le) ({GATEWAY.format('time_bucket')})")
    assert {float(sample.labels["le"]) for sample in bounds} >= set(ENVOY_BOUNDS)

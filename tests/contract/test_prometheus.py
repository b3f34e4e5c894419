"""Claims about alerts and operation metrics, made with a real Prometheus, Alertmanager and a fake exporter."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from capstan.adapters.alertmanager import server as alertmanager
from capstan.adapters.alertmanager.server import (
    AlertmanagerAlerts,
    AlertmanagerServer,
    AlertmanagerSettings,
    WebhookReceiver,
)
from capstan.adapters.envoy.config import arm_cluster
from capstan.adapters.processes.children import ProcessSupervisor
from capstan.adapters.prometheus.operation import PrometheusOperation
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.domain.verdicts.evidence import QueryEvidence
from capstan.domain.versions import SystemName, VersionName, copy_name
from capstan.errors import CapstanError, UnavailableError
from capstan.monitoring.rules import render
from capstan.spec import parse
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real
SYSTEM, V1, V2 = SystemName("flights"), VersionName("v1"), VersionName("v2")
TOKEN = "the-webhook-token"
AS_OF = datetime(2013, 3, 4, 5, tzinfo=UTC)

RULES: Mapping[str, Any] = {
    "groups": [
        {
            "name": "flights-data",
            "rules": [
                {
                    "alert": "DriftDetected",
                    "expr": f'capstan_data_alert{{system="{SYSTEM}"}} == 1',
                    "labels": {"severity": "warning", "kind": "data"},
                    "annotations": {
                        "summary": "ks(dep_hour) 0.21 > 0.12",
                        "as_of": "{{ with printf `capstan_window_end_timestamp_seconds{version='%s'}` $labels.version "
                        "| query }}{{ . | first | value }}{{ end }}",
                    },
                }
            ],
        }
    ]
}


class Site(http.server.ThreadingHTTPServer):
    """Serves the metrics it is given and takes Alertmanager's notifications."""

    daemon_threads = True

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.notified: list[frozenset[str]] = []
        self.receiver = WebhookReceiver(TOKEN)
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        text = "".join(f"{name} {value}\n" for name, value in list(self.server.metrics.items()))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.server.notified.append(self.server.receiver.receive(dict(self.headers), body).names)
            self.send_response(200)
        except CapstanError:
            self.send_response(403)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class World:
    def __init__(self, folder: Path) -> None:
        self.site = Site()
        self.supervisor = ProcessSupervisor(folder / "processes", folder / "logs")
        (folder / "token").write_text(TOKEN + "\n")
        settings = AlertmanagerSettings(
            webhook_url=f"http://{self.site.target}/alerts",
            webhook_token_file=folder / "token",
            **alertmanager.REPLAY,
        )
        self.alertmanager = AlertmanagerServer(self.supervisor, folder / "alertmanager", settings)
        self.prometheus = PrometheusServer(
            self.supervisor,
            folder / "prometheus",
            PrometheusSettings(
                scrape_seconds=0.25,
                evaluate_seconds=0.25,
                envoy_admin=self.site.target,
                alertmanager=self.alertmanager.address.removeprefix("http://"),
            ),
        )
        self.alertmanager.start()
        self.prometheus.start()
        self.alerts = AlertmanagerAlerts(self.alertmanager.address, SYSTEM)

    def sees(self, query: str) -> float | None:
        samples = self.prometheus.query.instant(query)
        return samples[0].value if samples else None

    def close(self) -> None:
        self.supervisor.stop_all()
        self.site.shutdown()
        self.site.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("alerting"))
    yield world
    world.close()


@pytest.fixture
def world(running: World) -> World:
    running.site.metrics.clear()
    running.site.notified.clear()
    running.prometheus.set_targets("monitor", {running.site.target: {}})
    return running


def monitor(generation: int, alert: int) -> dict[str, float]:
    labels = f'{{system="{SYSTEM}",version="{V1}"}}'
    return {
        f'capstan_monitor_generation{{system="{SYSTEM}"}}': generation,
        f"capstan_data_alert{labels}": alert,
        f"capstan_window_end_timestamp_seconds{labels}": AS_OF.timestamp(),
    }


def test_a_decided_drift_becomes_an_alert_and_goes_again(world: World) -> None:
    world.prometheus.set_rules(SYSTEM, RULES)
    world.site.metrics.update(monitor(1, 0))
    assert world.alerts.settled(world.prometheus.query, 1) == []

    world.site.metrics.update(monitor(2, 1))
    started = time.monotonic()
    (alert,) = world.alerts.settled(world.prometheus.query, 2)
    assert time.monotonic() - started < 3.0
    assert (alert.name, alert.version, alert.as_of) == ("DriftDetected", V1, AS_OF)
    assert alert.summary == "ks(dep_hour) 0.21 > 0.12"
    eventually(lambda: frozenset({"DriftDetected"}) in world.site.notified)

    world.site.metrics.update(monitor(3, 0))
    assert world.alerts.settled(world.prometheus.query, 3) == []


def test_alerts_do_not_settle_before_the_rules_have_seen_the_generation(world: World) -> None:
    world.prometheus.set_rules(SYSTEM, RULES)
    world.site.metrics.update(monitor(5, 0))
    world.alerts.settled(world.prometheus.query, 5)
    with pytest.raises(UnavailableError, match="flights-data has seen generation 5, not 6"):
        world.alerts.settled(world.prometheus.query, 6, timeout_seconds=0.5)


def test_foreign_and_silenced_alerts_are_not_ours(world: World) -> None:
    world.prometheus.set_rules(SYSTEM, RULES)
    world.site.metrics.update(monitor(7, 1))
    world.site.metrics['capstan_data_alert{system="other",version="v9"}'] = 1
    assert [alert.version for alert in world.alerts.settled(world.prometheus.query, 7)] == [V1]
    assert AlertmanagerAlerts(world.alertmanager.address, SystemName("other")).active() == []
    now = datetime.now(UTC).timestamp()
    silence = {
        "matchers": [{"name": "version", "value": V1, "isRegex": False}],
        "startsAt": datetime.fromtimestamp(now, UTC).isoformat(),
        "endsAt": datetime.fromtimestamp(now + 3, UTC).isoformat(),
        "createdBy": "somebody",
        "comment": "known",
    }
    assert httpx.post(f"{world.alertmanager.address}/api/v2/silences", json=silence).is_success
    eventually(lambda: world.alerts.settled(world.prometheus.query, 7) == [])
    world.site.metrics.update(monitor(8, 0))
    world.alerts.settled(world.prometheus.query, 8)


def real_rules() -> dict[str, Any]:
    """As the loop sets them for a system of this name."""
    file = Path(__file__).parents[1] / "unit" / "spec" / "flight_delays.yaml"
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
    document["metadata"]["name"] = SYSTEM
    return render(parse(document, base_dir=Path()))


def test_operation_alerts_are_shown_to_people_and_start_nothing(world: World) -> None:
    world.prometheus.set_rules(SYSTEM, real_rules())
    lost = f'capstan_payloads_lost_total{{system="{SYSTEM}",version="{V1}",reason="overflow"}}'
    world.site.metrics[lost] = 0
    eventually(lambda: world.sees(lost) == 0)
    world.site.metrics[lost] = 30
    eventually(lambda: bool(world.alerts.operation()), seconds=40)
    (alert,) = world.alerts.operation()
    assert (alert.name, alert.version) == ("PayloadsLost", V1)
    assert "payloads in 5 minutes" in alert.summary
    assert abs(datetime.now(UTC) - alert.since) < timedelta(minutes=2)
    # What may start a training does not know of it.
    assert world.alerts.active() == []
    assert AlertmanagerAlerts(world.alertmanager.address, SystemName("other")).operation() == []
    world.prometheus.set_rules(SYSTEM, RULES)


def test_refused_rules_are_taken_back(world: World) -> None:
    world.prometheus.set_rules(SYSTEM, RULES)
    broken = {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "sum by ("}]}]}
    with pytest.raises(UnavailableError, match="refused the rules broken"):
        world.prometheus.set_rules("broken", broken)
    world.prometheus.set_rules(SYSTEM, {"groups": [*RULES["groups"], {"name": "second", "rules": []}]})
    world.site.metrics.update(monitor(9, 0))
    eventually(lambda: world.sees(f'count(capstan_rules_generation{{system="{SYSTEM}"}})') == 2)
    world.prometheus.set_rules(SYSTEM, RULES)


def test_a_killed_alertmanager_learns_of_firing_alerts_again(world: World) -> None:
    world.prometheus.set_rules(SYSTEM, RULES)
    world.site.metrics.update(monitor(20, 1))
    assert len(world.alerts.settled(world.prometheus.query, 20)) == 1
    pid = world.supervisor.status()["alertmanager"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: bool(world.supervisor.tick()))
    with pytest.raises(UnavailableError, match="Alertmanager"):
        world.alerts.active()
    world.supervisor.wait_healthy("alertmanager")
    assert len(world.alerts.settled(world.prometheus.query, 20)) == 1
    world.site.metrics.update(monitor(21, 0))
    world.alerts.settled(world.prometheus.query, 21)


def requests(version: str, role: str, ok: int, failed: int) -> dict[str, float]:
    labels = f'system="{SYSTEM}",version="{version}",role="{role}"'
    return {
        f'capstan_requests_total{{{labels},code="200"}}': ok,
        f'capstan_requests_total{{{labels},code="422"}}': 3,
        f'capstan_requests_total{{{labels},code="500"}}': failed,
        f'capstan_request_seconds_bucket{{{labels},le="0.1"}}': ok,
        f'capstan_request_seconds_bucket{{{labels},le="+Inf"}}': ok + failed,
    }


def envoy(cluster: str, completed: int, retried: int = 0, failed: int = 0) -> dict[str, float]:
    name = f'envoy_cluster_name="{cluster}"'
    return {
        f"envoy_cluster_upstream_rq_completed{{{name}}}": completed,
        f"envoy_cluster_upstream_rq_retry{{{name}}}": retried,
        f'envoy_cluster_upstream_rq_xx{{{name},envoy_response_code_class="5"}}': failed,
    }


def scraped(world: World, metrics: Mapping[str, float]) -> datetime:
    """Show the metrics, wait until they were scraped from both jobs, say when."""
    marker = time.time()
    world.site.metrics.update({**metrics, "shown_at": marker, "envoy_http_shown_at": marker})
    eventually(lambda: world.sees("shown_at") == marker and world.sees("envoy_http_shown_at") == marker)
    return datetime.now(UTC)


def operation(
    world: World, since: datetime, now: datetime, *, challenger: VersionName = V2, shadow: bool = False
) -> Any:
    metrics = PrometheusOperation(world.prometheus.query, SYSTEM)
    return metrics.operation(V1, challenger, since_wall=since, now_wall=now, shadow=shadow)


def test_a_query_of_ones_own_is_measured_at_the_end_of_each_interval(world: World) -> None:
    metrics = PrometheusOperation(world.prometheus.query, SYSTEM)
    scraped(
        world, {'refunds{version="v2"}': 0.25, 'refunds{version="v1"}': 0.5, "not_a_number": float("nan")}
    )
    since = datetime.now(UTC)
    scraped(world, {'refunds{version="v2"}': 0.75})
    now = since + timedelta(seconds=1) * 2.5
    eventually(lambda: datetime.now(UTC) > now)

    def asked(promql: str, **span: Any) -> QueryEvidence:
        span = {"since_wall": since, "now_wall": now, "interval": timedelta(seconds=1), **span}
        return metrics.own_query(promql, **span)

    evidence = asked('refunds{version="v2"}')
    assert evidence == asked('refunds{version="v2"}')
    assert (evidence.asked, evidence.series) == (2, 1)
    assert [each.at for each in evidence.measurements] == [since + timedelta(seconds=n) for n in (1, 2)]
    assert evidence.newest == evidence.measurements[-1].at
    assert evidence.measurements[-1].value == 0.75
    assert asked("refunds").series == 2
    assert asked("scalar(refunds{version='v1'})").measurements[-1].value == 0.5
    for nothing in ("refunds_that_nobody_exports", "not_a_number", "0 * (1 / vector(0))"):
        assert asked(nothing).measurements == ()
        assert asked(nothing).asked == 2
    assert asked("up", now_wall=since) == QueryEvidence()
    with pytest.raises(UnavailableError, match="parse"):
        asked("sum(refunds")
    month = asked('refunds{version="v2"}', since_wall=since - timedelta(days=30))
    assert month.asked > 2_000_000
    assert len(month.measurements) <= 1000
    assert month.measurements[-1].value == 0.75


def test_only_what_happened_in_the_window_counts(world: World) -> None:
    since = scraped(world, {**requests("v1", "champion", 1000, 5), **requests("v2", "challenger", 10, 1)})
    now = scraped(world, {**requests("v1", "champion", 1300, 6), **requests("v2", "challenger", 110, 4)})
    evidence = operation(world, since, now)
    assert (evidence.champion.requests, evidence.champion.errors) == (301, 1)
    assert (evidence.challenger.requests, evidence.challenger.errors) == (103, 3)
    assert evidence.challenger.latency_buckets == {0.1: 100, float("inf"): 103}


def test_refused_requests_are_counted_apart_from_errors(world: World) -> None:
    def shown(ok: int, refused: int) -> dict[str, float]:
        found = requests("v2", "challenger", ok, 0)
        return {name: refused if 'code="422"' in name else value for name, value in found.items()}

    since = scraped(world, {**requests("v1", "champion", 1000, 5), **shown(10, 3)})
    now = scraped(world, {**requests("v1", "champion", 1300, 5), **shown(110, 43)})
    evidence = operation(world, since, now)
    assert (evidence.challenger.requests, evidence.challenger.refused, evidence.challenger.errors) == (
        140,
        40,
        0,
    )
    assert evidence.champion.refused == 0


def test_a_system_of_a_cluster_counts_its_own_namespace_and_all_pods_of_its_gateway(world: World) -> None:
    def shown(factor: int) -> dict[str, float]:
        found = {}
        for namespace, pod, times in (("ours", "a", 1), ("ours", "b", 2), ("theirs", "c", 100)):
            where = f'{{namespace="{namespace}",pod="{pod}",'
            counted = {
                **requests("v1", "champion", 10 * factor * times, 0),
                **envoy("arm-v1", 10 * factor * times),
                **envoy("arm-v2-else-v1", 5 * factor * times, retried=2 * factor * times),
            }
            for name, value in counted.items():
                own = where if "system=" in name else f'{where}system="{SYSTEM}",'
                found[name.replace("{", own, 1)] = value
        return found

    since = scraped(world, shown(0))
    now = scraped(world, shown(1))
    ours = PrometheusOperation(world.prometheus.query, SYSTEM, namespace="ours")
    evidence = ours.operation(V1, V2, since_wall=since, now_wall=now, shadow=False)
    assert (evidence.champion.requests, evidence.champion.errors) == (30, 0)
    assert evidence.assigned == {V1: 30, V2: 15}
    assert (evidence.challenger.requests, evidence.challenger.errors) == (15, 6)


def test_counters_that_restart_or_appear_inside_the_window_lose_little(world: World) -> None:
    since = scraped(world, requests("v1", "champion", 500, 0))
    scraped(world, {})
    scraped(world, requests("v1", "champion", 600, 0))
    scraped(world, requests("v1", "champion", 0, 0))
    now = scraped(world, {**requests("v1", "champion", 50, 0), **requests("v3", "challenger", 40, 2)})
    evidence = operation(world, since, now, challenger=VersionName("v3"))
    assert 140 <= evidence.champion.requests <= 210
    assert (evidence.challenger.requests, evidence.challenger.errors) == (45, 2)


def test_what_the_gateway_hid_from_users_counts_as_errors(world: World) -> None:
    quiet = {**envoy("arm-v1", 100), **envoy("arm-v2-else-v1", 10), **envoy("v2", 0)}
    since = scraped(world, quiet)
    now = scraped(world, {**envoy("arm-v1", 180), **envoy("arm-v2-else-v1", 30, retried=20)})
    evidence = operation(world, since, now)
    assert evidence.assigned == {V1: 80, V2: 20}
    assert (evidence.challenger.requests, evidence.challenger.errors) == (20, 20)
    assert (evidence.champion.requests, evidence.champion.errors) == (80, 0)


def test_a_fresh_copy_of_the_champion_is_counted_by_its_own_name(world: World) -> None:
    copy = copy_name(V1)
    arm = arm_cluster(copy, V1)
    since = scraped(
        world,
        {**requests("v1", "champion", 500, 0), **requests(copy, "challenger", 0, 0), **envoy(arm, 0)},
    )
    now = scraped(
        world,
        {**requests("v1", "champion", 580, 0), **requests(copy, "challenger", 18, 2), **envoy(arm, 20)},
    )
    evidence = operation(world, since, now, challenger=copy)
    assert (evidence.champion.requests, evidence.champion.errors) == (80, 0)
    assert (evidence.challenger.requests, evidence.challenger.errors) == (20, 2)
    assert evidence.challenger.latency_buckets == {0.1: 18, float("inf"): 20}
    assert evidence.assigned[copy] == 20


def test_a_shadow_is_judged_by_its_mirrored_requests(world: World) -> None:
    since = scraped(
        world, {**requests("v2", "shadow", 0, 0), **requests("v2", "challenger", 0, 0), **envoy("v2", 0)}
    )
    shown = {
        **requests("v2", "shadow", 30, 0),
        **requests("v2", "challenger", 900, 9),
        **envoy("v2", 40, failed=10),
    }
    now = scraped(world, shown)
    evidence = operation(world, since, now, shadow=True)
    assert (evidence.challenger.requests, evidence.challenger.errors) == (40, 10)


def test_a_target_says_when_it_was_last_looked_at(world: World) -> None:
    shown = scraped(world, {"anything": 1})
    first = world.prometheus.scraped_at("monitor")
    assert first is not None
    assert abs((shown - first).total_seconds()) < 2
    eventually(lambda: (world.prometheus.scraped_at("monitor") or first) > first)
    assert world.prometheus.scrapes(world.site.target)
    assert world.prometheus.scraped_at("nobody") is None
    assert not world.prometheus.scrapes("127.0.0.1:1")


def test_no_or_senseless_samples_are_no_evidence(world: World) -> None:
    since = scraped(world, {})
    labels = f'system="{SYSTEM}",version="v1",role="champion",code="200"'
    now = scraped(world, {f"capstan_requests_total{{{labels}}}": float("nan")})
    evidence = operation(world, since, now)
    assert (evidence.champion.requests, evidence.challenger.requests) == (0, 0)
    assert evidence.champion.latency_buckets == {}


def test_a_stopped_prometheus_is_unavailable_and_comes_back(world: World) -> None:
    pid = world.supervisor.status()["prometheus"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="Prometheus"):
        operation(world, datetime.now(UTC), datetime.now(UTC))
    eventually(lambda: bool(world.supervisor.tick()))
    world.supervisor.wait_healthy("prometheus")
    scraped(world, {"up_again": 1})


def test_a_forged_notification_is_refused_and_counted() -> None:
    receiver = WebhookReceiver(TOKEN)
    body = json.dumps(
        {"alerts": [{"status": "firing", "labels": {"alertname": "A", "system": SYSTEM}}]}
    ).encode()
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"Authorization": "Bearer é"},
    ):
        with pytest.raises(CapstanError, match="webhook token"):
            receiver.receive(headers, body)
    with pytest.raises(CapstanError, match="not a notification"):
        receiver.receive({"authorization": f"Bearer {TOKEN}"}, b'{"alerts": 3}')
    hint = receiver.receive({"AUTHORIZATION": f"Bearer {TOKEN}"}, body)
    assert (hint.firing, hint.resolved, hint.names, hint.systems) == (1, 0, {"A"}, {SYSTEM})
    assert (receiver.accepted, receiver.refused, receiver.malformed) == (1, 4, 1)

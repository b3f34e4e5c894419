"""The rendered rules, evaluated by a real Prometheus on the metrics that the monitor and the services show."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from ruamel.yaml import YAML
from sent_payloads import body

from capstan.adapters.processes.children import ProcessSupervisor
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.dashboard.own_metrics import STANDSTILL_PATH
from capstan.domain.retraining import RetrainingState
from capstan.domain.rollout import (
    LatestVerdict,
    RolloutCause,
    RolloutName,
    RolloutPhase,
    RolloutRequest,
    RolloutState,
)
from capstan.domain.system import SystemState
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.engine.standstill import Standstill, standstill_metrics, standstill_of
from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.dashboards.panels import DASHBOARDS, DRIFT, QUALITY
from capstan.monitoring.exposition import Exposition
from capstan.monitoring.held_alerts import held_alerts
from capstan.monitoring.questions import alerts
from capstan.monitoring.rules import render
from capstan.monitoring.windows import (
    Concept,
    DriftWindow,
    Estimate,
    FeatureDrift,
    OnlineDrift,
    OnlineFeature,
    QualityWindow,
    SliceDrift,
    SlicesDrift,
    WindowOutcome,
)
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.intake import Intake
from capstan.recording.collector.metrics import CollectorMetrics
from capstan.spec import MLSystem, parse
from capstan.spec.monitoring import ALL_FEATURES
from capstan.testing.ports.waiting import eventually
from capstan.verbs.runbooks import runbook

pytestmark = pytest.mark.real
FOUND = {alert.name for alert in alerts()} - {"MonitorBlind"}
"""Alerts about what was found; the other says that nothing could be."""
HEEDED_BY = {
    "QualityDropped": {"severity": "critical", "trigger": "quality"},
    "ConceptDrifted": {"severity": "warning", "trigger": "quality"},
    "EstimatedQualityDropped": {"severity": "warning", "trigger": "estimated_quality"},
}
SINCE, WEEK = datetime(2013, 2, 1, 5, tzinfo=UTC), timedelta(days=7)


def flights() -> MLSystem:
    file = Path(__file__).parents[1] / "unit" / "spec" / "flight_delays.yaml"
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
    document["spec"]["monitoring"]["drift"]["multivariate"] = "Classifier"
    document["spec"]["monitoring"]["estimate"] = {"alert": True}
    document["spec"]["monitoring"]["quality"]["concept"] = "PageHinkley"
    document["spec"]["monitoring"]["drift"]["online"] = ["CramerVonMises", "FisherExact"]
    return parse(document, base_dir=Path())


def decided(breach: WindowOutcome, *outputs: FeatureDrift) -> Checkpoint:
    """Two drift windows and one quality window, all bad or all good; of these outputs instead of one probability."""
    bad = breach is WindowOutcome.BREACH
    checkpoint = Checkpoint().watching("v3", "/model", SINCE)
    for number in range(2):
        start = SINCE + number * WEEK
        features = tuple(
            FeatureDrift(name, 2000, distance if bad else 0.01, 0.12, 0.0, 0.3, rise if bad else 0.0, 0.1)
            for name, distance, rise in (("dep_hour", 0.213, 0.25), ("temp", 0.05, 0.0))
        )
        prediction = FeatureDrift(":probability", 2000, 0.33 if bad else 0.01, 0.1, 0.0, 0.0, 0.0, 0.1)
        shares = {"temp": 0.25, "dep_hour": 0.61, "dest": 0.0} if bad else {}
        together = FeatureDrift(
            ALL_FEATURES, 2000, 0.35 if bad else 0.01, 0.1, 0.0, None, None, 1.0, given_away=shares
        )
        estimate = Estimate(
            "rocAuc", breach, "Dropped" if bad else "Fine", value=0.62, low=0.58, high=0.66, reference=0.7,
            floor=0.65, is_asked=True,
        )  # fmt: skip
        window = DriftWindow(
            number,
            start,
            start + WEEK,
            2000,
            True,
            features,
            outputs or (prediction,),
            (together,),
            slices=SlicesDrift((SliceDrift("carrier=UA", "dep_hour", 900, 0.31, 0.16),), moved=1, compared=4)
            if bad
            else None,
            estimate=estimate,
        )
        checkpoint = checkpoint.with_drift(window, consecutive=2)
    seen = OnlineDrift(
        SINCE + 2 * WEEK,
        breach,
        SINCE + WEEK if bad else None,
        features=(
            OnlineFeature("dep_hour", "CramerVonMises", 2.3 if bad else 0.8, 1.6),
            OnlineFeature("temp", "CramerVonMises", 0.9, 1.6),
        ),
        lots=112,
    )
    checkpoint = checkpoint.with_online(seen)
    quality = QualityWindow(
        0,
        SINCE,
        SINCE + WEEK,
        "rocAuc",
        2000,
        1990,
        0.995,
        0.61,
        0.01,
        0.70,
        0.09,
        0.06,
        0.65,
        breach,
        "Dropped",
        concept=Concept("PageHinkley", "logLoss", 0.55, 0.45, breach, since=SINCE if bad else None),
    )
    return checkpoint.with_quality(quality, consecutive=2)


def blind() -> Checkpoint:
    """Two drift windows of too few rows, and the second of quality without labels."""
    checkpoint = Checkpoint().watching("v3", "/model", SINCE)
    for number in range(2):
        start, end = SINCE + number * WEEK, SINCE + (number + 1) * WEEK
        few = DriftWindow(number, start, end, 84, False, min_rows=1000)
        checkpoint = checkpoint.with_drift(few, consecutive=2)
        unlabelled = QualityWindow(
            number, start, end, "rocAuc", 84, 4, 0.05, None, None, 0.7, None, None, 0.65,
            WindowOutcome.NO_EVIDENCE, "CoverageTooLow", "labels of 5% of 84 rows",
        )  # fmt: skip
        checkpoint = checkpoint.with_quality(unlabelled, consecutive=2) if number == 1 else checkpoint
    return checkpoint


def held(checkpoint: Checkpoint) -> dict[str, str]:
    """What is told without a Prometheus, by the alert's name."""
    assert checkpoint.watch is not None
    return {alert.name: alert.summary for alert in held_alerts(flights(), checkpoint.watch)}


class Exporter(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.text = b""
        self.asked: set[str] = set()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def show(self, checkpoint: Checkpoint, operation: str = "") -> None:
        registry = CollectorRegistry()
        registry.register(Exposition("flight-delays", SimpleNamespace(checkpoint=checkpoint, online=()), 2))
        self.text = generate_latest(registry) + operation.encode()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Exporter

    def do_GET(self) -> None:
        self.server.asked.add(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(self.server.text)

    def log_message(self, format: str, *args: object) -> None: ...


class World:
    def __init__(self, folder: Path) -> None:
        self.exporter = Exporter()
        self.supervisor = ProcessSupervisor(folder / "processes", folder / "logs")
        self.prometheus = PrometheusServer(
            self.supervisor,
            folder / "prometheus",
            PrometheusSettings(scrape_seconds=0.25, evaluate_seconds=0.25),
        )
        self.exporter.show(Checkpoint())
        self.prometheus.start()
        self.prometheus.set_targets(
            "capstan", {f"127.0.0.1:{self.exporter.server_port}": {"system": "flight-delays"}}
        )
        self.prometheus.set_rules("flight-delays", render(flights()))

    def firing(self, *names: str) -> dict[str, dict[str, dict[str, str]]]:
        """The firing alerts, once they are exactly these."""
        deadline = time.monotonic() + 30
        while True:
            alerts = {
                alert["labels"]["alertname"]: alert
                for alert in self.prometheus.query.ask("GET", "/api/v1/alerts")["alerts"]
                if alert["state"] == "firing"
            }
            if set(alerts) == set(names):
                return alerts
            assert time.monotonic() < deadline, f"{sorted(alerts)} fire, not {sorted(names)}"
            time.sleep(0.05)

    def sees(self, series: str) -> None:
        """Wait until the series is there: what appears with its first value seems never to have risen."""
        deadline = time.monotonic() + 30
        while not self.prometheus.query.ask("GET", "/api/v1/query", params={"query": series})["result"]:
            assert time.monotonic() < deadline, f"{series} is not there"
            time.sleep(0.05)

    def close(self) -> None:
        self.supervisor.stop_all()
        self.exporter.shutdown()
        self.exporter.server_close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    running = World(tmp_path_factory.mktemp("rules"))
    yield running
    running.close()


@pytest.fixture
def fresh_world(tmp_path: Path) -> Iterator[World]:
    """Without the alerts of the test before, which fire on for minutes."""
    running = World(tmp_path / "rules")
    yield running
    running.close()


def test_data_alerts_say_which_version_as_of_when_and_why(world: World) -> None:
    world.exporter.show(decided(WindowOutcome.BREACH))
    alerts = world.firing(*FOUND)
    for name, alert in alerts.items():
        assert alert["labels"] == {
            "alertname": name, "system": "flight-delays", "version": "v3", "kind": "data",
            **HEEDED_BY.get(name, {"severity": "warning", "trigger": "drift"}),
        }  # fmt: skip
        early = ("QualityDropped", "ConceptDrifted", "OnlineDriftDetected")
        end = SINCE + (WEEK if name in early else 2 * WEEK)
        assert alert["annotations"]["as_of"] == str(int(end.timestamp()))
    summaries = {name: alert["annotations"]["summary"] for name, alert in alerts.items()}
    assert summaries == {
        "DriftDetected": "drift in 2 windows of 7 days in a row; "
        "above threshold in the last: all features 0.350 dep_hour 0.213 (distance), "
        "given away by dep_hour 0.61 temp 0.25; by slice: carrier=UA: dep_hour 0.31",
        "OnlineDriftDetected": "CramerVonMises and FisherExact find that requests or their answers moved away from "
        "training: dep_hour 2.300 times what is usual",
        "PredictionDrifted": "distance of predictions from those at training: 0.330 in 2 windows of 7 days",
        "MissingValuesRose": "missing values rose: dep_hour 0.250 in 2 windows of 7 days",
        "ConceptDrifted": "PageHinkley finds that losses rose: logLoss loss 0.550 a row in the last window with "
        "labels, at the test 0.450",
        "QualityDropped": "rocAuc 0.610, at the test 0.700; the drop exceeds 0.05 and chance",
        "EstimatedQualityDropped": "rocAuc is estimated at 0.620 (0.580 to 0.660) in 2 windows of 7 days, before "
        "labels; at the test 0.700; the drop exceeds 0.05 and the estimate's error",
    }
    assert held(decided(WindowOutcome.BREACH)) == summaries
    world.exporter.show(decided(WindowOutcome.FINE))
    world.firing()


def test_of_several_outputs_the_alert_names_the_one_that_moved_farthest(fresh_world: World) -> None:
    spec = flights().spec
    objective = spec.objective.model_copy(update={"task": "MulticlassClassification"})
    classes = flights().model_copy(update={"spec": spec.model_copy(update={"objective": objective})})
    fresh_world.prometheus.set_rules("flight-delays", render(classes))
    outputs = [
        FeatureDrift(f":{name}", 2000, distance, threshold, 0.0, 0.0, 0.0, 0.1)
        for name, distance, threshold in (
            ("label", 0.4, 0.35),
            ('probability.on "time"', 0.33, 0.1),
            ("probability.late", 0.2, 0.1),
        )
    ]
    fresh_world.exporter.show(decided(WindowOutcome.BREACH, *outputs))
    summary = fresh_world.firing(*FOUND)["PredictionDrifted"]["annotations"]["summary"]
    assert summary == (
        'distance of predictions from those at training: probability.on "time" 0.330 in 2 windows of 7 days'
    )


def test_a_monitor_that_cannot_judge_says_so_until_it_can(world: World) -> None:
    world.exporter.show(blind())
    alert = world.firing("MonitorBlind")["MonitorBlind"]
    assert alert["labels"] == {
        "alertname": "MonitorBlind", "system": "flight-delays", "version": "v3", "kind": "data", "severity": "warning",
    }  # fmt: skip
    assert alert["annotations"]["as_of"] == str(int((SINCE + 2 * WEEK).timestamp()))
    assert alert["annotations"]["summary"] == (
        "cannot be judged: drift for 2 windows (TooFewRows), predictions for 2 windows (TooFewRows), "
        "quality for 1 window (CoverageTooLow), so that no alert does not mean that all is well"
    )
    assert held(blind()) == {"MonitorBlind": alert["annotations"]["summary"]}
    world.exporter.show(decided(WindowOutcome.FINE))
    world.firing()


def test_operation_alerts_tell_of_losses_and_failing_challengers(world: World) -> None:
    def counters(requests: int, errors: int, lost: int) -> str:
        arm = 'system="flight-delays",version="v4"'
        return (
            f'capstan_requests_total{{{arm},role="shadow",code="200"}} {requests - errors}\n'
            f'capstan_requests_total{{{arm},role="shadow",code="500"}} {errors}\n'
            f'capstan_payloads_lost_total{{{arm},reason="overflow"}} {lost}\n'
        )

    world.exporter.show(Checkpoint(), counters(0, 0, 0))
    time.sleep(1)
    world.exporter.show(Checkpoint(), counters(1000, 200, 30))
    alerts = world.firing("ChallengerErrors", "PayloadsLost")
    assert {alert["labels"]["version"] for alert in alerts.values()} == {"v4"}
    assert {alert["labels"]["kind"] for alert in alerts.values()} == {"operation"}
    assert alerts["ChallengerErrors"]["annotations"]["summary"].startswith("v4 fails 20% of its requests")


def test_payloads_that_the_collector_alone_knows_to_be_lost_raise_the_alert(
    fresh_world: World, tmp_path: Path
) -> None:
    """A breach beside good payloads: the service got its 200 and counts no loss."""
    (tmp_path / "systems" / "flight-delays").mkdir(parents=True)
    intake = Intake(tmp_path / "collector", tmp_path / "systems")
    registry = CollectorRegistry()
    service = ("senders", "full", "waiting", "failing", "halves", "unpaired", "repeated")
    own = dict.fromkeys((*service, "calls", "calls_repeated", "calls_refused"), 0.0)
    registry.register(CollectorMetrics(intake.ledger, lambda: own, {}))

    def show(*batches: list[dict[str, object]], produced: int) -> None:
        for events in batches or ([],):
            heading = Heading("boot", "v5", produced, 0, system="flight-delays")
            intake.receive(heading, body(events), SINCE)
        fresh_world.exporter.text = generate_latest(registry)

    def event(sequence: int, entity: str) -> dict[str, object]:
        data = {"request_id": f"r{sequence}", "version": "v5", "role": "champion", "attempt": 1, "row": 0}
        return {
            "id": f"boot-{sequence}",
            "source": "/capstan/flight-delays/v5",
            "data": {**data, "event_time": SINCE.isoformat(), "status": 200, "entity_id": entity},
        }

    show(produced=0)
    fresh_world.sees('capstan_payloads_lost_total{version="v5",reason="refused"}')
    show([event(number, "" if number % 2 else "e") for number in range(80)], produced=80)
    alert = fresh_world.firing("PayloadsLost")["PayloadsLost"]
    assert alert["labels"]["version"] == "v5"
    assert alert["labels"]["kind"] == "operation"
    intake.close()


def states(**changes: Any) -> Standstill:
    """Of a champion v3 and a challenger v4, as the engine sees them; nothing is wrong but what is changed."""
    at = datetime(2013, 3, 1, tzinfo=UTC)
    champion, challenger = (
        ModelVersion(VersionName(name), Digest("sha256:" + name[1] * 64), RunName("r"), f"toy:{name}", at)
        for name in ("v3", "v4")
    )
    circuit, split = changes.get("circuit_open", False), changes.get("split", "Successful")
    system = SystemState(
        champion=champion,
        rollout=RolloutRequest(
            RolloutName("r-v4"), SystemName("flight-delays"), RolloutCause.CHALLENGER, challenger, champion
        ),
        retraining=RetrainingState(circuit_open=circuit),
    )
    rollout = RolloutState(
        phase=RolloutPhase.PROGRESSING,
        held=changes.get("held", "TrafficSplitNotObeyed"),
        latest={"split": LatestVerdict(split, "not obeyed: v4 has 30 of 1,000 requests", at)},
    )
    return standstill_of(system, rollout)


class Gauges(list[Metric]):
    def __hash__(self) -> int:
        return id(self)

    def collect(self) -> Iterator[Metric]:
        return iter(self)


def gauges(*seen: tuple[str | None, str, Standstill]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(list(standstill_metrics(seen))))
    return generate_latest(registry).decode()


def test_a_loop_that_stands_still_raises_an_alert_until_a_person_has_acted(fresh_world: World) -> None:
    def show(standstill: Standstill) -> None:
        fresh_world.exporter.show(Checkpoint(), gauges((None, "flight-delays", standstill)))

    address = f"127.0.0.1:{fresh_world.exporter.server_port}"
    page = {"system": "flight-delays", "__metrics_path__": STANDSTILL_PATH}
    fresh_world.prometheus.set_targets("capstan", {address: page})
    show(states())
    fresh_world.sees("capstan_traffic_split_not_obeyed")
    eventually(lambda: STANDSTILL_PATH in fresh_world.exporter.asked)
    fresh_world.firing()
    show(states(circuit_open=True, split="Inconclusive"))
    alerts = fresh_world.firing("RetrainingCircuitOpen", "TrafficSplitNotObeyed")
    labels = {
        name: (alert["labels"]["version"], alert["labels"]["severity"]) for name, alert in alerts.items()
    }
    assert labels == {
        "RetrainingCircuitOpen": ("v3", "critical"),
        "TrafficSplitNotObeyed": ("v4", "warning"),
    }
    assert {alert["labels"]["kind"] for alert in alerts.values()} == {"operation"}
    summaries = {name: alert["annotations"]["summary"] for name, alert in alerts.items()}
    assert "`capstan resume` closes the circuit" in summaries["RetrainingCircuitOpen"]
    assert "between the champion and v4" in summaries["TrafficSplitNotObeyed"]
    show(states(circuit_open=True))
    fresh_world.firing("RetrainingCircuitOpen")
    show(states(held="TooLittleEvidence", split="Inconclusive"))
    fresh_world.firing()


def test_the_operator_tells_of_each_system_in_its_own_namespace(fresh_world: World) -> None:
    fresh_world.prometheus.set_rules("flight-delays", {"groups": []})
    for namespace in ("team-a", "team-b"):
        fresh_world.prometheus.set_rules(namespace, render(flights(), namespace))
    fine, stuck = states(), states(circuit_open=True, split="Inconclusive")
    fresh_world.exporter.text = gauges(
        ("team-a", "flight-delays", stuck), ("team-b", "flight-delays", fine)
    ).encode()
    alerts = fresh_world.firing("RetrainingCircuitOpen", "TrafficSplitNotObeyed")
    assert {alert["labels"]["namespace"] for alert in alerts.values()} == {"team-a"}


def test_each_query_of_the_dashboards_is_answered(world: World) -> None:
    """By real series where the monitor makes them; the others are understood."""
    world.exporter.show(decided(WindowOutcome.BREACH), gauges((None, "flight-delays", states())))
    world.sees("capstan_drift_distance")
    world.sees("capstan_training_data_end_timestamp_seconds")
    every, answered = set(), set()
    for dashboard in DASHBOARDS:
        for panel in (panel for row in dashboard.rows for panel in row.panels):
            for query in panel.queries:
                text = query.expression.replace("$__rate_interval", "1m")
                for name, value in {"system": "flight-delays", "namespace": ".*", "version": ".*"}.items():
                    text = text.replace(f"${name}", value)
                assert "$" not in text
                # The API refuses what it does not understand.
                answer = world.prometheus.query.ask("GET", "/api/v1/query", params={"query": text})
                every.add(panel.title)
                if answer["result"]:
                    answered.add(panel.title)
    of_the_monitor = {panel.title for row in (DRIFT, QUALITY) for panel in row.panels}
    # Nobody is watched online here, no detector looks at losses, and nothing is without a verdict.
    assert of_the_monitor - answered <= {"What users did", "Losses", "Windows without a verdict"}
    assert {"Age of the model", "Stands still"} <= answered < every


def in_namespace(text: bytes, namespace: str) -> bytes:
    """The series as a Prometheus in a cluster labels them."""
    return re.sub(rb"(?m)^([a-z_]+){", rb'\1{namespace="' + namespace.encode() + b'",', text)


def test_alerts_of_a_cluster_are_those_of_their_own_namespace(world: World) -> None:
    world.prometheus.set_rules("flight-delays", {"groups": []})
    for namespace in ("team-a", "team-b"):
        world.prometheus.set_rules(namespace, render(flights(), namespace))
    world.exporter.show(decided(WindowOutcome.BREACH))
    own, fine = in_namespace(world.exporter.text, "team-a"), CollectorRegistry()
    fine.register(
        Exposition("flight-delays", SimpleNamespace(checkpoint=decided(WindowOutcome.FINE), online=()), 2)
    )
    counters = b"".join(
        b'capstan_collector_version_payloads_missing{system="flight-delays",namespace="%b",version="v3"} 0\n'
        % name
        for name in (b"team-a", b"team-b")
    )
    other = in_namespace(generate_latest(fine), "team-b")
    world.exporter.text = own + other + counters
    alerts = world.firing(*FOUND)
    for name, alert in alerts.items():
        assert alert["labels"] == {
            "alertname": name, "system": "flight-delays", "namespace": "team-a", "version": "v3", "kind": "data",
            **HEEDED_BY.get(name, {"severity": "warning", "trigger": "drift"}),
        }  # fmt: skip
        assert alert["annotations"]["as_of"].isdigit()
    # The other namespace's windows are fine: its numbers would tell of other features.
    assert "dep_hour 0.213 (distance)" in alerts["DriftDetected"]["annotations"]["summary"]
    assert "rocAuc 0.610" in alerts["QualityDropped"]["annotations"]["summary"]
    world.exporter.text = own + other + counters.replace(b'"v3"} 0', b'"v3"} 200', 1)
    alerts = world.firing(*FOUND, "PayloadsLost")
    assert alerts["PayloadsLost"]["labels"]["namespace"] == "team-a"
    for namespace in ("team-a", "team-b"):
        world.prometheus.set_rules(namespace, {"groups": []})


def test_every_alert_has_a_page_that_says_what_to_do() -> None:
    rules = [rule for group in render(flights())["groups"] for rule in group["rules"]]
    assert len(rules) == 14
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"capstan explain {rule['alert']}"
        assert (runbook(rule["alert"]) or "").startswith(f"# {rule['alert']}\n")

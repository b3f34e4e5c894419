"""The same commands find a system in a cluster, whose API server and engine are in memory here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from simulation.scripts import drift
from simulation.world import SPEC, SYSTEM, World
from typer.testing import CliRunner
from unit.cli.test_open import kubectl

from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cli import cluster_up
from capstan.cli.main import app
from capstan.cluster import places as place
from capstan.cluster.names import SystemNames
from capstan.cluster.objects.pods import token_volume
from capstan.domain.comparison import PredictionComparison
from capstan.domain.versions import SystemName
from capstan.errors import NotAllowedError, NotFoundError
from capstan.features.values import ColumnType
from capstan.ports.codec import to_json
from capstan.ports.store import Event, Kind, Record
from capstan.serving import open_inference
from capstan.serving.manifest import Column, Manifest
from capstan.serving.schema import RequestSchema
from capstan.spec import MLSystem, load

NAMESPACE = "ml"
FLIGHTS = Path(__file__).parents[1] / "spec/flight_delays.yaml"


class ClusterStore(KubeStore):
    """As the commands read it, and as the world looks into it."""

    @property
    def _events(self) -> list[Event]:
        return [event for _, event in self.events()]


class InCluster:
    def __init__(self) -> None:
        self.kube = MemoryKube()
        self.world = World()
        self.world.store = ClusterStore(self.kube, NAMESPACE)  # type: ignore[assignment]
        self.world.store.put(Record(Kind.SYSTEM, SYSTEM, SystemName(SYSTEM), spec=SPEC))

    def run(self, *arguments: str, input: str | None = None) -> Any:
        return CliRunner().invoke(app, [*arguments, "--context", "test"], input=input)

    def lead(self) -> None:
        """An operator holds the Lease."""
        self.kube.create(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": place.LEASE, "namespace": place.OPERATOR_NAMESPACE},
                "spec": {"holderIdentity": "operator-1", "renewTime": datetime.now(UTC).isoformat()},
            }
        )

    @contextmanager
    def looping(self, *, after: float = 0) -> Iterator[None]:
        """An operator looks all the time, from so many seconds on."""
        ended = threading.Event()
        self.lead()

        def loop() -> None:
            ended.wait(after)
            with contextlib.suppress(NotFoundError):  # once it is deleted
                while not ended.wait(0.02):
                    self.world.settle()

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> InCluster:
    made = InCluster()
    monkeypatch.setattr(place, "connect", lambda context: made.kube)
    monkeypatch.setattr(place, "_context", lambda name: (name or "current", NAMESPACE))
    monkeypatch.setattr("capstan.cli.verbs.orders.CLUSTER_LOOK_SECONDS", 0.05)
    monkeypatch.setattr("capstan.cli.cluster_up.LOOK_SECONDS", 0.05)
    return made


@pytest.fixture
def serving(cluster: InCluster) -> InCluster:
    cluster.world.start()
    return cluster


def test_status_tells_where_the_system_stands_and_who_acts(serving: InCluster) -> None:
    serving.lead()
    result = serving.run("status")
    assert result.exit_code == 0, result.output
    for words in (
        "Serving",
        "operator operator-1",
        "namespace ml of test",
        "v1",
        f"http://{SYSTEM}-gateway.ml",
    ):
        assert words in result.output
    seen = json.loads(serving.run("status", "--json").stdout)
    assert (seen["running"], seen["is_replay"], seen["champion"]["version"]) == ("operator-1", False, "v1")


def test_status_names_no_gateway_where_istio_is_in_its_place(cluster: InCluster) -> None:
    spec = SPEC | {"serving": {"traffic": {"provider": "Istio"}, "runtime": "Seldon"}}
    stored = cluster.world.store.get(Kind.SYSTEM, SYSTEM)
    assert stored is not None
    cluster.world.store.put(dataclasses.replace(stored, spec=spec))
    result = cluster.run("status", "--json")
    assert json.loads(result.stdout)["gateway"] is None, result.output
    assert "gateway" not in cluster.run("status").output


def test_a_command_is_followed_by_the_operator_and_told(serving: InCluster) -> None:
    with serving.looping():
        result = serving.run("pause", "--note", "holiday traffic")
    assert result.exit_code == 0, result.output
    assert "Paused" in result.output
    assert "(somebody: holiday traffic)" in result.output.replace("\n", " ")


def test_a_command_waits_for_an_operator_that_is_away(serving: InCluster) -> None:
    result = serving.run("pause")
    assert result.exit_code == 0, result.output
    assert "nothing runs, so it is followed when an operator runs" in result.output


def test_a_lease_of_long_ago_is_held_by_nobody(serving: InCluster) -> None:
    serving.lead()
    lease = serving.kube.get("Lease", place.LEASE, place.OPERATOR_NAMESPACE)
    assert lease is not None
    lease["spec"]["renewTime"] = "2020-01-01T00:00:00Z"
    serving.kube.replace(lease)
    assert json.loads(serving.run("status", "--json").stdout)["running"] is None


def test_runs_and_report_read_the_story(serving: InCluster) -> None:
    drift(serving.world)
    runs = json.loads(serving.run("runs", "--json").stdout)["trainings"]
    assert (runs[0]["trigger"], runs[0]["phase"]) == ("Initial", "Succeeded")
    report = json.loads(serving.run("report", "--json").stdout)
    assert report["alerts"] >= 1
    assert "FirstDeployed" in [decision["reason"] for decision in report["decisions"]]


def test_two_versions_are_compared_by_records_and_page_and_what_those_lack_is_named(
    serving: InCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(serving.world)

    def no_token(*_: object, **__: object) -> str:
        raise NotAllowedError("a certificate and no token")

    monkeypatch.setattr("capstan.cli.remote_page.page_token", no_token)
    without = serving.run("diff", "v1", "v2")
    assert without.exit_code == 0, without.output
    assert "v2 against v1" in without.output
    assert (
        "not compared: settings, code, features, rows and intervals: a cluster keeps them" in without.output
    )
    assert "not compared: metrics: a certificate and no token" in without.output
    for claimed in ("settings: the same", "code: the same", "features: the same"):
        assert claimed not in without.output
    versions = [{"name": name, "metrics": {"rocAuc": auc}} for name, auc in (("v1", 0.7), ("v2", 0.75))]
    asked = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"versions": versions, "away": {}}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubectl(
        tmp_path,
        monkeypatch,
        f"echo 'Forwarding from 127.0.0.1:{server.server_address[1]} -> 8089'; exec sleep 60",
    )
    monkeypatch.setattr("capstan.cli.remote_page.page_token", lambda *_, **__: "mine")
    found = json.loads(serving.run("diff", "v1", "v2", "--json").stdout)
    server.shutdown()
    assert asked == [("/systems/ml/flights/api/state", "Bearer mine")]
    (auc,) = found["metrics"]
    assert (auc["name"], auc["old"]["value"], auc["new"]["value"]) == ("rocAuc", 0.7, 0.75)
    assert found["gates"]
    assert found["versions"]["v2"]["against"] == "v1"
    assert "TrainingSucceeded" in [event["reason"] for event in found["versions"]["v2"]["story"]]
    assert "versions of flights: v1, v2" in serving.run("diff", "v1", "v9").output


def test_plan_says_what_is_new_there(cluster: InCluster) -> None:
    result = cluster.run("plan", str(FLIGHTS), "--exit-code")
    assert result.exit_code == 2, result.output
    assert "would be created" in result.output
    assert "namespace ml of test" in result.output


def test_up_applies_the_file_and_says_when_nobody_follows_it(cluster: InCluster) -> None:
    result = cluster.run("up", str(FLIGHTS))
    assert result.exit_code == 1
    assert "no operator runs that would follow it" in result.output
    applied = cluster.kube.get("MLSystem", "flight-delays", NAMESPACE)
    assert applied is not None
    assert applied["spec"]["objective"]["target"] == "late"


def test_up_tells_the_story_until_the_system_serves(cluster: InCluster, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "system.yaml"
    head = {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": SYSTEM}}
    file.write_text(yaml.safe_dump({**head, "spec": SPEC}))
    with cluster.looping(after=2):
        result = cluster.run("up", str(file), "--timeout", "60")
    assert result.exit_code == 0, result.output
    assert "FirstDeployed" in result.output
    assert f"port-forward svc/{SYSTEM}-gateway" in result.output
    predict, feedback = [shlex.split(line) for line in result.output.splitlines() if "  curl" in line]
    assert predict[1] == "http://localhost:7480/predict"
    assert json.loads(predict[-1]) == {"flight_id": "example-1", "distance": None}
    assert feedback[1] == "http://localhost:7480/feedback"
    assert f"secret {SYSTEM}-tokens-MARK" in feedback[-3]  # no Deployment here says which
    assert json.loads(feedback[-1]) == {"labels": [{"id": "example-1", "label": True}]}


def test_up_with_a_changed_file_tells_what_follows(serving: InCluster, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "system.yaml"
    head = {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": SYSTEM}}
    retraining = {**SPEC["retraining"], "cooldown": "7d"}
    file.write_text(yaml.safe_dump({**head, "spec": {**SPEC, "retraining": retraining}}))
    serving.lead()
    told = serving.run("up", str(file), "--no-wait").output
    assert "changed, generation 2" in told
    assert "~ retraining.cooldown: 14d -> 7d" in told
    assert "the operator takes it over without a restart of any serving process" in told
    again = serving.run("up", str(file), "--no-wait").output
    assert "the same as before" in again
    assert "what follows" not in again


def asked(cluster: InCluster, system: MLSystem) -> list[str]:
    return cluster_up._how_to_ask(place.Cluster(cluster.kube, "a context", NAMESPACE), system)  # type: ignore[arg-type]


def test_the_token_of_the_printed_line_is_that_of_the_secret_in_use(cluster: InCluster) -> None:
    system = load(FLIGHTS)
    names = SystemNames(NAMESPACE, SystemName("flight-delays"), tokens_mark="0123abcd")
    cluster.kube.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": names.collector, "namespace": NAMESPACE},
            "spec": {"template": {"spec": {"volumes": [token_volume(names, "feedback")]}}},
        }
    )
    (line,) = [line for line in asked(cluster, system) if "/feedback" in line]
    header = next(part for part in shlex.split(line) if part.startswith("authorization"))
    assert header.removeprefix("authorization: Bearer ") == (
        "$(kubectl --context 'a context' -n ml get secret flight-delays-tokens-0123abcd "
        "-o jsonpath='{.data.feedback}' | base64 -d)"
    )


def test_the_printed_row_and_tensors_are_what_a_model_with_these_columns_takes(cluster: InCluster) -> None:
    system = load(FLIGHTS)
    columns = tuple(
        Column(feature.column, ColumnType.TEXT, numeric=feature.numeric is not None)
        for feature in system.spec.features
    )
    schema = RequestSchema(
        Manifest("toy", "BinaryClassification", "late", columns, keys={"id": system.spec.data.keys.id})
    )
    wanted = {"flight_id": "example-1", "distance": None, "dep_hour": None, "temp": None, "dest": None}
    line = next(line for line in asked(cluster, system) if "/predict -H" in line)
    assert schema.rows_of(json.loads(shlex.split(line)[-1])) == [wanted]
    traffic = system.spec.serving.traffic.model_copy(update={"provider": "Istio"})
    serving = system.spec.serving.model_copy(update={"traffic": traffic})
    over_istio = system.model_copy(update={"spec": system.spec.model_copy(update={"serving": serving})})
    lines = asked(cluster, over_istio)
    line = next(line for line in lines if "/infer" in line)
    assert "/seldon/ml/flight-delays/v2/models/flight-delays/infer" in line
    assert open_inference.rows_of(json.loads(shlex.split(line)[-1]), schema) == [wanted]
    assert not any("gateway" in line for line in lines)
    assert any("port-forward svc/flight-delays-collector 8081:8081" in line for line in lines)


def test_where_features_read_the_id_the_label_is_joined_by_the_request(cluster: InCluster) -> None:
    system = load(FLIGHTS)
    keys = system.spec.data.keys.model_copy(update={"id": "distance"})
    data = system.spec.data.model_copy(update={"keys": keys})
    lines = asked(cluster, system.model_copy(update={"spec": system.spec.model_copy(update={"data": data})}))
    assert "by the request_id of the answer" in lines[-2]
    assert '"requestId": "REQUEST_ID"' in lines[-1]


def test_a_batch_by_the_calendar_is_stored_with_its_system(cluster: InCluster, tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    text = FLIGHTS.read_text()
    file.write_text(
        text.replace("  deletionPolicy", '  batch: {schedule: "0 3 * * *", output: p}\n  deletionPolicy')
    )
    cluster.run("up", str(file), "--no-wait")
    stored = cluster.kube.get("MLSystem", "flight-delays", NAMESPACE)
    assert stored is not None
    assert stored["spec"]["batch"] == {"schedule": "0 3 * * *", "output": "p"}


def test_up_refuses_a_second_namespace(cluster: InCluster, tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(
        FLIGHTS.read_text().replace("{name: flight-delays}", "{name: flight-delays, namespace: a}")
    )
    result = cluster.run("up", str(file), "--namespace", "b")
    assert result.exit_code == 1
    assert "metadata.namespace is a, --namespace is b" in result.output


def test_down_stops_nothing_but_deletes(serving: InCluster) -> None:
    stopped = serving.run("down")
    assert stopped.exit_code == 1
    assert "--delete removes it" in stopped.output
    with serving.looping():
        deleted = serving.run("down", "--delete", "--yes", "--json")
    assert deleted.exit_code == 0, deleted.output
    assert json.loads(deleted.stdout) == {"deleted": True, "system": SYSTEM}
    assert serving.kube.get("MLSystem", SYSTEM, NAMESPACE) is None


def test_down_that_is_not_in_time_says_so(serving: InCluster) -> None:
    result = serving.run("down", "--delete", "--yes", "--timeout", "1")
    assert result.exit_code == 1
    assert "no operator runs that could end it" in result.output


def test_a_cluster_without_capstan_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "connect", lambda context: MemoryKube(without=["MLSystem"]))
    monkeypatch.setattr(place, "_context", lambda name: ("test", NAMESPACE))
    result = CliRunner().invoke(app, ["status", "--context", "test"])
    assert result.exit_code == 1
    assert "the cluster does not know MLSystem" in result.output


def test_a_namespace_alone_is_refused() -> None:
    result = CliRunner().invoke(app, ["status", "--namespace", "ml"])
    assert result.exit_code == 1
    assert "name the cluster too" in result.output


def test_a_context_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: c, cluster: {server: http://localhost:1}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: a, context: {cluster: c, user: u, namespace: n}}]\n"
    )
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(config))
    result = CliRunner().invoke(app, ["status", "--context", "b"])
    assert result.exit_code == 1
    assert "no context 'b' in the kubeconfig; contexts: a" in result.output


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"capstan.dev/system": SYSTEM, **labels},
        },
        "spec": {"containers": [{"name": "model"}]},
        "status": {"phase": "Running", "containerStatuses": [{"ready": True}]},
    }


def test_logs_lists_the_pods_and_finds_one_by_its_version(serving: InCluster) -> None:
    serving.kube.create(pod("flights-v1-abc", **{"capstan.dev/version": "v1"}))
    listed = json.loads(serving.run("logs", "--json").stdout)
    assert listed == {"flights-v1-abc": {"of": "v1", "state": "Ready"}}
    found = serving.run("logs", "v1", "--json")
    assert found.exit_code == 0, found.output
    assert list(json.loads(found.stdout)) == ["flights-v1-abc"]
    missing = serving.run("logs", "v9")
    assert missing.exit_code == 1
    assert "pods: flights-v1-abc" in missing.output


def start_monitor(serving: InCluster) -> None:
    """A pod of the system's monitor that is ready."""
    labels = SystemNames(NAMESPACE, SystemName(SYSTEM)).selector("monitor")
    serving.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "monitor-1", "namespace": NAMESPACE, "labels": labels},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
    )


def test_compare_asks_the_monitor_in_its_pod_about_the_last_rollout(
    serving: InCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(serving.world)
    serving.world.days(2)
    asked: list[tuple[str, str, str, dict[str, Any]]] = []

    def run(kube: Any, namespace: str, pod: str, container: str, command: list[str], content: Any) -> str:
        assert (kube, list(content)) == (serving.kube, [])
        asked.append((namespace, pod, container, json.loads(command[-1])))
        assert command[-2] == "/evidence/compared"
        told = PredictionComparison(requests=40, pairs=40, exact=0.5, disagreement=0.25, distance=0.1)
        return json.dumps(to_json(told))

    monkeypatch.setattr("capstan.cluster.monitor_pod.run_with_input", run)
    refused = serving.run("compare")
    assert refused.exit_code != 0
    assert f"no pod of {SYSTEM}-monitor is ready" in refused.output
    start_monitor(serving)
    result = serving.run("compare")
    assert result.exit_code == 0, result.output
    assert "v2 beside v1" in result.output
    assert "40 requests that both answered" in result.output
    assert "50.0% equal, 75.0% decided alike" in result.output
    [(namespace, pod, container, question)] = asked
    assert (namespace, pod, container) == (NAMESPACE, "monitor-1", "monitor")
    assert (question["champion"], question["challenger"]) == ("v1", "v2")
    assert set(question) == {"champion", "challenger", "since", "as_of"}


def test_drift_asks_the_monitor_in_its_pod_for_its_windows(
    serving: InCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = {
        "version": "v1",
        "start": "2013-02-01T00:00:00+00:00",
        "end": "2013-02-08T00:00:00+00:00",
        "rows": 1200,
        "answers": {"drift": {"outcome": "Breach", "gap": None, "numbers": {}}},
        "features": {
            "temp": {"test": "KS", "distance": 0.3, "threshold": 0.1, "breach": True, "missing_rate": 0.0}
        },
        "outputs": {},
        "quality": None,
        "alerts": ["DriftDetected"],
    }

    def run(kube: Any, namespace: str, pod: str, container: str, command: list[str], content: Any) -> str:
        assert command[-2:] == ["/windows", ""]
        return json.dumps({"windows": [window]})

    monkeypatch.setattr("capstan.cluster.monitor_pod.run_with_input", run)
    start_monitor(serving)
    result = serving.run("drift")
    assert result.exit_code == 0, result.output
    assert "temp     KS    0.300     0.100      1 of 1  0.0%     █" in result.output
    assert "2013-02-01 to 2013-02-08  v1       1,200  drift above, fires: DriftDetected" in result.output

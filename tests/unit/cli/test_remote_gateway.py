"""`predict`, `feedback` and `logs last` reach a system that runs elsewhere: behind kubectl, or at an address."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner
from unit.cli import test_feedback
from unit.cli.served_place import HEADER, Place
from unit.cli.test_open import kubectl

from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cli.main import app
from capstan.cluster import places
from capstan.cluster.names import RUN_LABEL, SYSTEM_LABEL, SystemNames
from capstan.domain.versions import SystemName
from capstan.errors import NotAllowedError

NAMESPACE = "ml"
NAMES = SystemNames(NAMESPACE, SystemName("toy"), tokens_mark="0123abcd")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("remote"))


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> MemoryKube:
    made = MemoryKube()
    monkeypatch.setattr(places, "connect", lambda context: made)
    monkeypatch.setattr(places, "_context", lambda name: (name or "current", NAMESPACE))
    return made


def address(served: Place) -> str:
    return str(orjson.loads(served.state.addresses.read_bytes())["gateway"])


def forwards(folder: Path, monkeypatch: pytest.MonkeyPatch, port: str) -> Path:
    return kubectl(folder, monkeypatch, f"echo 'Forwarding from 127.0.0.1:{port} -> 8080'; exec sleep 60")


def run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env=environment)


def answered(result: Any) -> list[tuple[str, str, str]]:
    assert result.exit_code == 0, result.output
    rows = csv.DictReader(io.StringIO(result.stdout))
    return [(row["row"], row["flight_id"], row["version"]) for row in rows]


def test_a_gateway_of_a_cluster_is_asked_through_kubectl(
    served: Place, kube: MemoryKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = served.table(HEADER + "007,500,UA,1\n008,?,AA,0\n")
    with served.serving():
        called = forwards(tmp_path, monkeypatch, address(served).rpartition(":")[2])
        result = run("predict", str(served.folder / "system.yaml"), rows, "--context", "prod")
    assert answered(result) == [("1", "007", "v1"), ("2", "008", "v1")]
    assert called.read_text().strip() == f"--context prod -n ml port-forward service/{NAMES.gateway} :80"


def test_an_address_is_asked_as_it_is_and_says_itself_what_it_reads(served: Place) -> None:
    rows = served.table(HEADER + "007,500,UA,1\n")
    with served.serving():
        same = answered(
            run("predict", str(served.folder / "system.yaml"), rows, "--url", address(served) + "/")
        )
        bad = run(
            "predict",
            str(served.folder / "system.yaml"),
            "--row",
            '{"distance": -3}',
            "--url",
            address(served),
        )
    assert same == [("1", "007", "v1")]
    assert bad.exit_code == 3
    assert "refused: row 1, distance: -3" in bad.stderr


def test_traffic_goes_to_an_address_and_to_a_cluster_with_labels_by_the_token(
    served: Place, kube: MemoryKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, rows = str(served.folder / "system.yaml"), served.table(HEADER + "007,500,UA,1\n008,600,AA,0\n")
    words = ["traffic", file, rows, "--rate", "50", "--for", "100ms", "--json"]
    handed = []
    monkeypatch.setattr(
        "capstan.adapters.own.collector.CollectorClient.post_labels",
        lambda client, labels, *, system: handed.extend((client._feedback, one["label"]) for one in labels),
    )
    with served.serving():
        by_url = run(
            *words,
            "--url",
            address(served) + "/",
            "--feedback",
            "--label-delay",
            "0s",
            CAPSTAN_FEEDBACK_TOKEN="let-me",
        )
        called = forwards(tmp_path, monkeypatch, address(served).rpartition(":")[2])
        by_context = run(*words, "--context", "prod")
        events = run(*words, "--url", address(served), "--events", "click=1")
        without = run(*words, "--url", address(served), "--feedback")
    for done in (by_url, by_context):
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert (told["answered"], told["versions"]) == (5, {"v1": 5})
    assert len(handed) == 5
    assert all("let-me" in str(headers) for headers, _ in handed)
    assert called.read_text().strip() == f"--context prod -n ml port-forward service/{NAMES.gateway} :80"
    assert "events can only be sent on this machine" in json.loads(events.stdout)["message"]
    assert "--token-file or $CAPSTAN_FEEDBACK_TOKEN gives it" in json.loads(without.stdout)["message"]


def test_an_address_that_serves_another_system_is_told(served: Place, tmp_path: Path) -> None:
    file = tmp_path / "system.yaml"
    file.write_text((served.folder / "system.yaml").read_text().replace("{name: toy}", "{name: other}"))
    with served.serving():
        result = run("predict", str(file), "--row", "{}", "--url", address(served))
    assert result.exit_code == 1
    assert "serves no model 'other'" in result.stderr


def test_nobody_at_the_address_and_no_address_at_all_are_told(served: Place) -> None:
    file = str(served.folder / "system.yaml")
    result = run("predict", file, "--row", "{}", "--url", "http://127.0.0.1:9", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]) == (1, "Unavailable")
    result = run("predict", file, "--row", "{}", "--url", "gateway.example")
    assert result.exit_code == 1
    assert "must begin with http:// or https://" in result.stderr


def test_a_model_folder_is_asked_on_this_machine_only(served: Place) -> None:
    file = str(served.folder / "system.yaml")
    for words in (["--context", "prod"], ["--url", "http://127.0.0.1:9"]):
        result = run("predict", file, "--row", "{}", "--offline", *words)
        assert result.exit_code == 1
        assert "ask a model folder of this machine" in result.stderr


def test_a_gateway_that_is_not_there_is_told_with_the_way_to_it(
    served: Place, kube: MemoryKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, monkeypatch, "echo 'Error from server (NotFound): services not found'; exit 1")
    result = run("predict", str(served.folder / "system.yaml"), "--row", "{}", "--context", "prod")
    assert result.exit_code == 1
    assert "ml has no gateway of toy; `capstan up FILE --context prod` makes one" in result.stderr
    assert "page" not in result.stderr


def test_who_may_open_no_way_to_the_gateway_is_told_about_it(
    served: Place, kube: MemoryKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, monkeypatch, "echo 'Error from server (Forbidden): it is forbidden'; exit 1")
    result = run("predict", str(served.folder / "system.yaml"), "--row", "{}", "--context", "prod")
    assert "you may open no way to the gateway: in namespace ml" in result.stderr
    assert "an Ingress to the gateway (--url" in result.stderr


def test_behind_another_provider_s_ingress_the_way_is_told(
    served: Place, kube: MemoryKube, tmp_path: Path
) -> None:
    file = tmp_path / "system.yaml"
    text = (served.folder / "system.yaml").read_text()
    file.write_text(f"{text}  serving: {{traffic: {{provider: Istio}}}}\n")
    result = run("predict", str(file), "--row", "{}", "--context", "prod")
    assert result.exit_code == 1
    assert "an ingress of its own, which this command cannot ask" in result.stderr


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[test_feedback.Place]:
    """A collector that heard the request of case `007`, as it stands behind a gateway."""
    made = test_feedback.Place(tmp_path)
    thread = threading.Thread(target=made.server.run)
    thread.start()
    while not made.server.started:
        pass
    made.hear("007")
    yield made
    made.server.should_exit = True
    thread.join()


def keep_token(kube: MemoryKube, token: str) -> None:
    """The Deployment that names its Secret, and the Secret."""
    volume = {"name": "tokens", "secret": {"secretName": NAMES.tokens}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAMES.collector, "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"volumes": [volume]}}},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAMES.tokens, "namespace": NAMESPACE},
        "data": {"feedback": base64.b64encode(token.encode()).decode()},
    }
    kube.create(deployment)
    kube.create(secret)


def test_labels_go_through_the_gateway_with_the_cluster_s_own_token(
    collecting: test_feedback.Place, kube: MemoryKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_token(kube, collecting.state.token("feedback"))
    forwards(tmp_path, monkeypatch, collecting.address.rpartition(":")[2])
    result = collecting.feedback("case,late\n007,1\n", "--context", "prod", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["accepted"], told["matched"]["ids"]) == (1, ["007"])


def test_labels_go_to_an_address_with_a_token_of_a_file_or_of_the_environment(
    collecting: test_feedback.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--url", collecting.address, "--json"]
    without = collecting.feedback("case,late\n007,1\n", *words)
    assert without.exit_code == 1
    assert "$CAPSTAN_FEEDBACK_TOKEN" in json.loads(without.stdout)["message"]
    by_file = ["--token-file", str(collecting.state.token_file("feedback"))]
    assert json.loads(collecting.feedback("case,late\n007,1\n", *words, *by_file).stdout)["accepted"] == 1
    monkeypatch.setenv("CAPSTAN_FEEDBACK_TOKEN", collecting.state.token("feedback"))
    assert json.loads(collecting.feedback("case,late\n007,1\n", *words).stdout)["duplicates"] == 1
    monkeypatch.setenv("CAPSTAN_FEEDBACK_TOKEN", "another")
    assert collecting.feedback("case,late\n007,1\n", *words).exit_code == 1


def test_who_may_not_read_the_secret_is_told_what_to_give(
    collecting: test_feedback.Place, kube: MemoryKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_token(kube, "secret")
    of_all = kube.get

    def refusing(kind: str, name: str, namespace: str | None = None) -> Any:
        if kind == "Secret":
            raise NotAllowedError("secrets are forbidden")
        return of_all(kind, name, namespace)

    monkeypatch.setattr(kube, "get", refusing)
    result = collecting.feedback("case,late\n007,1\n", "--context", "prod")
    assert result.exit_code == 1
    assert f"the token of Secret {NAMES.tokens}: --token-file" in result.stderr.replace("\n", " ")


def pod(name: str, created: str, run_name: str | None = None) -> dict[str, Any]:
    labels = {SYSTEM_LABEL: "toy"} | ({RUN_LABEL: run_name} if run_name else {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, "creationTimestamp": created},
        "spec": {"containers": [{"name": "main"}]},
    }


def test_the_last_log_of_a_cluster_is_that_of_the_newest_training(
    kube: MemoryKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (
        pod("a-new", "2026-01-02T00:00:00Z", "toy-b"),
        pod("b-old", "2026-01-01T00:00:00Z", "toy-a"),
        pod("c-gateway", "2026-01-03T00:00:00Z"),
    ):
        kube.create(one)
    asked: list[str] = []

    def log(name: str, namespace: str, **_: object) -> str:
        asked.append(name)
        return "trained\n"

    monkeypatch.setattr(kube, "pod_log", log)
    result = run("logs", "last", "--context", "prod")
    assert (result.exit_code, result.output) == (0, "trained\n")
    (seen,) = kube.list("Pod", NAMESPACE, labels={RUN_LABEL: "toy-b"})
    assert asked == [seen["metadata"]["name"]]


def test_where_no_training_is_left_the_record_is_named(kube: MemoryKube) -> None:
    kube.create(pod("c-gateway", "2026-01-03T00:00:00Z"))
    result = run("logs", "last", "--context", "prod")
    assert result.exit_code == 1
    assert "`capstan runs last --context` tells" in result.stderr

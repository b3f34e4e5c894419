"""Claims about `capstan trigger`, against the real collector behind what stands for the gateway."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn
from typer.testing import CliRunner

from capstan.adapters.processes.ports_in_use import free_port
from capstan.cli.main import app
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.refusals import require_webhook_secrets
from capstan.embedded.wiring import spec_document
from capstan.errors import InvalidSpecError
from capstan.recording.collector.server import CollectorConfig, CollectorService
from capstan.recording.webhooks import read_webhooks
from capstan.spec import load

FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: toy}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources: [{name: cases, csv: {path: cases.csv, timeColumn: at}}]
    keys: {id: case, time: at}
    label: {column: late, availableAt: known_at, maximumDelay: 1d}
  features:
    - {name: x, numeric: {}}
  retraining:
    triggers:
      - drift: {}
      - webhook: {sender: airflow, secretFrom: {secretKeyRef: {name: airflow, key: webhook}}}
"""
SECRET = base64.b64encode(bytes(range(200, 232))).decode()


class Place:
    def __init__(self, root: Path) -> None:
        self.file, self.state = root / "system.yaml", StateDir(root / "a state")
        self.state.prepare(SystemName("toy"))
        self.file.write_text(FILE)
        self.state.spec(SystemName("toy")).write_bytes(orjson.dumps(spec_document(load(self.file))))
        self.secret = self.state.secrets / "airflow" / "webhook"
        self.secret.parent.mkdir(parents=True)
        self.secret.write_text(SECRET)
        self.port = free_port()
        config = CollectorConfig(
            port=self.port,
            directory=self.state.run / "collector",
            systems=self.state.root / "systems",
            tokens={name: self.state.token_file(name) for name in ("internal", "feedback")},
            secrets=self.state.secrets,
        )
        self.server = uvicorn.Server(
            uvicorn.Config(CollectorService(config).app(), port=self.port, log_level="error")
        )
        gateway = {"gateway": f"http://127.0.0.1:{self.port}", "system": "toy"}
        self.state.addresses.parent.mkdir(parents=True, exist_ok=True)
        self.state.addresses.write_bytes(orjson.dumps(gateway))

    def trigger(self, *words: str, sender: str = "airflow") -> Any:
        arguments = ["trigger", str(self.file), sender, "--state", str(self.state.root), *words]
        return CliRunner().invoke(app, arguments)

    def known(self) -> list[str]:
        return [call.reason for call in read_webhooks(self.state.system(SystemName("toy"))).calls]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    thread = threading.Thread(target=made.server.run)
    with made.state.exclusively():
        thread.start()
        while not made.server.started:
            pass
        yield made
        made.server.should_exit = True
        thread.join()


def test_a_call_is_signed_and_taken_and_the_same_id_counts_once(place: Place) -> None:
    first = place.trigger("--reason", "August is complete", "--id", "msg_1")
    assert first.exit_code == 0, first.output
    assert "msg_1: taken; the loop hears of it at its next look" in first.stdout
    assert "counts once" in place.trigger("--id", "msg_1").stdout
    told = json.loads(place.trigger("--json").stdout)
    assert (told["accepted"], told["id"][:4]) == (1, "msg_")
    assert place.known() == ["August is complete", ""]


def test_the_printed_script_asks_as_the_verb_does_and_holds_no_secret(place: Place) -> None:
    reason = 'it\'s 50 % of "August"; $HOME'
    for secret in (SECRET, f"whsec_{SECRET}\n{SECRET}\n"):
        place.secret.write_text(secret)
        script = place.trigger("--curl", "--reason", reason).stdout
        assert SECRET not in script
        ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == {"accepted": 1, "duplicates": 0}
    assert place.known() == [reason, reason]


def test_what_is_wrong_names_the_way_out(place: Place) -> None:
    unknown = place.trigger(sender="nobody")
    assert unknown.exit_code != 0
    assert "'nobody' is no sender of a webhook in the file: airflow" in unknown.stderr
    place.secret.write_text(base64.b64encode(bytes(32)).decode())
    taken = place.trigger("--secret-file", str(place.secret))
    assert taken.exit_code == 0, taken.output
    place.secret.unlink()
    missing = place.trigger()
    assert missing.exit_code != 0
    assert "`openssl rand -base64 32` makes one" in " ".join(missing.stderr.split())
    foreign = place.trigger("--url", f"http://127.0.0.1:{place.port}")
    assert "--secret-file: is needed" in foreign.stderr


def test_a_wrong_secret_is_told_as_the_gateway_told_it(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(base64.b64encode(bytes(32)).decode())
    refused = place.trigger("--secret-file", str(other))
    assert refused.exit_code != 0
    assert "webhook-signature is not that of this message" in " ".join(refused.stderr.split())
    assert place.known() == []


def test_a_system_does_not_start_where_a_sender_could_not_be_let_in(place: Place) -> None:
    system = load(place.file)
    require_webhook_secrets(system, place.state.secrets)
    place.secret.write_text("short")
    with pytest.raises(InvalidSpecError) as raised:
        require_webhook_secrets(system, place.state.secrets)
    [mistake] = raised.value.mistakes
    assert mistake.path == "retraining.triggers[1].webhook.secretFrom"
    assert "must be base64 of 24 to 64 bytes" in mistake.message
    assert str(place.secret) in mistake.message

"""A real Alertmanager tells the people of a file, and the loop as before."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from contract.test_alert_rules import flights

from capstan.adapters.alertmanager.server import AlertmanagerServer, AlertmanagerSettings
from capstan.adapters.processes import programs as tools
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor
from capstan.adapters.processes.ports_in_use import free_port
from capstan.cluster.names import SECRETS_MOUNT, SystemNames
from capstan.cluster.objects.notifying import alertmanager_config
from capstan.domain.versions import SystemName
from capstan.spec import parse
from capstan.spec.receivers import Receiver
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real


class Mailbox(http.server.ThreadingHTTPServer):
    """Keeps what is posted: path, token, body."""

    daemon_threads = True

    def __init__(self) -> None:
        self.posted: list[tuple[str, str | None, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def to(self, path: str) -> list[tuple[str | None, dict[str, Any]]]:
        return [(token, body) for asked, token, body in self.posted if asked == f"/{path}"]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mailbox

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers.get("Authorization"), body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    server = Mailbox()
    yield server
    server.shutdown()
    server.server_close()


class PostOffice:
    """Keeps the mail that it is given, and asks who brings it."""

    def __init__(self) -> None:
        self.mail: list[tuple[list[str], EmailMessage]] = []
        self.brought_by: set[tuple[bytes, bytes]] = set()

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
    ) -> AuthResult:
        self.brought_by.add((given.login, given.password))
        return AuthResult(success=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(envelope.content or b"", policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mail.append((envelope.rcpt_tos, message))
        return "250 taken"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mailbox_is_told_by_a_server_that_asks_for_a_password(tmp_path: Path, mailbox: Mailbox) -> None:
    supervisor = ProcessSupervisor(tmp_path / "processes", tmp_path / "logs")
    settings = AlertmanagerSettings(webhook_url=mailbox.url("loop"))
    manager = AlertmanagerServer(supervisor, tmp_path / "alertmanager", settings)
    (tmp_path / "secrets" / "mail").mkdir(parents=True)
    (tmp_path / "secrets" / "mail" / "password").write_text("sesame")
    office, port = PostOffice(), free_port()
    server = Controller(
        office,
        "127.0.0.1",
        port,
        authenticator=office.authenticate,
        auth_required=True,
        auth_require_tls=False,
        # Its prompt is not the one that Alertmanager, as most clients, waits for.
        auth_exclude_mechanism=["LOGIN"],
    )
    email = {
        "to": "ops@example.com",
        "sender": "capstan@example.com",
        "server": f"127.0.0.1:{port}",
        "username": "capstan",
        "passwordFrom": {"secretKeyRef": {"name": "mail", "key": "password"}},
        "requireTls": False,
    }
    alert = {
        "labels": {"alertname": "DriftDetected", "system": "flights", "severity": "warning", "version": "v1"},
        "annotations": {"summary": "rain has drifted", "runbook": "capstan explain DriftDetected"},
    }
    server.start()
    try:
        manager.start()
        receiver = Receiver.model_validate({"name": "mail", "email": email})
        manager.set_receivers("flights", [receiver], tmp_path / "secrets")
        httpx.post(f"{manager.address}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()
        eventually(lambda: len(office.mail) == 1, seconds=60)
        [(to, message)] = office.mail
        assert to == ["ops@example.com"]
        assert message["From"] == "capstan@example.com"
        assert "DriftDetected" in message["Subject"]
        text = message.get_body(("plain", "html"))
        assert text is not None
        assert "rain has drifted" in text.get_content()
        assert "capstan explain DriftDetected" in text.get_content()
        assert office.brought_by == {(b"capstan", b"sesame")}
        assert "sesame" not in (tmp_path / "alertmanager" / "alertmanager.yml").read_text()
    finally:
        server.stop()
        supervisor.stop_all()


def test_people_are_told_by_severity_and_the_loop_of_everything(tmp_path: Path, mailbox: Mailbox) -> None:
    supervisor = ProcessSupervisor(tmp_path / "processes", tmp_path / "logs")
    settings = AlertmanagerSettings(webhook_url=mailbox.url("loop"))
    manager = AlertmanagerServer(supervisor, tmp_path / "alertmanager", settings)
    for name, text in {"pager/token": "sesame", "slack/url": mailbox.url("slack")}.items():
        (tmp_path / "secrets" / name).parent.mkdir(parents=True)
        (tmp_path / "secrets" / name).write_text(text)
    token = {"secretKeyRef": {"name": "pager", "key": "token"}}
    people = [
        {
            "name": "pager",
            "severity": "critical",
            "webhook": {"url": mailbox.url("pager"), "tokenFrom": token},
        },
        {
            "name": "team",
            "slack": {"urlFrom": {"secretKeyRef": {"name": "slack", "key": "url"}}, "channel": "#ml"},
        },
    ]
    try:
        manager.start()
        manager.set_receivers(
            "flights", [Receiver.model_validate(one) for one in people], tmp_path / "secrets"
        )
        alerts = [
            {
                "labels": {"alertname": name, "system": system, "severity": severity, "version": "v1"},
                "annotations": {"summary": f"{name} of {system}", "runbook": f"capstan explain {name}"},
            }
            for name, system, severity in (
                ("VersionDown", "flights", "critical"),
                ("PayloadsLost", "flights", "warning"),
                ("VersionDown", "bikes", "critical"),
            )
        ]
        httpx.post(f"{manager.address}/api/v2/alerts", json=alerts, trust_env=False).raise_for_status()

        def told(path: str) -> set[tuple[str, str]]:
            labels = [alert["labels"] for _, body in mailbox.to(path) for alert in body["alerts"]]
            return {(label["alertname"], label["system"]) for label in labels}

        everything = {(alert["labels"]["alertname"], alert["labels"]["system"]) for alert in alerts}
        eventually(lambda: told("loop") == everything)
        eventually(lambda: len(mailbox.to("slack")) == 2, seconds=60)
        eventually(lambda: told("pager") == {("VersionDown", "flights")}, seconds=60)
        assert {token for token, _ in mailbox.to("pager")} == {"Bearer sesame"}
        texts = [body["attachments"][0]["text"] for _, body in mailbox.to("slack")]
        assert sorted(text.splitlines()[0] for text in texts) == [
            "PayloadsLost of flights",
            "VersionDown of flights",
        ]
        assert {body["channel"] for _, body in mailbox.to("slack")} == {"#ml"}
        assert "sesame" not in (tmp_path / "alertmanager" / "alertmanager.yml").read_text()
        manager.set_receivers("flights", (), tmp_path / "secrets")
        assert "pager" not in (tmp_path / "alertmanager" / "alertmanager.yml").read_text()
    finally:
        supervisor.stop_all()


def test_in_a_cluster_people_are_told_of_their_own_system_alone_and_a_missing_secret_stops_nobody_else(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    """The file that the operator writes, its folder of Secrets elsewhere; a token comes after the start."""
    people = [
        {
            "name": "on-call",
            "webhook": {
                "url": mailbox.url("on-call"),
                "tokenFrom": {"secretKeyRef": {"name": "pager", "key": "token"}},
            },
        },
        {"name": "team", "webhook": {"url": mailbox.url("team")}},
        {"name": "channel", "slack": {"urlFrom": {"secretKeyRef": {"name": "slack", "key": "url"}}}},
    ]
    document = flights().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["monitoring"]["receivers"] = people
    names = SystemNames("team-a", SystemName("flight-delays"))
    content = alertmanager_config(parse(document, base_dir=Path()), names)
    file = tmp_path / "alertmanager.yml"
    file.write_text(content.replace(SECRETS_MOUNT, str(tmp_path / "secrets")))
    supervisor = ProcessSupervisor(tmp_path / "processes", tmp_path / "logs")
    program, port = tools.find("alertmanager"), free_port()
    flags = ("--cluster.listen-address=", f"--storage.path={tmp_path}/data", f"--config.file={file}")
    argv = (str(program), *flags, f"--web.listen-address=127.0.0.1:{port}")
    address = f"http://127.0.0.1:{port}"
    supervisor.ensure(
        ProcessSpec("alertmanager", argv, {}, tools.working_folder(program), f"{address}/-/ready")
    )
    try:
        supervisor.wait_healthy("alertmanager", 30.0)
        (tmp_path / "secrets" / "pager").mkdir(parents=True)
        (tmp_path / "secrets" / "pager" / "token").write_text("sesame")

        def fire(namespace: str, system: str) -> None:
            labels = {"alertname": "DriftDetected", "severity": "warning", "system": system}
            alert = {"labels": {**labels, "namespace": namespace}}
            httpx.post(f"{address}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()

        fire("team-b", "flight-delays")
        fire("team-a", "other")
        fire("team-a", "flight-delays")
        eventually(lambda: bool(mailbox.to("on-call") and mailbox.to("team")), seconds=60)
        ((token, body),) = mailbox.to("on-call")
        assert token == "Bearer sesame"
        assert [one["labels"]["namespace"] for one in body["alerts"]] == ["team-a"]
        assert [one["labels"]["system"] for one in body["alerts"]] == ["flight-delays"]
        ((_, told),) = mailbox.to("team")
        assert told["alerts"] == body["alerts"]
    finally:
        supervisor.stop_all()

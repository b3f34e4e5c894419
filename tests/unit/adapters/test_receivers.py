"""People of a file in Alertmanager's configuration: by its own receivers, and no secret in any text."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from ruamel.yaml import YAML

from capstan.adapters.alertmanager.receivers import People
from capstan.adapters.alertmanager.server import AlertmanagerServer, AlertmanagerSettings, config
from capstan.adapters.processes import programs as tools
from capstan.adapters.processes.children import ProcessSpec
from capstan.cluster.objects.receivers import receiver_of, route
from capstan.errors import InvalidSpecError, UnavailableError
from capstan.spec.receivers import Receiver, WebhookReceiver

CRDS = Path(__file__).parents[2] / "cluster" / "crds"
PEOPLE = tuple(
    Receiver.model_validate(one)
    for one in (
        {
            "name": "pager",
            "severity": "critical",
            "webhook": {
                "url": "http://127.0.0.1:1/page",
                "tokenFrom": {"secretKeyRef": {"name": "pager", "key": "token"}},
            },
        },
        {
            "name": "team",
            "slack": {"urlFrom": {"secretKeyRef": {"name": "slack", "key": "url"}}, "channel": "#flights"},
        },
        {
            "name": "mail",
            "email": {
                "to": "ops@example.com",
                "sender": "capstan@example.com",
                "server": "smtp.example.com:587",
                "username": "capstan",
                "passwordFrom": {"secretKeyRef": {"name": "mail", "key": "password"}},
            },
        },
    )
)


def test_secrets_are_files_and_the_loop_is_told_of_everything(tmp_path: Path) -> None:
    document = config(AlertmanagerSettings(webhook_url="http://127.0.0.1:1"), {"a": People(PEOPLE, tmp_path)})
    first, *others = document["route"]["routes"]
    assert first == {"receiver": "capstan", "continue": True}
    assert [(one["receiver"], one["matchers"]) for one in others] == [
        ("a/pager", ['system="a"', 'severity=~"critical"']),
        ("a/team", ['system="a"', 'severity=~"warning|critical"']),
        ("a/mail", ['system="a"', 'severity=~"warning|critical"']),
    ]
    own, pager, team, mail = document["receivers"]
    assert own["name"] == "capstan"
    credentials = pager["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"]
    assert credentials == str(tmp_path / "pager" / "token")
    assert team["slack_configs"][0]["api_url_file"] == str(tmp_path / "slack" / "url")
    assert mail["email_configs"][0]["auth_password_file"] == str(tmp_path / "mail" / "password")
    assert "routes" not in config(AlertmanagerSettings())["route"]


@cache
def _config() -> Any:
    text = (CRDS / "monitoring.coreos.com_alertmanagerconfigs.yaml").read_text()
    # An enumeration has the text `=`, which the safe reader takes for a tag.
    versions = YAML(typ="base").load(text)["spec"]["versions"]
    [version] = [one for one in versions if one["name"] == "v1alpha1"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


def _schema(*path: str) -> Any:
    found = _config()
    for name in path:
        found = found["items"] if name == "[]" else found["properties"][name]
    return found


def _unknown(value: Any, schema: Any, place: str = "") -> list[str]:
    if isinstance(value, dict) and "properties" in schema:
        return [
            found
            for name, one in value.items()
            for found in (
                _unknown(one, schema["properties"][name], f"{place}.{name}")
                if name in schema["properties"]
                else [f"{place}.{name}"]
            )
        ]
    if isinstance(value, list):
        return [found for one in value for found in _unknown(one, schema["items"], f"{place}[]")]
    return []


@pytest.mark.parametrize("receiver", PEOPLE, ids=lambda one: one.name)
def test_the_prometheus_operator_knows_each_field(receiver: Receiver) -> None:
    assert _unknown(receiver_of(receiver), _schema("receivers", "[]")) == []
    assert _unknown(route(receiver), _schema("route")) == []
    assert "secrets" not in str(receiver_of(receiver))


class Alertmanager(http.server.ThreadingHTTPServer):
    """Reads its file when it is told to, and refuses a forbidden word."""

    daemon_threads = True

    def __init__(self, file: Path) -> None:
        self.file = file
        self.read: list[str] = []
        super().__init__(("127.0.0.1", 0), Reload)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def port(self, _: str) -> int:
        return self.server_port

    def ensure(self, _: ProcessSpec) -> None:
        """It runs already, as one that outlived its host."""

    def wait_healthy(self, _: str, __: float) -> None: ...


class Reload(http.server.BaseHTTPRequestHandler):
    server: Alertmanager

    def do_POST(self) -> None:
        text = self.server.file.read_text()
        self.send_response(500 if "refused" in text else 200)
        self.end_headers()
        if "refused" not in text:
            self.server.read.append(text)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alertmanager]:
    monkeypatch.setattr(tools, "find", lambda _: tmp_path / "alertmanager")
    server = Alertmanager(tmp_path / "alertmanager.yml")
    yield server
    server.shutdown()
    server.server_close()


def to(url: str) -> Receiver:
    return Receiver(name="w", webhook=WebhookReceiver(url=url))


def test_one_that_outlived_its_host_forgets_its_people(running: Alertmanager, tmp_path: Path) -> None:
    server = AlertmanagerServer(cast("Any", running), tmp_path, AlertmanagerSettings())
    server.start()
    server.set_receivers("a", [to("http://x/old")], tmp_path)
    again = AlertmanagerServer(cast("Any", running), tmp_path, AlertmanagerSettings())
    again.start()
    again.set_receivers("a", (), tmp_path)
    assert "http://x/old" in running.read[-2]
    assert "http://x/old" not in running.read[-1]


def test_refused_people_of_one_system_leave_those_of_others(running: Alertmanager, tmp_path: Path) -> None:
    server = AlertmanagerServer(cast("Any", running), tmp_path, AlertmanagerSettings())
    server.start()
    with ThreadPoolExecutor() as threads:
        for name in "abcdefgh":
            threads.submit(server.set_receivers, name, [to(f"http://x/{name}")], tmp_path)
            threads.submit(suppressed, server.set_receivers, f"not-{name}", [to("http://refused")], tmp_path)
    assert all(f"http://x/{name}" in running.read[-1] for name in "abcdefgh")
    assert running.file.read_text() == running.read[-1]


def test_no_file_is_left_that_one_which_is_away_would_not_start_with(
    running: Alertmanager, tmp_path: Path
) -> None:
    server = AlertmanagerServer(cast("Any", running), tmp_path, AlertmanagerSettings())
    server.start()
    running.shutdown()
    running.server_close()
    with pytest.raises(UnavailableError):
        server.set_receivers("a", [to("http://refused")], tmp_path)
    assert "refused" not in running.file.read_text()


def suppressed(act: Callable[..., None], *arguments: object) -> None:
    with suppress(UnavailableError):
        act(*arguments)


def test_the_loops_own_receiver_is_not_replaced() -> None:
    with pytest.raises(InvalidSpecError, match="the loop's own receiver"):
        Receiver(name="capstan", webhook=WebhookReceiver(url="http://x"))


def mail(**changes: object) -> dict[str, object]:
    return {"email": {"to": "a@example.com", "sender": "b@example.com", "server": "mail:25", **changes}}


def slack(channel: str) -> dict[str, object]:
    return {"slack": {"channel": channel, "urlFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}}


@pytest.mark.parametrize(
    "written",
    [
        *({"webhook": {"url": url}} for url in (
            "http://[", "http://h/%zz", "http:///x", "http://h/\nx", "http://h:port/", "ftp://h",
            "https://name:password@h/x", "https://token@h",
        )),
        mail(to="a@example.com\nBcc: b@example.com"),
        mail(to="{{ .GroupLabels.system }}@example.com"),
        mail(to="<a@example.com"),
        mail(server="mail:0"),
        mail(username="capstan"),
        mail(passwordFrom={"secretKeyRef": {"name": "mail", "key": "password"}}),
        slack("#flights {{ .x"),
        slack("#flights\nicon: x"),
    ],
    ids=str,
)  # fmt: skip
def test_what_alertmanager_would_refuse_or_read_otherwise_is_refused_before(
    written: dict[str, object],
) -> None:
    with pytest.raises(InvalidSpecError, match="write"):
        Receiver(name="w", **cast("Any", written))


@pytest.mark.parametrize(
    "written",
    [
        *({"webhook": {"url": url}} for url in (
            "http://127.0.0.1:1/page", "https://[::1]:9093", "https://h.example.com/a/b-c?x=1&y=%20z",
        )),
        mail(to="first.last+ml@example.co.uk"),
        slack("#flüge"),
        slack("C024BE91L"),
    ],
    ids=str,
)  # fmt: skip
def test_usual_addresses_are_taken(written: dict[str, object]) -> None:
    Receiver(name="w", **cast("Any", written))

"""Alertmanager on one machine: how it is run, what fires, and when alerts have settled."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from capstan.adapters.alertmanager.poller import PART, AlertPoller
from capstan.adapters.alertmanager.receivers import People
from capstan.adapters.alertmanager.webhook import WebhookHint, WebhookReceiver, parse_webhook
from capstan.adapters.processes import programs as tools
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.adapters.prometheus.server import EVALUATED_GENERATION
from capstan.domain.triggers import Alert, OperationAlert
from capstan.domain.versions import SystemName, VersionName
from capstan.errors import UnavailableError
from capstan.files import write_whole
from capstan.outages import in_words
from capstan.ports.codec import to_yaml
from capstan.spec.receivers import Receiver

__all__ = [
    "REPLAY",
    "AlertPoller",
    "AlertmanagerAlerts",
    "AlertmanagerServer",
    "AlertmanagerSettings",
    "WebhookHint",
    "WebhookReceiver",
    "parse_webhook",
]

PROCESS = "alertmanager"
DATA = "data"
"""Kind of the alerts that may ask for a retraining."""
OPERATION = "operation"
"""Kind of the alerts that only tell a person."""
OPERATION_SECONDS = 2.0
"""Seconds for which a list of operation alerts is trusted; the loop asks at each pass."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertmanagerSettings:
    """Who is told, and how often again."""

    webhook_url: str | None = None
    webhook_token_file: Path | None = None
    group_interval: str = "5s"
    repeat_interval: str = "1h"


REPLAY = {"group_interval": "1s", "repeat_interval": "1m"}


def config(settings: AlertmanagerSettings, people: Mapping[str, People] | None = None) -> dict[str, Any]:
    """alertmanager.yml: one notification for each alert of a version, at once; people of systems by a system's name."""
    receiver: dict[str, Any] = {"name": "capstan"}
    if settings.webhook_url:
        webhook: dict[str, Any] = {"url": settings.webhook_url, "send_resolved": True}
        if settings.webhook_token_file:
            token = str(settings.webhook_token_file.resolve())
            webhook["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": token}}
        receiver["webhook_configs"] = [webhook]
    told = people or {}
    routes = [route for system, its in told.items() for route in its.routes(system)]
    if routes:
        # Without it, an alert that a route takes would not reach the loop.
        routes.insert(0, {"receiver": "capstan", "continue": True})
    return {
        "route": {
            **({"routes": routes} if routes else {}),
            "receiver": "capstan",
            "group_by": ["alertname", "system", "version", "slo"],
            "group_wait": "0s",
            "group_interval": settings.group_interval,
            "repeat_interval": settings.repeat_interval,
        },
        "receivers": [receiver, *(one for system, its in told.items() for one in its.documents(system))],
    }


class AlertmanagerServer:
    """Runs Alertmanager."""

    def __init__(self, supervisor: ProcessSupervisor, folder: Path, settings: AlertmanagerSettings) -> None:
        self._supervisor = supervisor
        self._folder = folder.resolve()
        self.settings = settings
        self.port = supervisor.port(PROCESS)
        self._file = self._folder / "alertmanager.yml"
        self._lock = threading.Lock()
        """Systems of one host say at the same time whom they tell."""
        self._people: dict[str, People] = {}
        self._loaded: bytes | None = None
        """What it is known to have read; None: it may be something else."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it, or adopt a running one; returns when it answers. Raises MissingToolError, UnavailableError."""
        base = to_yaml(config(self.settings))
        content = to_yaml(config(self.settings, self._people))
        write_whole(self._file, content)
        flags = {
            "config.file": str(self._file),
            "storage.path": str(self._folder / "data"),
            "web.listen-address": f"127.0.0.1:{self.port}",
            # Empty means alone. Otherwise it would wait a minute for peers and open a port on all addresses.
            "cluster.listen-address": "",
            "log.level": "warn",
        }
        program = tools.find("alertmanager")
        spec = ProcessSpec(
            name=PROCESS,
            cwd=tools.working_folder(program),
            argv=(str(program), *(f"--{name}={value}" for name, value in flags.items())),
            env={"GOMAXPROCS": "1", "CAPSTAN_CONFIG": hashlib.sha256(base).hexdigest()},
            health_url=f"{self.address}/-/ready",
        )
        self._supervisor.ensure(spec)
        self._supervisor.wait_healthy(PROCESS, 30.0)
        # One that outlived its host may still tell people whom no file names any more.
        self._reload()
        self._loaded = content

    def stop(self) -> None:
        self._supervisor.stop(PROCESS)

    def set_receivers(self, system: str, receivers: Sequence[Receiver], secrets: Path) -> None:
        """Tell these of the system's alerts from now on, besides the loop. `secrets`: a folder with files NAME/KEY.

        Raises UnavailableError if Alertmanager is away or refuses them; refused ones are taken back.
        """
        with self._lock:
            people = dict(self._people)
            if receivers:
                people[system] = People(receivers, secrets)
            else:
                people.pop(system, None)
            content = to_yaml(config(self.settings, people))
            # Each start of a system says it, mostly again.
            if content == self._loaded:
                return
            self._loaded = None
            write_whole(self._file, content)
            try:
                self._reload()
            except UnavailableError:
                # One that is away would not start with receivers that it refuses, and nobody would be told.
                write_whole(self._file, to_yaml(config(self.settings, self._people)))
                raise
            self._people, self._loaded = people, content

    def _reload(self) -> None:
        try:
            answer = httpx.post(f"{self.address}/-/reload", timeout=10, trust_env=False)
        except httpx.HTTPError as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
        if answer.is_error:
            raise UnavailableError(PART, f"it refused the receivers: {answer.text.strip()}")


class AlertmanagerAlerts:
    """The AlertSource of one system; alerts of others, and those that do not say of which version, are ignored."""

    def __init__(
        self,
        source: str | AlertPoller,
        system: SystemName,
        *,
        namespace: str | None = None,
        kind: str = DATA,
        timeout_seconds: float = 5.0,
    ) -> None:
        """`source`: an address, asked at each look, or a poller that many systems share.

        `namespace`: the system's in a cluster, where another may have the same name; None: alerts carry no such label.
        """
        self._poller = (
            AlertPoller(source, timeout_seconds=timeout_seconds) if isinstance(source, str) else source
        )
        self._system = system
        self._namespace = namespace
        self._kind = kind
        self._operation: Sequence[OperationAlert] = ()
        self._operation_at = -math.inf

    def active(self) -> Sequence[Alert]:
        """All alerts of this system that fire now and that nobody has silenced; raises UnavailableError."""
        alerts = [alert_of(entry) for entry in self._list(self._kind, silenced=False)]
        return sorted(
            (alert for alert in alerts if alert is not None), key=lambda alert: (alert.as_of, alert.name)
        )

    def operation(self) -> Sequence[OperationAlert]:
        """Those of this system's parts that fire and that nobody has silenced, at most two seconds ago.

        Raises UnavailableError.
        """
        if time.monotonic() - self._operation_at >= OPERATION_SECONDS:
            alerts = [operation_alert_of(entry) for entry in self._list(OPERATION, silenced=False)]
            self._operation = sorted(
                (alert for alert in alerts if alert is not None),
                key=lambda alert: (alert.since, alert.name, alert.version, alert.slo),
            )
            self._operation_at = time.monotonic()
        return self._operation

    def settled(
        self,
        prometheus: PrometheusQuery,
        generation: int,
        *,
        timeout_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Sequence[Alert]:
        """Wait until what the monitor decided has become alerts, then list them.

        That is: every rule group has seen the monitor's `generation`, and Alertmanager holds just what Prometheus
        fires. Raises UnavailableError if it takes too long, saying what is missing.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            waiting = self._waiting_for(prometheus, generation)
            if not waiting:
                return self.active()
            if time.monotonic() > deadline:
                raise UnavailableError("alerting", f"not settled within {timeout_seconds:g} s: {waiting}")
            sleep(0.05)

    def _waiting_for(self, prometheus: PrometheusQuery, generation: int) -> str:
        seen = prometheus.instant(f'{EVALUATED_GENERATION}{{system="{self._system}"}}')
        if not seen:
            return "Prometheus has evaluated no rule of this system"
        if late := [sample for sample in seen if sample.value < generation]:
            names = ", ".join(sorted(sample.labels.get("rule_group", "?") for sample in late))
            return f"rule group {names} has seen generation {late[0].value:g}, not {generation}"
        firing = prometheus.firing(self._system, self._kind)
        held = frozenset(
            (entry["labels"]["alertname"], entry["labels"].get("version", ""))
            for entry in self._list(self._kind, silenced=True)
        )
        return (
            "" if held == firing else f"Alertmanager holds {sorted(held)}, Prometheus fires {sorted(firing)}"
        )

    def _list(self, kind: str, *, silenced: bool) -> list[dict[str, Any]]:
        wanted = {"system": self._system, "kind": kind}
        if self._namespace is not None:
            wanted["namespace"] = self._namespace
        return [
            entry
            for entry in self._poller.alerts(silenced=silenced)
            if wanted.items() <= entry.get("labels", {}).items()
        ]


def alert_of(entry: dict[str, Any]) -> Alert | None:
    """An element of `/api/v2/alerts` as ours; None if it is not one of Capstan's or does not say of when it speaks."""
    labels, annotations = entry.get("labels", {}), entry.get("annotations", {})
    as_of = moment(str(annotations.get("as_of", "")))
    if not labels.get("version") or not labels.get("alertname") or as_of is None:
        logger.warning("ignored an alert without version or as_of: %s", labels)
        return None
    return Alert(
        name=labels["alertname"],
        version=VersionName(labels["version"]),
        fingerprint=str(entry.get("fingerprint", "")),
        as_of=as_of,
        summary=str(annotations.get("summary", "")),
        trigger=str(labels.get("trigger", "")),
    )


def operation_alert_of(entry: dict[str, Any]) -> OperationAlert | None:
    """An element of `/api/v2/alerts` about how parts run; None if it does not say since when it fires."""
    labels, annotations = entry.get("labels", {}), entry.get("annotations", {})
    since = moment(str(entry.get("startsAt", "")))
    if not labels.get("alertname") or since is None:
        logger.warning("ignored an alert without name or start: %s", labels)
        return None
    return OperationAlert(
        name=labels["alertname"],
        version=VersionName(labels.get("version", "")),
        since=since,
        summary=str(annotations.get("summary", "")),
        slo=str(labels.get("slo", "")),
    )


def moment(text: str) -> datetime | None:
    """RFC 3339 or Unix seconds (as Prometheus prints a value, `1.3850784e+09`); None if it is neither."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else None

"""Prometheus on one machine: what it scrapes, which rules it evaluates, how it is run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from capstan.adapters.envoy import stats as envoy_stats
from capstan.adapters.processes import programs as tools
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor
from capstan.adapters.prometheus.query import PART, PrometheusQuery
from capstan.errors import UnavailableError
from capstan.files import write_whole
from capstan.ports.codec import to_yaml

PROCESS = "prometheus"
GENERATION = "capstan_monitor_generation"
EVALUATED_GENERATION = "capstan_rules_generation"
"""Series recorded at the end of each rule group: the generation of the monitor that the group's alerts have seen."""


@dataclass(frozen=True)
class PrometheusSettings:
    """How often it looks, and how much it keeps."""

    scrape_seconds: float = 5.0
    evaluate_seconds: float = 5.0
    retention: str = "32d"
    """Somewhat longer than a promise to users may be; `retention_size` is the bound that counts."""
    retention_size: str = "512MB"
    envoy_admin: str | None = None
    """`host:port` of the gateway's admin listener; None: no gateway."""
    envoy_is_shared: bool = False
    """Whether that gateway serves several systems: its clusters are called `SYSTEM/cluster`."""
    alertmanager: str | None = None
    """`host:port`; None: alerts are only listed by Prometheus itself."""


REPLAY = PrometheusSettings(scrape_seconds=0.5, evaluate_seconds=0.5, retention="12h", retention_size="256MB")
"""Settings for a replay, which waits for a scrape at each boundary of a rollout, where a month passes in a minute.

A scrape may take no longer than the interval. At a quarter of a second a process that stuttered missed one, and its
alerts were over for a moment.
"""


_SYSTEM_OF_A_CLUSTER = [
    {
        # Where one gateway serves several systems, their predictions are counted under their names.
        "source_labels": ["envoy_virtual_cluster"],
        "regex": "(.+)",
        "target_label": "system",
        "replacement": "$1",
    },
    {
        "source_labels": ["envoy_cluster_name"],
        "regex": "([^/]+)/.+",
        "target_label": "system",
        "replacement": "$1",
    },
    {
        "source_labels": ["envoy_cluster_name"],
        "regex": "[^/]+/(.+)",
        "target_label": "envoy_cluster_name",
        "replacement": "$1",
    },
]
"""Relabelling that names the system of a shared gateway's series.

Its clusters get the names that they have where a system is alone.
"""


def config(settings: PrometheusSettings, folder: Path) -> dict[str, Any]:
    """prometheus.yml; targets and rules are in files beside it."""
    jobs: list[dict[str, Any]] = [
        {
            "job_name": "capstan",
            # The services name their own system and version. The target's labels are for `up`.
            "honor_labels": True,
            "file_sd_configs": [{"files": [str(folder / "targets" / "*.json")], "refresh_interval": "30s"}],
        }
    ]
    if settings.envoy_admin:
        jobs.append(
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "params": {"filter": [envoy_stats.EXPORTED]},
                "static_configs": [{"targets": [settings.envoy_admin]}],
                "metric_relabel_configs": [
                    {
                        "source_labels": ["__name__"],
                        "regex": "envoy_(cluster|vhost|http)_.*",
                        "action": "keep",
                    },
                    *(_SYSTEM_OF_A_CLUSTER if settings.envoy_is_shared else ()),
                ],
            }
        )
    scrape = f"{round(settings.scrape_seconds * 1000)}ms"
    document: dict[str, Any] = {
        "global": {
            "scrape_interval": scrape,
            "scrape_timeout": scrape if settings.scrape_seconds < 2 else "2s",
            "evaluation_interval": f"{round(settings.evaluate_seconds * 1000)}ms",
        },
        "rule_files": [str(folder / "rules" / "*.yml")],
        "scrape_configs": jobs,
    }
    if settings.alertmanager:
        manager = {
            "api_version": "v2",
            "timeout": "2s",
            "static_configs": [{"targets": [settings.alertmanager]}],
        }
        document["alerting"] = {"alertmanagers": [manager]}
    return document


def with_generation(rules: Mapping[str, Any], system: str | None = None) -> dict[str, Any]:
    """The rule file, each of its groups ending with a record of what its alerts have seen.

    A group with an interval of its own is evaluated seldom, and none of its alerts is about data: nobody waits for it.

    `system`: whose monitor's generation; None: there is one alone.
    """
    groups = []
    seen = GENERATION if system is None else f'{GENERATION}{{system="{system}"}}'
    for group in rules["groups"]:
        if "interval" in group:
            groups.append(group)
            continue
        record = {"record": EVALUATED_GENERATION, "expr": seen, "labels": {"rule_group": group["name"]}}
        groups.append({**group, "rules": [*group["rules"], record]})
    return {**rules, "groups": groups}


class PrometheusServer:
    """Runs Prometheus; targets and rules can change while it runs."""

    def __init__(self, supervisor: ProcessSupervisor, folder: Path, settings: PrometheusSettings) -> None:
        self._supervisor = supervisor
        self._folder = folder.resolve()
        self.settings = settings
        self.port = supervisor.port(PROCESS)
        self.query = PrometheusQuery(self.address)
        self._loaded: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it, or adopt a running one; returns when it answers. Raises MissingToolError, UnavailableError."""
        content = to_yaml(config(self.settings, self._folder))
        write_whole(self._folder / "prometheus.yml", content)
        for name in ("targets", "rules", "data"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        flags = {
            "config.file": str(self._folder / "prometheus.yml"),
            "storage.tsdb.path": str(self._folder / "data"),
            "storage.tsdb.retention.time": self.settings.retention,
            "storage.tsdb.retention.size": self.settings.retention_size,
            "web.listen-address": f"127.0.0.1:{self.port}",
            # A restarted Alertmanager learns of firing alerts at the next repetition.
            "rules.alert.resend-delay": "5s",
            "log.level": "warn",
        }
        argv = [
            str(tools.find("prometheus")),
            "--web.enable-lifecycle",
            *(f"--{k}={v}" for k, v in flags.items()),
        ]
        spec = ProcessSpec(
            name=PROCESS,
            argv=tuple(argv),
            env={"GOGC": "50", "GOMAXPROCS": "1", "CAPSTAN_CONFIG": hashlib.sha256(content).hexdigest()},
            health_url=f"{self.address}/-/ready",
        )
        self._supervisor.ensure(spec)
        self._supervisor.wait_healthy(PROCESS, 60.0)

    def stop(self) -> None:
        self._supervisor.stop(PROCESS)

    def scrapes(self, address: str) -> bool:
        """Whether the target answers; a new one is found up to 5 s after `set_targets` (Prometheus looks no sooner)."""
        samples = self.query.instant(f'up{{instance="{address}"}}')
        return bool(samples) and samples[0].value == 1

    def scraped_at(self, job: str) -> datetime | None:
        """When the target of the job that was scraped longest ago was scraped; None while it has none."""
        samples = self.query.instant(f'min(timestamp(up{{job="{job}"}}))')
        return datetime.fromtimestamp(samples[0].value, UTC) if samples else None

    def set_targets(self, job: str, targets: Mapping[str, Mapping[str, str]], *, owner: str = "") -> None:
        """Scrape these `host:port` -> labels under `job` from now on; takes no reload.

        The label `__metrics_path__` moves the path from `/metrics`. `owner`: the system whose targets they are, where
        several share this Prometheus; those of others stay.
        """
        groups = [
            {"targets": [address], "labels": {"job": job, **labels}} for address, labels in targets.items()
        ]
        # Prometheus watches the folder; it reads the file at the rename.
        file = self._targets(job, owner)
        write_whole(file, orjson.dumps(groups, option=orjson.OPT_INDENT_2))

    def keep(self, systems: Collection[str]) -> None:
        """Before it starts: drop rules and targets of all other systems, which a killed host has left."""
        for file in [*(self._folder / "rules").glob("*.yml"), *(self._folder / "targets").glob("*.json")]:
            if file.name.partition(".")[0] not in systems:
                file.unlink()

    def forget(self, system: str, jobs: Sequence[str]) -> None:
        """Scrape nothing of the system any more and evaluate none of its rules.

        Raises UnavailableError if Prometheus is away; then it forgets at its next start.
        """
        for job in jobs:
            self._targets(job, system).unlink(missing_ok=True)
        self._loaded.pop(system, None)
        self._rules(system).unlink(missing_ok=True)
        self.query.ask("POST", "/-/reload")

    def _targets(self, job: str, owner: str) -> Path:
        return self._folder / "targets" / (f"{owner}.{job}.json" if owner else f"{job}.json")

    def _rules(self, name: str) -> Path:
        return self._folder / "rules" / f"{name}.yml"

    def set_rules(self, name: str, rules: Mapping[str, Any]) -> None:
        """Evaluate these rules (the content of a rule file) from now on.

        Where several systems share this Prometheus, `name` is the system's.

        Raises UnavailableError if Prometheus is away or refuses them; refused ones are taken back.
        """
        file = self._rules(name)
        before = file.read_bytes() if file.exists() else None
        content = to_yaml(with_generation(rules, name if self.settings.envoy_is_shared else None))
        if not write_whole(file, content) and self._loaded.get(name) == content:
            return
        try:
            self.query.ask("POST", "/-/reload")
        except UnavailableError as error:
            if "failed to reload" in error.reason:
                file.unlink() if before is None else write_whole(file, before)
                log = self._supervisor.log_dir / f"{PROCESS}.log"
                raise UnavailableError(
                    PART, f"it refused the rules {name}, see {log}: {error.reason.strip()}"
                ) from error
            raise
        self._loaded[name] = content

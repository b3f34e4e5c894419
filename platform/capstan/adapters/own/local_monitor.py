"""Monitoring in this process: the same windows and alerts without a monitor, a Prometheus and an Alertmanager."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from capstan.domain.triggers import Alert, OperationAlert
from capstan.domain.versions import VersionName
from capstan.domain.watching import Standing
from capstan.monitoring.held_alerts import held_alerts
from capstan.monitoring.target import write_target
from capstan.monitoring.watching import Watcher
from capstan.recording.held_rows import HeldRows
from capstan.spec import MLSystem


class LocalMonitor:
    """Monitoring and AlertSource of one system; alerts are those of the last advance, as after a look of Prometheus."""

    def __init__(
        self,
        system: MLSystem,
        folder: Path,
        *,
        model_dir: Callable[[VersionName], Path],
        held: HeldRows | None = None,
    ) -> None:
        """`folder` is `systems/<system>`; `model_dir` finds the verified model folder of a version.

        `held`: payloads and labels are those.
        """
        self._system = system
        self._target = folder / "monitor" / "target.json"
        self._model_dir = model_dir
        self.watcher = Watcher(system, folder, detectors="Scipy", held=held)
        self._alerts: Sequence[Alert] = ()

    def watch(self, version: VersionName, *, since: datetime) -> None:
        """Make it the watched version; windows begin at `since` (event time). Repeating it changes nothing."""
        write_target(self._target, version, model_dir=self._model_dir(version), since=since)

    def advance(self, now: datetime) -> None:
        """Decide all windows that closed by `now`; raises UnavailableError, InvalidDataError or DiskFullError."""
        self.watcher.advance(now)
        watch = self.watcher.checkpoint.watch
        self._alerts = held_alerts(self._system, watch) if watch is not None else ()

    def windows(self) -> list[dict[str, Any]]:
        """Windows that were decided, oldest first, as a monitor tells them."""
        return list(self.watcher.checkpoint.told)

    def close(self) -> None:
        """Let go of the stored payloads."""
        self.watcher.close()

    def standing(self) -> Standing:
        """What the monitor could judge so far."""
        watch = self.watcher.checkpoint.watch
        if watch is None:
            return Standing(None)
        return Standing(VersionName(watch.version), watch.questions(), self.watcher.online, watch.estimated())

    def active(self) -> Sequence[Alert]:
        """Alerts that the windows decided by the last advance hold."""
        return self._alerts

    def operation(self) -> Sequence[OperationAlert]:
        """None: there are no parts that could fail."""
        return ()

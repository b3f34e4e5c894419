"""Decides the windows of the watched version, one after the other, up to a moment."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from capstan.domain.watching import OnlineStanding
from capstan.errors import InvalidDataError
from capstan.monitoring.causes.reference import load_cause_reference
from capstan.monitoring.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from capstan.monitoring.concept.watched_losses import load_loss_reference
from capstan.monitoring.drift.fitted_detectors import DetectorKind, load, load_reference
from capstan.monitoring.drift.online.watched_rows import RowsWatch
from capstan.monitoring.drift.reference import Reference
from capstan.monitoring.estimates.estimator import load_estimator
from capstan.monitoring.measuring import Measuring
from capstan.monitoring.online import measure_online, rest
from capstan.monitoring.quality import QualityReference
from capstan.monitoring.target import read_target
from capstan.monitoring.watched_version import WatchedVersion
from capstan.recording.held_rows import HeldRows
from capstan.recording.reading import PayloadReader
from capstan.spec import MLSystem
from capstan.training.factories import importable


@dataclass(frozen=True)
class Advance:
    """What an advance changed."""

    generation: int
    alerting_changed: bool
    alerts: tuple[str, ...]


class Watcher:
    """One per system; `advance` may be called by several threads."""

    def __init__(
        self,
        system: MLSystem,
        folder: Path,
        *,
        detectors: DetectorKind,
        grace: timedelta = timedelta(0),
        held: HeldRows | None = None,
    ) -> None:
        """`folder` is the system's: `payloads/`, `labels/`, `monitor/`. Windows close `grace` after their end.

        `held`: payloads and labels are those.
        """
        self._system = system
        self._folder = folder
        self._detectors: DetectorKind = detectors
        self._grace = grace
        self._lock = threading.Lock()
        self._reader = PayloadReader(folder, held=held)
        self._path = folder / "monitor" / "state.json"
        self.checkpoint = load_checkpoint(self._path)
        self._measuring: tuple[str, Measuring] | None = None
        self._online_at: datetime | None = None
        self.online: tuple[OnlineStanding, ...] = ()
        """Online metrics as of the last look; no decision is made of them, so that they are in no checkpoint."""

    @property
    def alerts(self) -> tuple[str, ...]:
        """Names of the alerts that hold now."""
        watch = self.checkpoint.watch
        return watch.alerts(consecutive=self._consecutive) if watch is not None else ()

    def close(self) -> None:
        """Let go of the stored payloads."""
        self._reader.close()

    def follow(self, system: MLSystem) -> None:
        """Decide by this file from now on; what is decided stays, and the next window begins where the last ended."""
        with self._lock:
            self._system = system
            self._measuring = None
            self._online_at = None

    def advance(self, now: datetime) -> Advance:
        """Decide every window that has closed by `now`; repeating it changes nothing.

        Raises UnavailableError, InvalidDataError or DiskFullError; what was decided before stays decided.
        """
        with self._lock:
            before = self._standing()
            target = read_target(self._folder / "monitor" / "target.json")
            if target is not None:
                self._keep(self.checkpoint.watching(target.version, target.model_dir, target.since))
            while self._decide_drift(now - self._grace) or self._decide_quality(now - self._grace):
                pass
            self._follow_rows(now - self._grace)
            self._measure_online(now - self._grace)
            return Advance(self.checkpoint.generation, self._standing() != before, self.alerts)

    def _decide_drift(self, now: datetime) -> bool:
        watch = self.checkpoint.watch
        if watch is None:
            return False
        found = self._next_drift(watch, now)
        if found is None:
            return False
        start, end = found
        # A window tells what the rows before its end said, whenever it is decided.
        self._follow_rows(end)
        window = self._measure(watch).drift(watch.decided_drift, watch.version, start, end)
        self._keep(self.checkpoint.with_drift(window, consecutive=self._consecutive))
        return True

    def _follow_rows(self, until: datetime) -> None:
        while (watch := self.checkpoint.watch) is not None:
            found = self._measure(watch).follow_rows(watch.online, watch.version, watch.since, until)
            if found == watch.online:
                return
            self._keep(self.checkpoint.with_online(found))

    def _next_drift(self, watch: WatchedVersion, now: datetime) -> tuple[datetime, datetime] | None:
        """The window that is to be decided now; None: it has not closed. When somebody looks makes no difference."""
        window = self._system.spec.monitoring.window
        if window.rows is None:
            start, end = watch.next_drift(self._duration, window.step)
            return (start, end) if end <= now else None
        start = watch.drift_decided_to
        latest = start + self._duration
        full = self._measure(watch).end_by_rows(start, min(latest, now), window.rows) if start < now else None
        if full is not None:
            return start, full
        return (start, latest) if latest <= now else None

    def _decide_quality(self, now: datetime) -> bool:
        watch = self.checkpoint.watch
        if watch is None:
            return False
        by_rows = self._system.spec.monitoring.window.rows is not None
        found = watch.next_quality(None if by_rows else self._duration)
        if found is None or found[1] > now:
            return False
        start, end = found
        window = self._measure(watch).quality(
            watch.decided_quality, watch.version, start, end, now=now, before=watch.concept
        )
        if window is None:
            return False
        self._keep(self.checkpoint.with_quality(window, consecutive=self._consecutive))
        return True

    def _measure_online(self, now: datetime) -> None:
        if self._online_at is None or not timedelta(0) <= now - self._online_at < rest(self._system):
            self.online = measure_online(self._reader, self._system, now)
            self._online_at = now

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Store first, show then: what is on /metrics survives a kill."""
        if checkpoint is not self.checkpoint:
            save_checkpoint(self._path, checkpoint)
            self.checkpoint = checkpoint

    def _standing(self) -> tuple[str | None, tuple[str, ...]]:
        watch = self.checkpoint.watch
        return (watch.version if watch is not None and self.alerts else None, self.alerts)

    def _measure(self, watch: WatchedVersion) -> Measuring:
        if self._measuring is None or self._measuring[0] != watch.model_dir:
            model = Path(watch.model_dir)
            folder = model / "detectors"
            # A model without references is watched for quality alone; its drift windows say NoEvidence.
            with importable(model / "factories"):
                reference = load_reference(folder) if folder.is_dir() else Reference((), ())
            measuring = Measuring(
                self._system,
                self._reader,
                reference,
                load(folder, reference, self._detectors),
                self._test_metric(model),
                load_estimator(model) if self._system.spec.monitoring.estimate.enabled else None,
                load_loss_reference(model),
                load_cause_reference(model),
                self._rows_watch(reference),
            )
            self._measuring = (watch.model_dir, measuring)
        return self._measuring[1]

    def _rows_watch(self, reference: Reference) -> RowsWatch | None:
        if reference.online is None or not self._system.spec.monitoring.drift.online:
            return None
        return RowsWatch(reference.online, by_alibi=self._detectors == "AlibiDetect")

    def _test_metric(self, model: Path) -> QualityReference | None:
        try:
            manifest = orjson.loads((model / "manifest.json").read_bytes())
            found = [manifest.get(name) or {} for name in ("metrics", "standard_errors")]
        except (OSError, ValueError) as error:
            raise InvalidDataError(f"{model}/manifest.json: cannot be read: {error}") from error
        value, error_of = (part.get(self._system.spec.monitoring.quality.metric) for part in found)
        if not isinstance(value, int | float):
            return None
        return QualityReference(float(value), float(error_of) if isinstance(error_of, int | float) else 0.0)

    @property
    def _duration(self) -> timedelta:
        return self._system.spec.monitoring.window.duration

    @property
    def _consecutive(self) -> int:
        return self._system.spec.monitoring.drift.consecutive

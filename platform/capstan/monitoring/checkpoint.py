"""What the monitor keeps between two lives: one file, replaced whole.

Payloads are read, never consumed, and a window's numbers depend on stored rows alone; so a monitor that was killed
before the checkpoint decides the same window again, with the same numbers, and one killed after it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from capstan.files import write_whole
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.watched_version import WatchedVersion
from capstan.monitoring.windows import DriftWindow, OnlineDrift, QualityWindow
from capstan.monitoring.windows_json import tell_drift, tell_online, tell_quality, tell_truth
from capstan.ports.codec import from_json, to_json

MOST_TOLD = 400
"""Decided windows that are kept for the page and the report, over all versions."""
_OF_DRIFT = frozenset(question.alert.name for question in QUESTIONS.values() if question.kind != "Quality")
"""Alerts that labels neither raise nor end: one that holds when they come began long after their window."""


@dataclass(frozen=True)
class Checkpoint:
    """All that the monitor has decided."""

    generation: int = 0
    """Rises whenever something was decided or another version is watched."""
    watch: WatchedVersion | None = None
    told: tuple[dict[str, Any], ...] = field(default=())
    """Decided windows as `GET /windows` tells them, oldest first."""

    def watching(self, version: str, model_dir: str, since: datetime) -> Checkpoint:
        """The checkpoint with this version watched; the same version since the same moment changes nothing."""
        watch = self.watch
        if watch is not None and (watch.version, watch.since) == (version, since):
            return (
                self
                if watch.model_dir == model_dir
                else replace(self, watch=replace(watch, model_dir=model_dir))
            )
        # What versions before it taught about estimates is kept: it is of the same world.
        begun = WatchedVersion(version, model_dir, since, checked=watch.checked if watch is not None else ())
        return replace(self, generation=self.generation + 1, watch=begun)

    def with_drift(self, window: DriftWindow, *, consecutive: int) -> Checkpoint:
        """The checkpoint with one more drift window decided."""
        assert self.watch is not None
        watch = self.watch.with_drift(window)
        generation = self.generation + 1
        told = {
            "generation": generation,
            "version": watch.version,
            **tell_drift(window),
            **({"online": tell_online(watch.online)} if watch.online is not None else {}),
            "quality": None,
            "alerts": list(watch.alerts(consecutive=consecutive)),
            "drift_alert": QUESTIONS["drift"].alert.name in watch.alerts(consecutive=consecutive),
        }
        return Checkpoint(generation, watch, _kept((*self.told, told), watch))

    def with_online(self, found: OnlineDrift | None) -> Checkpoint:
        """The checkpoint with more rows seen by online detectors; only a drift that begins or ends is a decision."""
        assert self.watch is not None
        before = self.watch.online
        decided = (found.since if found is not None else None) != (
            before.since if before is not None else None
        )
        return replace(self, generation=self.generation + decided, watch=self.watch.with_online(found))

    def with_quality(self, window: QualityWindow, *, consecutive: int) -> Checkpoint:
        """The checkpoint with one more quality window decided; it completes the drift window of the same time."""
        assert self.watch is not None
        watch = self.watch.with_quality(window)
        held = frozenset(watch.alerts(consecutive=consecutive))
        generation = self.generation + 1
        told = tuple(
            {
                **entry,
                "generation": generation,
                "quality": tell_quality(window),
                "estimate": tell_truth(entry.get("estimate"), window),
                "alerts": sorted({*entry["alerts"], *held - _OF_DRIFT}),
            }
            if (entry["version"], entry["end"]) == (watch.version, window.end.isoformat())
            else entry
            for entry in self.told
        )
        return Checkpoint(generation, watch, told)


def _kept(told: tuple[dict[str, Any], ...], watch: WatchedVersion) -> tuple[dict[str, Any], ...]:
    """Without the oldest where there is one too many.

    Of windows that overlap, those that labels judge are kept longest: labels come after hundreds of looks.
    """
    if len(told) <= MOST_TOLD:
        return told
    oldest = next((at for at in range(len(told) - 1) if _is_look_alone(told[at], told[at + 1], watch)), 0)
    return (*told[:oldest], *told[oldest + 1 :])


def _is_look_alone(one: dict[str, Any], after: dict[str, Any], watch: WatchedVersion) -> bool:
    """Whether the window shares rows with the next one, and labels never judge it."""
    if one["quality"] is not None or one["version"] != after["version"]:
        return False
    start, end = (datetime.fromisoformat(one[edge]) for edge in ("start", "end"))
    if datetime.fromisoformat(after["start"]) >= end:
        return False
    return one["version"] != watch.version or not watch.is_judged_by_labels(start, end)


def load_checkpoint(path: Path) -> Checkpoint:
    """The stored checkpoint, or an empty one."""
    if not path.exists():
        return Checkpoint()
    return from_json(Checkpoint, orjson.loads(path.read_bytes()))


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file; raises DiskFullError, leaving the old one."""
    write_whole(path, orjson.dumps(to_json(checkpoint)))

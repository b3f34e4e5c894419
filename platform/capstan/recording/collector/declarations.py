"""What the files of systems say about payloads and labels, read again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from capstan.errors import UnavailableError
from capstan.recording.collector.posted_ids import PostedIds
from capstan.recording.labels import read_as
from capstan.recording.payloads import Kind
from capstan.spec.combination import Combination
from capstan.spec.features import Feature
from capstan.spec.online import OnlineMetric
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import Task, task_together
from capstan.tasks.labels import Words


class Declared(NamedTuple):
    """What one system's file says."""

    changed: int
    """When the file was written, in nanoseconds since the epoch."""
    kinds: Mapping[str, Kind]
    """By column."""
    task: str | None
    combination: Combination | None
    """None: the system is of one model."""
    online: tuple[OnlineMetric, ...] = ()
    read_by_steps: frozenset[str] = frozenset()
    """Names of events that steps of the rollout read, such as the clicks of an interleaving."""
    words: Words | None = None
    """How the file's tables write a label that is false or true; None: in the usual words."""
    ids: PostedIds = PostedIds({})
    """Which ids of entries the file pseudonymises."""


def kinds_of(spec: Mapping[str, Any]) -> dict[str, Kind]:
    """How each declared column is stored, by what the file says of it."""
    kinds: dict[str, Kind] = {}
    for feature in spec["features"]:
        column = feature.get("column", feature["name"])
        # A number can be read as a category later, the text of one not always as a number.
        if kinds.get(column) != "numeric":
            kinds[column] = Feature.model_validate(feature).reading
    for key in (spec.get("data") or {}).get("keys", {}).values():
        # Ids stay the text that was sent: as floats two of them could be one.
        kinds.setdefault(key, "categorical")
    return kinds


class Declarations:
    """Of all systems, whose folders are in `systems`."""

    def __init__(self, systems: Path) -> None:
        self._systems = systems
        self._known: dict[str, Declared] = {}

    def of(self, system: str) -> Declared:
        """What the system's file says; nothing while it has not been written."""
        path = self._systems / system / "spec.json"
        if not path.exists():
            return Declared(0, {}, None, None)
        changed = path.stat().st_mtime_ns
        if system not in self._known or self._known[system].changed != changed:
            spec = orjson.loads(path.read_bytes())["spec"]
            kinds = kinds_of(spec)
            objective = spec.get("objective", {})
            task, positive = objective.get("task"), objective.get("positive")
            words = None if positive is None else (str(objective["negative"]), str(positive))
            written = (spec.get("evaluation") or {}).get("online", ())
            online = tuple(OnlineMetric.model_validate(metric) for metric in written)
            steps = [step for one in spec.get("rollout", {}).get("steps", ()) for step in one.values()]
            reading = [one for step in steps if step for one in (step, *step.get("guardrails", ()))]
            read = frozenset(one["event"] for one in reading if "event" in one)
            self._known[system] = Declared(
                changed, kinds, task, Combination.of_file(spec), online, read, words, PostedIds.of_file(spec)
            )
        return self._known[system]

    def label_read_as(self, system: str) -> list[str]:
        """What a label of the system is; raises UnavailableError while its file has not been written."""
        declared = self.of(system)
        if declared.task is None:
            raise _unwritten("feedback", system)
        return read_as(TASK_FACTS[declared.task].label, declared.words)

    def valued_events(self, system: str) -> list[str]:
        """Names of events that must carry a value; raises UnavailableError while its file has not been written."""
        declared = self.of(system)
        if declared.task is None:
            raise _unwritten("events", system)
        return sorted({metric.event for metric in declared.online if metric.needs_value})

    def read_events(self, system: str) -> frozenset[str]:
        """Names of the events that an online metric or a step of the file reads."""
        declared = self.of(system)
        return declared.read_by_steps | {metric.event for metric in declared.online}

    def task(self, system: str) -> Task | None:
        """What the system's payloads answer; None while its file has not been written."""
        declared = self.of(system)
        return None if declared.task is None else task_together(declared.task, declared.combination)


def _unwritten(what: str, system: str) -> UnavailableError:
    return UnavailableError(what, f"the file of {system} has not been written yet; send again")

"""What the run that made a version left of it: on one machine its folder, in a cluster its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from capstan.domain.training import RunStatus, TrainingRequest
from capstan.domain.versions import ModelVersion, SystemName
from capstan.embedded.layout import StateDir
from capstan.engine.records import training_request, training_state
from capstan.errors import CapstanError, NotFoundError
from capstan.ports.store import Kind, Store
from capstan.spec import MLSystem, parse
from capstan.training.job import FACTORIES, SPEC


@dataclass(frozen=True)
class MadeVersion:
    """One version, and the documents of its run. What a run no longer has is an empty document."""

    version: ModelVersion
    request: TrainingRequest
    result: RunStatus
    folder: Path | None
    """None: a cluster's, which keeps the documents in its artifact store."""

    @property
    def name(self) -> str:
        return self.version.name

    @cached_property
    def system(self) -> MLSystem | None:
        """The file as it was; None where the run has it no longer, or no version of Capstan reads it any more."""
        if self.folder is None:
            return None
        document = _read(self.folder / SPEC)
        try:
            return parse(document, base_dir=self.folder) if document else None
        except CapstanError:
            return None

    @cached_property
    def evaluation(self) -> Mapping[str, Any]:
        """What was measured on its test window."""
        found = self._step("evaluate/evaluation")
        if not self.version.rank:
            return found
        others = found.get("runners_up") or ()
        return next((one for one in others if one.get("rank") == self.version.rank), {})

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What its model says of itself."""
        rank = self.version.rank
        return self._step(f"refit/runners_up/{rank}/manifest.json" if rank else "refit/model/manifest.json")

    @cached_property
    def check(self) -> Mapping[str, Any]:
        """What was seen of its rows."""
        return self._step("check/report")

    @property
    def candidate(self) -> str:
        named = (one.candidate for one in self.result.runners_up if one.version.name == self.name)
        return next(named, self.result.chosen_in_words) if self.version.rank else self.result.chosen_in_words

    @cached_property
    def tuned(self) -> dict[str, Any]:
        """What a search or the training itself set, by `model.setting` or `setting`."""
        choice = self._step("choose/choice")
        taken = choice.get("chosen") or ()
        if self.version.rank:
            others = choice.get("runners_up") or ()
            taken = others[self.version.rank - 1 : self.version.rank]
        return {
            ".".join(filter(None, (one.get("model", ""), setting))): value
            for one in taken
            for setting, value in (one.get("settings") or {}).items()
        }

    @cached_property
    def sources(self) -> dict[str, str]:
        """Code beside the file that was carried with it, by path."""
        if self.folder is None:
            return {}
        folder = self.folder / FACTORIES
        files = (path for path in sorted(folder.rglob("*.py")) if path.is_file())
        return {str(path.relative_to(folder)): path.read_text("utf-8", "replace") for path in files}

    def _step(self, path: str) -> dict[str, Any]:
        """A document of one step, of the run's last attempt."""
        if self.folder is None:
            return {}
        found = sorted(self.folder.glob(f"artifacts/*/{path}"))
        return _read(found[-1]) if found else {}


def made_version(store: Store, state: StateDir | None, system: SystemName, name: str) -> MadeVersion:
    """The version of this name; raises NotFoundError that lists those that runs of this place made.

    `state`: the folder of the store; None: it is a cluster's.
    """
    found = made_versions(store, state, system)
    if name not in found:
        there = ", ".join(found) or "none yet"
        raise NotFoundError(f"version {name!r}: no training here made it; versions of {system}: {there}")
    return found[name]


def made_versions(store: Store, state: StateDir | None, system: SystemName) -> dict[str, MadeVersion]:
    """By name, the oldest first; `state` as above."""
    made = {}
    for record in store.list(Kind.RUN, system):
        result = training_state(record).result
        if result is None or result.version is None:
            continue
        folder = None if state is None else state.runs(system) / record.name
        for version in (result.version, *(one.version for one in result.runners_up)):
            made[str(version.name)] = MadeVersion(version, training_request(record), result, folder)
    return dict(sorted(made.items(), key=lambda one: (len(one[0]), one[0])))


def _read(file: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}

"""Where the first champion comes from: what `capstan train` made before, or a training, tried again once it failed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.domain.actions import Verb
from capstan.domain.planners.training import gates_passed
from capstan.domain.reasons import Reason
from capstan.domain.system import SystemState
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.versions import ModelVersion, SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.training import ASKED_BY
from capstan.engine.changes import compare, learns_by
from capstan.engine.commands import issue
from capstan.engine.records import system_state, training_request, training_state
from capstan.errors import CapstanError
from capstan.ports.store import Kind, Record, Store
from capstan.spec import MLSystem, parse
from capstan.spec.presence import meant_files, named_files, own_code
from capstan.training.factories import carry_factories
from capstan.training.job import REQUEST, Job

if TYPE_CHECKING:
    from capstan.embedded.wiring import LocalSystem

IMPORTED_BY = "capstan import"
"""Reason of the trigger of the run that stands for a model that was fitted elsewhere."""
_MOST_NAMED = 3


@dataclass(frozen=True)
class TrainedBefore:
    """A version that was trained and never served."""

    version: ModelVersion
    candidate: str
    kept_out: str = ""
    """Why it does not become the champion; empty: it may."""
    made_by: str = ASKED_BY
    newer_files: tuple[str, ...] = ()
    """Files of the sources that were written after it was trained."""

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.made_by == IMPORTED_BY:
            return f"`{IMPORTED_BY}` took it for this file"
        return f"`{self.made_by}` made it by this file, and it passed its gates"

    @property
    def stale(self) -> str:
        """What it has not learnt from, in words that follow others; empty: nothing."""
        if not self.newer_files:
            return ""
        return f"; {', '.join(self.newer_files)} changed after it was trained, and `capstan retrain` learns from that"

    def __str__(self) -> str:
        return f"{self.version.name} ({self.candidate}, of {self.version.run})"


def trained_before(system: MLSystem, state: StateDir, store: Store) -> TrainedBefore | None:
    """The newest that may be served; where none may, the newest with the reason. None: none was made or imported."""
    newest: TrainedBefore | None = None
    for made_by, result in _results(store, SystemName(system.metadata.name)):
        if (version := result.version) is None:
            continue
        found = TrainedBefore(
            version,
            result.chosen_in_words or "its choice",
            _kept_out(system, state, result, version),
            made_by,
        )
        if not found.kept_out:
            run = state.runs(SystemName(system.metadata.name)) / version.run
            return replace(found, newer_files=_newer_files(system, run))
        newest = newest or found
    return newest


def _results(store: Store, name: SystemName) -> list[tuple[str, RunStatus]]:
    """What was made without a champion and who asked for it, the newest first."""
    made: list[tuple[str, str, RunStatus]] = []
    for record in store.list(Kind.RUN, name):
        request, training = training_request(record), training_state(record)
        asked_for = request.trigger.reason in (ASKED_BY, IMPORTED_BY) and request.champion is None
        if asked_for and training.phase is RunPhase.SUCCEEDED and training.result is not None:
            made.append((str(training.finished_at), request.trigger.reason, training.result))
    return [(by, result) for _, by, result in sorted(made, key=lambda one: one[0], reverse=True)]


def _kept_out(system: MLSystem, state: StateDir, result: RunStatus, version: ModelVersion) -> str:
    if not gates_passed(result):
        missed = "; ".join(gate.message for gate in result.gates if gate.passed is not True)
        return f"it missed its gates: {missed}"
    job = Job(state.runs(SystemName(system.metadata.name)) / version.run)
    try:
        base_dir = Path(job.places.base_dir)
        differing = learns_by(compare(parse(job.spec, base_dir=system.base_dir), system))
    except (CapstanError, OSError, ValueError, KeyError, TypeError):
        return "what it was trained by can't be read any more"
    if base_dir != system.base_dir.resolve():
        return f"it was trained by a file in {base_dir}"
    if differing:
        more = "" if len(differing) <= _MOST_NAMED else f" and {len(differing) - _MOST_NAMED} more"
        return f"the file was changed since: {', '.join(differing[:_MOST_NAMED])}{more}"
    if _code_changed(system, job):
        return "code beside the file was changed since"
    return ""


def _newer_files(system: MLSystem, run: Path) -> tuple[str, ...]:
    """Those of the sources that were written after the run's own request was."""
    try:
        trained_at = (run / REQUEST).stat().st_mtime_ns
    except OSError:
        return ()
    found = []
    for _, path in named_files(system):
        with suppress(OSError):
            if any(file.stat().st_mtime_ns > trained_at for file in meant_files(system.base_dir, path)):
                found.append(path)
    return tuple(dict.fromkeys(found))


def _code_changed(system: MLSystem, job: Job) -> bool:
    """Whether a factory's source is another than the one that was carried with the run."""
    if not any(own_code(system)):
        return False
    with tempfile.TemporaryDirectory(prefix="capstan-code-") as scratch:
        now = Path(scratch, "factories")
        try:
            carry_factories(system, now)
        except CapstanError:
            return True
        return _sources(now) != _sources(job.factories)


def _sources(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*.py")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def serve_trained(local: LocalSystem, say: Callable[[str], None]) -> None:
    """Ask for what `capstan train` made by the same file as the first champion, where nothing else was begun.

    What may not be served is told with its reason, and the first model is trained.
    """
    record = local.store.get(Kind.SYSTEM, local.name)
    state = system_state(record) if record is not None and record.deleted_at is None else None
    if state is None or state.paused or local.system.spec.suspend or state.commands:
        return
    if state.champion or state.run or state.rollout or state.retraining.attempt or state.retraining.failures:
        return
    found = trained_before(local.system, local.state, local.store)
    if found is None:
        return
    if found.kept_out:
        say(f"{found} is not served: {found.kept_out}; a first model is trained")
        return
    say(f"{found} is served: {found.origin}{found.stale or '; `capstan retrain` trains anew'}")
    why = found.origin
    version, now = found.version.name, local.clock.now()
    issue(local.store, local.name, Verb.PROMOTE, version=version, note=why, by="capstan up", at=now)


def try_again(local: LocalSystem, *, mended: bool = False) -> None:
    """Try a failed first training again at once: a person who starts the system does not want to wait for its
    backoff.

    `mended`: so also where several missed their gates, since the file is another one.
    """
    record = local.store.get(Kind.SYSTEM, local.name)
    state = system_state(record) if record is not None and record.deleted_at is None else None
    if state is None or state.paused or state.champion is not None:
        return
    if state.run is not None or state.rollout is not None:
        return
    if state.retraining.failures:
        issue(local.store, local.name, Verb.RESUME, note="capstan up", at=local.clock.now())
    elif mended and state.retraining.held == Reason.LOOP_BROKEN:
        issue(local.store, local.name, Verb.APPROVE, note="the file was mended", at=local.clock.now())


def is_serving(record: Record) -> bool:
    """Whether a champion answers all requests, as the stored status of the system says."""
    conditions = {one["type"]: one["status"] for one in record.status.get("conditions", ())}
    champion = record.status.get("champion") or {}
    return conditions.get("Ready") == "True" and champion.get("weight") is not None


def is_stuck(state: SystemState) -> bool:
    """Whether no model serves and none will by itself soon: trainings failed, or several missed their gates."""
    if state.champion is not None or state.run is not None or state.rollout is not None or state.commands:
        return False
    return bool(state.retraining.failures) or state.retraining.held == Reason.LOOP_BROKEN


def why_it_failed(local: LocalSystem) -> str:
    """In words; what a model without enough evidence or quality missed counts too."""
    told = (Reason.TRAINING_FAILED, Reason.NOT_PROMOTED, Reason.ROLLED_BACK)
    messages = [event.message for _, event in local.store.events(local.name) if event.reason in told]
    return messages[-1] if messages else "see the story"

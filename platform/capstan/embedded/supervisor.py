"""Brings a system up on one machine, keeps it running, and takes it down without leaving anything behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import orjson

from capstan.adapters.own.monitor import Advanced
from capstan.adapters.processes.children import ProcessEvent
from capstan.dashboard.own_metrics import STANDSTILL_PATH
from capstan.dashboard.systems import system_path
from capstan.domain.reasons import Reason
from capstan.domain.rollout import RolloutPhase
from capstan.domain.system import SystemState
from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.embedded.clocks import WallClock
from capstan.embedded.wiring import LocalSystem, spec_document
from capstan.engine import Outcome
from capstan.engine.records import rollout_state, system_state
from capstan.errors import CapstanError, NotFoundError, UnavailableError, UntrustedArtifactError
from capstan.files import write_whole
from capstan.monitoring.rules import render
from capstan.ports.store import Event, Kind, Record
from capstan.spec.receivers import Receiver

logger = logging.getLogger(__name__)
_STORY_OF_PROCESSES = {
    "Died": Reason.PROCESS_DIED,
    "GaveUp": Reason.PROCESS_GAVE_UP,
    "Restarted": Reason.PROCESS_RESTARTED,
}
"""Reason of the story for a reason of a process's event; other events are not told."""
TARGETS = ("services", "capstan")
"""Jobs of Prometheus under which a system's versions and its helpers are scraped."""
T = TypeVar("T")

BUSY_PAUSE_SECONDS = 0.1
"""Seconds between two questions whether a training, a start or a restart has ended."""
BUSY_LOOK_SECONDS = 1.0
"""Most seconds between two looks meanwhile: a look shows how far the work is, and takes processor time from it."""
LOOK_SECONDS = 2.0
"""Most seconds between two looks of a live loop, whether or not a webhook hints at one."""
PATIENCE_SECONDS = 120.0
"""Seconds for which a replay waits for a part that was killed and is started again. Then it stops with its error."""
SHARED_START_SECONDS = 60.0
"""Seconds for which a system waits for shared parts that are being started again."""
QUIET_SECONDS = 15.0
"""Seconds for which a replay waits for payloads and scrapes. Then it goes on, and missing ones are seen as
missing.
"""
STAMP_SECONDS = 0.002
"""Seconds by which Prometheus may stamp a scrape later than it began: it rounds to its interval."""
SCRAPED = 'timestamp(up{job=~"services|envoy"}) and (up{job=~"services|envoy"} == 1)'
"""Query for the time at which each target was last read; `timestamp(up == 1)` would give the time of the query."""


class Supervisor:
    """Runs the processes and the loop of one system."""

    def __init__(
        self,
        local: LocalSystem,
        *,
        tell: Callable[[Event], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stop` says that a person wants it to end; then every wait ends."""
        self.local = local
        self._tell = tell
        self._say = say
        self._told = max((number for number, _ in local.store.events(local.name)), default=0)
        self._hint = threading.Event()
        self._stopping = threading.Event()
        self._stop_asked = stop
        self._alerts_settled = False

    # -- up and down

    def start(self) -> None:
        """Start or adopt every process; returns when all of them answer."""
        local = self.local
        for helper in local.helpers:
            local.processes.ensure(helper)
        if local.shared is None:
            self._say("starting the gateway, Prometheus and Alertmanager")
            local.gateway.start()
            local.alertmanager.start()
            local.prometheus.start()
        else:
            local.shared.wait_until_running(SHARED_START_SECONDS)
            local.gateway.start()
            local.shared.on_event[local.name] = self._on_process
            local.shared.on_end[local.name] = local.gateway.remember
        for helper in local.helpers:
            local.processes.wait_healthy(helper.name)
        local.prometheus.set_rules(local.name, render(local.system))
        self._tell_people(local.system.spec.monitoring.receivers)
        self._set_targets()
        self.declare()
        addresses = {"page": local.addresses.page, "gateway": local.addresses.gateway, "system": local.name}
        if local.shared is not None:
            addresses["host"] = str(local.shared.folder.root)
            local.state.note_host(local.shared.folder)
        write_whole(local.state.addresses, orjson.dumps(addresses))

    def stop(self) -> None:
        """Stop every process; state stays."""
        self._stopping.set()
        self._hint.set()
        with suppress(CapstanError):
            self._leave()
        try:
            self.local.runs.cancel_all()
        finally:
            # Requests end before their services do, and payloads are taken until the last service has flushed.
            self.local.processes.stop_all(first=("envoy",), last=("collector",))
            self.local.state.addresses.unlink(missing_ok=True)

    def _leave(self) -> None:
        """Requests end before what answers them does."""
        local = self.local
        if local.shared is None:
            local.gateway.remember()
            return
        if local.shared.is_ending:
            local.shared.end_requests()
        else:
            local.gateway.stop()
            local.prometheus.forget(local.name, TARGETS)
            self._tell_people(())

    def _tell_people(self, receivers: Sequence[Receiver]) -> None:
        self.local.alertmanager.set_receivers(self.local.name, receivers, self.local.state.secrets)

    def let_go(self) -> None:
        """Hear no more of shared processes; what they share is as it was."""
        shared = self.local.shared
        if shared is not None:
            shared.on_event.pop(self.local.name, None)
            shared.on_end.pop(self.local.name, None)

    def _is_stopping(self) -> bool:
        return self._stopping.is_set() or self._stop_asked()

    def declare(self) -> None:
        """Store what the file says; a changed file raises the record's generation."""
        local = self.local
        document = spec_document(local.system)
        known = local.store.get(Kind.SYSTEM, local.name)
        if known is None:
            local.store.put(Record(Kind.SYSTEM, local.name, local.name, document))
        elif known.spec != document:
            local.store.put(replace(known, spec=document, generation=known.generation + 1))

    def bring_up(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Look until a champion answers all requests; raises CapstanError if training it fails for good."""
        while not stop():
            outcome = self.look()
            record = self.local.store.get(Kind.SYSTEM, self.local.name)
            state = system_state(record) if record is not None else None
            idle = state is not None and state.run is None and state.rollout is None
            if state is not None and idle and state.champion is not None and not self._is_really_busy():
                return
            if state is not None and idle and state.retraining.failures:
                raise CapstanError(
                    f"the first model could not be trained: {outcome.message}; see `capstan runs`"
                )
            self._await_work()

    def bring_back(self) -> bool:
        """Start what served when this system last ran, and wait for it; False if no champion was ever deployed.

        Nothing is decided here: what was in progress goes on with the first look.
        """
        record = self.local.store.get(Kind.SYSTEM, self.local.name)
        state = system_state(record) if record is not None else None
        if state is None or state.champion is None:
            return False
        for version in (state.champion, state.warm, self._tested(state)):
            if version is not None:
                # Refused bytes are told by the look that follows.
                with suppress(UntrustedArtifactError, NotFoundError):
                    self.local.serving.deploy(version)
        while self.local.serving.is_really_starting() and not self._is_stopping():
            self._watch_processes()
            time.sleep(BUSY_PAUSE_SECONDS)
        return True

    def _tested(self, state: SystemState) -> ModelVersion | None:
        """The challenger that had been ready. That this loop was away must not count as a crash of it."""
        record = self.local.store.get(Kind.ROLLOUT, state.rollout.name) if state.rollout else None
        if record is None or state.rollout is None:
            return None
        in_use = rollout_state(record).phase in (RolloutPhase.PROGRESSING, RolloutPhase.PROMOTING)
        return state.rollout.challenger if in_use else None

    # -- the loop

    def hint(self) -> None:
        """Look now, because something may have happened."""
        self._hint.set()

    def run(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """The live loop: look every few seconds and whenever hinted at."""
        while not self._is_stopping() and not until():
            self.look()
            self._hint.wait(LOOK_SECONDS)
            self._hint.clear()

    def look(self) -> Outcome:
        """Reconcile until there is nothing to do but wait."""
        while True:
            self._watch_processes()
            outcome = self.local.engine.reconcile(self.local.name)
            self._tell_events()
            if outcome.is_settled or self._is_stopping():
                return outcome

    def post_labels(self, labels: Iterable[dict[str, object]]) -> None:
        """Hand labels in, as a client's `POST /feedback` does."""
        posted = list(labels)
        self._patiently(lambda: self.local.collector.post_labels(posted))

    def post_events(self, events: list[dict[str, object]]) -> None:
        """Hand business events in, as a client's `POST /events` does."""
        self._patiently(lambda: self.local.collector.post_events(events))

    def store_answers(self) -> None:
        """Everything that was answered so far is in Parquet on return."""
        self._stored_answers()

    def _stored_answers(self) -> float:
        """Store them; returns since when all are counted where they were given, in seconds since 1970."""
        self._patiently(self._quiesce)
        counted = time.time()
        self._patiently(self.local.collector.flush)
        return counted

    def answered_since(self, moment: datetime) -> set[str]:
        """Entity ids whose predictions at or after the moment are stored already."""
        self.store_answers()
        served = self.local.evidence.answered_with_labels(moment, moment + timedelta(days=3660))
        return set(served.table.column("entity_id").to_pylist())

    def settle(self) -> timedelta | None:
        """For a replay: let everything happen that follows from the present moment of event time."""
        local = self.local
        # A scrape that the rollout waits for may come while answers are stored and windows decided.
        counted = self._stored_answers()
        decided, at_once = self._advance()
        # When the monitor or this loop was killed after a decision, nothing says again that alerts have changed.
        if decided.alerting_changed or not at_once or not self._alerts_settled:
            self._patiently(lambda: local.alerts.settled(local.prometheus.query, decided.generation))
        self._alerts_settled = True
        if self._rolls_out():
            self.await_scrape(counted)
        while True:
            outcome = self.look()
            if self._is_stopping() or not self._is_really_busy():
                return outcome.requeue_after
            self._await_work()

    def _advance(self) -> tuple[Advanced, bool]:
        """Decisions of the monitor, and whether it answered at the first question."""
        questions = 0

        def ask() -> Advanced:
            nonlocal questions
            questions += 1
            return self.local.monitor.advance(self.local.clock.now())

        return self._patiently(ask), questions == 1

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until the part answers. Event time stands still while a killed part is started again."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return ask()
            except UnavailableError:
                if self._is_stopping() or time.monotonic() > deadline:
                    raise
            self._watch_processes()
            time.sleep(BUSY_PAUSE_SECONDS)

    def _await_work(self) -> None:
        """Wait until nothing takes real time any more, or a look is due."""
        due = time.monotonic() + BUSY_LOOK_SECONDS
        while True:
            time.sleep(BUSY_PAUSE_SECONDS)
            self._notice_processes()
            if self._is_stopping() or not self._is_really_busy() or time.monotonic() > due:
                return

    def _is_really_busy(self) -> bool:
        return self.local.pipelines.is_really_running() or self.local.serving.is_really_starting()

    def _quiesce(self) -> None:
        """Wait until all copies of requests are answered and all payloads are with the collector.

        Without it a verdict would depend on which payloads happened to be quick.
        """
        local = self.local
        deadline = time.monotonic() + QUIET_SECONDS
        while local.gateway.active_requests() and time.monotonic() < deadline:
            time.sleep(0.01)
        for name, readiness in local.versions.readiness().items():
            if readiness is Readiness.READY and not local.versions.drain(name):
                logger.warning("%s did not hand all its payloads in", name)
        if local.combiner is not None and not local.combiner.drain():
            logger.warning("the combiner did not hand all its payloads in")

    def _rolls_out(self) -> bool:
        """Whether guardrails will be looked at."""
        record = self.local.store.get(Kind.SYSTEM, self.local.name)
        return record is not None and system_state(record).rollout is not None

    def await_scrape(self, moment: float) -> None:
        """Wait until Prometheus has read the gateway and every version after the moment (seconds since 1970)."""
        local = self.local
        wanted = {
            self._address(name)
            for name, ready in local.versions.readiness().items()
            if ready is Readiness.READY
        }
        wanted.add(local.gateway.admin_address.removeprefix("http://"))
        since = moment + STAMP_SECONDS
        deadline = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < deadline:
            with suppress(UnavailableError):
                samples = local.prometheus.query.instant(SCRAPED)
                if wanted <= {sample.labels.get("instance") for sample in samples if sample.value >= since}:
                    return
            time.sleep(0.02)

    def _address(self, name: VersionName) -> str | None:
        endpoint = self.local.versions.endpoint(name)
        return f"{endpoint.host}:{endpoint.port}" if endpoint is not None else None

    def _watch_processes(self) -> None:
        self._notice_processes()
        self._set_targets()

    def _notice_processes(self) -> None:
        for event in self.local.processes.tick():
            self._on_process(event)

    def _on_process(self, event: ProcessEvent) -> None:
        logger.info("%s: %s", event.reason, event.message)
        reason = _STORY_OF_PROCESSES.get(event.reason)
        if reason is not None:
            local = self.local
            local.store.record_event(Event(local.clock.now(), Kind.SYSTEM, local.name, reason, event.message))

    def _set_targets(self) -> None:
        """Scrape every version that runs, and the helpers."""
        local = self.local
        versions: dict[str, dict[str, str]] = {}
        for name in local.serving.readiness():
            endpoint = local.serving.endpoint(name)
            if endpoint is not None:
                versions[f"{endpoint.host}:{endpoint.port}"] = {"system": local.name, "version": name}
        owner = local.name if local.shared is not None else ""
        local.prometheus.set_targets("services", versions, owner=owner)
        helpers: dict[str, dict[str, str]] = {
            address.removeprefix("http://"): {"system": local.name} for address in self._helper_addresses()
        }
        if isinstance(local.clock, WallClock):
            # In a replay there is nobody to act on it.
            page = local.addresses.page_root.removeprefix("http://")
            path = system_path(local.name) if local.shared is not None else ""
            helpers[page] = {"system": local.name, "__metrics_path__": f"{path}{STANDSTILL_PATH}"}
        local.prometheus.set_targets("capstan", helpers, owner=owner)

    def _helper_addresses(self) -> Sequence[str]:
        combiner = self.local.combiner
        others = (combiner.address,) if combiner is not None else ()
        return (self.local.collector.address, self.local.monitor.address, *others)

    def _tell_events(self) -> None:
        for number, event in self.local.store.events(self.local.name, after=self._told):
            self._told = number
            self._tell(event)

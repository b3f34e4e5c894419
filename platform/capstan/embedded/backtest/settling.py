"""A boundary of a backtest: labels are stored, windows decided, and the loop looks until it is quiet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from capstan.embedded.backtest.recorded_labels import label_columns
from capstan.embedded.replay.replaying import Labels
from capstan.engine import Engine, Outcome
from capstan.engine.records import system_state
from capstan.errors import CapstanError
from capstan.ports.clock import Clock
from capstan.ports.store import Kind, Store
from capstan.recording.held_rows import HeldRows
from capstan.recording.labels import FEEDBACK


class Deciding(Protocol):
    """A monitor that is told when to look."""

    def advance(self, now: datetime) -> None:
        """Decide all windows that closed by `now`."""
        ...


class BacktestSettling:
    """Settling of a replay without processes."""

    def __init__(
        self,
        name: str,
        *,
        engine: Engine,
        store: Store,
        monitor: Deciding,
        clock: Clock,
        held: HeldRows,
        label_read_as: list[str],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`held` is where labels are stored."""
        self._name = name
        self._engine = engine
        self._store = store
        self._monitor = monitor
        self._clock = clock
        self._held = held
        self._label_read_as = label_read_as
        self._stop = stop

    def bring_up(self) -> None:
        """Look until a champion answers all requests; raises CapstanError if its training fails."""
        outcome = self.look()
        record = self._store.get(Kind.SYSTEM, self._name)
        state = system_state(record) if record is not None else None
        if state is None or state.champion is None:
            raise CapstanError(
                f"the first model could not be trained: {outcome.message}; `capstan train FILE` shows each step"
            )

    def post_labels(self, labels: Labels) -> None:
        """Store them; raises InvalidRequestError as the collector does."""
        received = self._clock.now()
        table = label_columns(labels, received, self._label_read_as)
        if table is None:
            posted = list(labels)
            table = FEEDBACK.table((entry, received) for entry in FEEDBACK.read(posted, self._label_read_as))
        self._held.add_labels(table)

    def post_events(self, events: list[dict[str, object]]) -> None:
        """A backtest refuses files whose steps read events, so nobody asks for this."""
        raise AssertionError(f"{len(events)} events in a backtest")

    def store_answers(self) -> None:
        """Answers are stored as they are made."""

    def answered_since(self, moment: datetime) -> set[str]:
        """Nothing: a backtest begins anew."""
        del moment
        return set()

    def settle(self) -> timedelta | None:
        """Decide windows, then look until quiet; returns after what time to look again, if at all."""
        self._monitor.advance(self._clock.now())
        return self.look().requeue_after

    def look(self) -> Outcome:
        """Reconcile until there is nothing to do but wait."""
        while True:
            outcome = self._engine.reconcile(self._name)
            if outcome.is_settled or self._stop():
                return outcome

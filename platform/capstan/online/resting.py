"""A store that does not answer is not asked again for each row of a request."""

from __future__ import annotations

from collections.abc import Callable

from capstan.errors import UnavailableError
from capstan.ports.online_events import FindsEvents, FoundEvents

REST_SECONDS = 1.0
"""After a failure; a request of many rows waits for a store once, not once a row."""


class RestingEvents:
    """Looks up in a store. After a failure it is not asked for that table for REST_SECONDS, and counts as down."""

    def __init__(self, store: FindsEvents, clock: Callable[[], float]) -> None:
        """`clock`: seconds that only go forward."""
        self._store, self._clock = store, clock
        self._failures: dict[str, tuple[float, UnavailableError]] = {}
        """By table, since each may lie in another store."""

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        """As the store finds it; raises UnavailableError."""
        failure = self._failures.get(table)
        if failure is not None and self._clock() < failure[0]:
            raise failure[1].with_traceback(None)
        try:
            found = self._store.find(table, entity, since=since, before=before)
        except UnavailableError as error:
            self._failures[table] = self._clock() + REST_SECONDS, error
            raise
        self._failures.pop(table, None)
        return found

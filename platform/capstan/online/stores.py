"""Which store holds which events: a file of this machine, or a server that the file of the system names by a secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.domain.event_windows import Event
from capstan.errors import UnavailableError
from capstan.online.redis import RedisEvents
from capstan.online.sqlite import SqliteEvents
from capstan.ports.online_events import FoundEvents, OnlineEvents

if TYPE_CHECKING:
    from capstan.spec.system import MLSystem

LOAD_SECONDS = 30.0
"""How long a load waits for a store."""
LOOKUP_SECONDS = 0.05
"""How long a request does; a store that takes longer counts as one that does not answer."""
Servers = Mapping[str, tuple[str, str]]
"""Table -> name and key of the secret with the address of its server."""


def servers_of(system: MLSystem) -> dict[str, tuple[str, str]]:
    """Those of `data.events[].online`."""
    found = {}
    for events in system.spec.data.events:
        if events.online is not None:
            secret = events.online.url_from.secret_key_ref
            found[events.table] = str(secret.name), secret.key
    return found


class EventStores:
    """An OnlineEvents that keeps each table where it belongs."""

    def __init__(self, own: SqliteEvents, servers: Mapping[str, RedisEvents]) -> None:
        """`servers` by table; all other tables are in `own`."""
        self._own, self._servers = own, servers

    def add(
        self,
        table: str,
        columns: tuple[str, ...],
        events: Iterable[tuple[str, Event]],
        *,
        loaded_until: int,
        oldest: int = 0,
    ) -> None:
        self._of(table).add(table, columns, events, loaded_until=loaded_until, oldest=oldest)

    def state(self, table: str) -> tuple[tuple[str, ...], int | None]:
        return self._of(table).state(table)

    def oldest(self, table: str) -> int | None:
        return self._of(table).oldest(table)

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        return self._of(table).find(table, entity, since=since, before=before)

    def forget(self, table: str, *, before: int) -> int:
        return self._of(table).forget(table, before=before)

    def close(self) -> None:
        """Close this thread's connection to the file, and all connections to servers."""
        self._own.close()
        for server in self._servers.values():
            server.close()

    def _of(self, table: str) -> OnlineEvents:
        return self._servers.get(table, self._own)


def open_stores(
    file: Path, servers: Servers, *, system: str, secrets: Path, timeout_seconds: float
) -> EventStores:
    """Nothing is connected yet; tables of one secret share its connections. Raises MissingExtraError."""
    by_secret = {
        (name, key): RedisEvents(
            lambda name=name, key=key: read_address(secrets, name, key),  # type: ignore[misc]
            system=system,
            timeout_seconds=timeout_seconds,
        )
        for name, key in set(servers.values())
    }
    own = SqliteEvents(file, busy_timeout_seconds=timeout_seconds)
    return EventStores(own, {table: by_secret[secret] for table, secret in servers.items()})


def read_address(secrets: Path, name: str, key: str) -> str:
    """What the secret holds; raises UnavailableError that tells where to write it."""
    path = secrets / name / key
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise UnavailableError(
            "the store of events",
            f"the secret {name}/{key} cannot be read ({reason}); write the address of the server to {path}",
        ) from None

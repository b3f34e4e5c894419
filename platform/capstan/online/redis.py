"""Events in a server of Valkey or Redis, which the services of all machines ask.

Of a table there are a hash with its state, an index of its entities by their oldest event, and for each entity a sorted
set of its events by the moment at which they happened. All that changes a table changes its hash, so a transaction that
watches the hash sees a table that nobody else changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from capstan.domain.event_windows import Event
from capstan.errors import MissingExtraError, UnavailableError
from capstan.ports.online_events import FoundEvents

if TYPE_CHECKING:
    import redis

SCHEMES = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}
"""Of addresses -> as the client writes them; those with an s are encrypted."""
WAY = "write redis://:PASSWORD@HOST:PORT/NUMBER, or rediss:// where the server speaks TLS"
_STORE = "the store of events"
_STATE = ("columns", "loaded_until", "oldest")
_TRIES = 20
_LOG = logging.getLogger(__name__)


def require_redis() -> None:
    """Raises MissingExtraError."""
    try:
        import redis  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("data.events[].online", "redis") from error


class RedisEvents:
    """An OnlineEvents in a server; threads share it."""

    def __init__(self, address: Callable[[], str], *, system: str, timeout_seconds: float = 30.0) -> None:
        """`address` is asked at the first use, and again after a password was refused; it raises UnavailableError.

        `timeout_seconds` bounds each wait for the server: for a connection, and for an answer.
        """
        require_redis()
        self._address, self._system, self._timeout = address, system, timeout_seconds
        self._made: redis.Redis | None = None

    def add(
        self,
        table: str,
        columns: tuple[str, ...],
        events: Iterable[tuple[str, Event]],
        *,
        loaded_until: int,
        oldest: int = 0,
    ) -> None:
        by_entity: dict[str, dict[bytes, int]] = {}
        for entity, event in events:
            by_entity.setdefault(entity, {})[_written(event)] = event.happened

        def change(_: redis.Redis, pipe: Any) -> None:
            known, until, kept = _state_of(pipe.hmget(self._key(table, "state"), *_STATE))
            is_new = until is None or known != columns
            dropped = pipe.zrange(self._key(table, "entities"), 0, -1) if is_new else []
            pipe.multi()
            for entity in dropped:
                pipe.unlink(self._key(table, "of", entity.decode()))
            if is_new:
                pipe.unlink(self._key(table, "entities"))
            for entity, there in by_entity.items():
                pipe.zadd(self._key(table, "of", entity), there)
            if by_entity:
                first = {entity: min(there.values()) for entity, there in by_entity.items()}
                pipe.zadd(self._key(table, "entities"), first, lt=True)
            state = {
                "columns": orjson.dumps(columns),
                "loaded_until": loaded_until if is_new or until is None else max(until, loaded_until),
                "oldest": oldest if is_new else min(kept, oldest),
            }
            pipe.hset(self._key(table, "state"), mapping=state)

        with self._asked() as client:
            self._require_that_nothing_is_dropped(client)
            self._change(client, table, change)

    def state(self, table: str) -> tuple[tuple[str, ...], int | None]:
        columns, until, _ = self._state(table)
        return columns, until

    def oldest(self, table: str) -> int | None:
        _, until, oldest = self._state(table)
        return None if until is None else oldest

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        with self._asked() as client, client.pipeline(transaction=True) as pipe:
            pipe.hmget(self._key(table, "state"), *_STATE)
            pipe.zrangebyscore(self._key(table, "of", entity), since, before)
            state, members = pipe.execute()
        columns, until, oldest = _state_of(state)
        events = [event for event in map(_read, members) if event.counts(before, before - since)]
        return FoundEvents(events, columns, until, oldest)

    def forget(self, table: str, *, before: int) -> int:
        def change(client: redis.Redis, pipe: Any) -> None:
            _, until, kept = _state_of(pipe.hmget(self._key(table, "state"), *_STATE))
            index = self._key(table, "entities")
            old = [one.decode() for one in pipe.zrangebyscore(index, "-inf", f"({before}")]
            with client.pipeline(transaction=False) as reading:
                for entity in old:
                    key = self._key(table, "of", entity)
                    reading.zrangebyscore(key, before, "+inf", start=0, num=1, withscores=True)
                firsts = reading.execute()
            pipe.multi()
            for entity in old:
                pipe.zremrangebyscore(self._key(table, "of", entity), "-inf", f"({before}")
            for entity, first in zip(old, firsts, strict=True):
                if first:
                    pipe.zadd(index, {entity: first[0][1]})
                else:
                    pipe.zrem(index, entity)
            if until is not None:
                pipe.hset(self._key(table, "state"), "oldest", str(max(kept, before)))
            asked.append(len(old))

        asked: list[int] = []
        with self._asked() as client:
            answers = self._change(client, table, change)
        return sum(answers[: asked[-1]])

    def close(self) -> None:
        """Close all connections."""
        if self._made is not None:
            self._made.close()
            self._made = None

    def _key(self, table: str, part: str, entity: str = "") -> str:
        # What stands in braces keeps the keys of a table together where a server divides keys.
        return f"capstan:events:{{{self._system}:{table}}}:{part}{f':{entity}' if part == 'of' else ''}"

    def _state(self, table: str) -> tuple[tuple[str, ...], int | None, int]:
        with self._asked() as client:
            return _state_of(client.hmget(self._key(table, "state"), _STATE))

    def _change(
        self, client: redis.Redis, table: str, change: Callable[[redis.Redis, Any], None]
    ) -> list[Any]:
        """Do it all or nothing; again where somebody else changed the table meanwhile."""
        import redis

        for _ in range(_TRIES):
            with client.pipeline(transaction=True) as pipe:
                pipe.watch(self._key(table, "state"))  # type: ignore[no-untyped-call]
                change(client, pipe)
                try:
                    return list(pipe.execute())
                except redis.WatchError:
                    continue
        raise UnavailableError(_STORE, "others change it all the time; load again later")

    def _require_that_nothing_is_dropped(self, client: redis.Redis) -> None:
        import redis

        try:
            memory = client.info("memory")
        except redis.ResponseError as error:
            _LOG.warning("the store of events does not say whether it drops keys when it is full: %s", error)
            return
        policy = str(memory.get("maxmemory_policy", ""))
        if policy.startswith("allkeys") and memory.get("maxmemory"):
            raise UnavailableError(
                _STORE,
                f"it drops keys when it is full (maxmemory-policy {policy}), so features would lack events and nobody "
                "would see it; set `maxmemory-policy noeviction`, or another that spares keys without an expiry",
            )

    def _client(self) -> redis.Redis:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        if self._made is None:
            scheme, separator, rest = self._address().partition("://")
            if not separator or scheme not in SCHEMES:
                kind = f"of the kind {scheme[:20]!r}" if separator else "without a scheme"
                raise UnavailableError(_STORE, f"its address is one {kind}; {WAY}")
            try:
                self._made = redis.Redis.from_url(
                    f"{SCHEMES[scheme]}://{rest}",
                    socket_timeout=self._timeout,
                    socket_connect_timeout=self._timeout,
                    # A connection that the server has closed since is made anew, once and at once; nothing waits twice.
                    retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
                    protocol=2,
                )
            except ValueError:
                raise UnavailableError(_STORE, f"its address cannot be read; {WAY}") from None
        return self._made

    @contextmanager
    def _asked(self) -> Iterator[redis.Redis]:
        import redis

        client = self._client()
        told = client.connection_pool.connection_kwargs
        try:
            yield client
        except (redis.RedisError, OSError) as error:
            if isinstance(error, redis.AuthenticationError):
                self.close()
            # Whoever sent a request may read the reason, and addresses are nobody's business.
            host, reason = str(told.get("host")), str(error)
            for address in (f"{host}:{told.get('port')}", host):
                reason = reason.replace(address, "the server")
            raise UnavailableError(_STORE, reason) from error


def _written(event: Event) -> bytes:
    """A member of a sorted set; different events are different bytes."""
    return orjson.dumps((event.happened, event.known, event.number, *event.values))


def _read(member: bytes) -> Event:
    happened, known, number, *values = orjson.loads(member)
    return Event(happened, known, tuple(values), number)


def _state_of(told: Any) -> tuple[tuple[str, ...], int | None, int]:
    columns, until, oldest = told
    return ((), None, 0) if columns is None else (tuple(orjson.loads(columns)), int(until), int(oldest))

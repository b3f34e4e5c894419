"""What the router has learned, in one SQLite file that all its processes share and that outlives them.

`seldon-core-microservice` serves REST and gRPC from processes of their own, each with a copy of the component. So
nothing that matters is kept in an attribute; a reward is counted in one transaction, together with the id that keeps
it from being counted twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capstan_bandit_router.bandits import Rewards

_REMEMBERED = 1_000_000
"""Rewarded requests whose ids are kept; a reward that comes again after so many others counts again."""
_TABLES = """
create table if not exists arms
    (arm integer primary key, count integer not null, total real not null, squares real not null);
create table if not exists rewarded (number integer primary key autoincrement, request text not null unique);
create table if not exists told (one integer primary key check (one = 1), document text not null);
"""


class Memory:
    """Sums of rewards by arm."""

    def __init__(self, path: Path, arms: int) -> None:
        self._path, self._arms = path, arms
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_TABLES)
            connection.executemany(
                "insert or ignore into arms values (?, 0, 0, 0)", [(arm,) for arm in range(arms)]
            )

    def rewards(self) -> tuple[Rewards, ...]:
        """By arm; also what other processes have counted."""
        with self._connected() as connection:
            rows = connection.execute(
                "select count, total, squares from arms where arm < ? order by arm", (self._arms,)
            )
            return tuple(Rewards(*row) for row in rows)

    def add(self, arm: int, reward: float, request: str) -> bool:
        """Count a reward; False if one of this request was counted before. An empty id is never the same again."""
        with self._connected() as connection:
            connection.execute("begin immediate")
            if request and not _insert(
                connection, "insert or ignore into rewarded (request) values (?)", [request]
            ):
                return False
            connection.execute(
                "update arms set count = count + 1, total = total + ?, squares = squares + ? where arm = ?",
                (reward, reward * reward, arm),
            )
            connection.execute(
                "delete from rewarded where number <= (select max(number) from rewarded) - ?", (_REMEMBERED,)
            )
        return True

    def tell(self, document: Mapping[str, Any]) -> None:
        """Keep the rewards that somebody else counted, in the place of those that were told before."""
        with self._connected() as connection:
            connection.execute("insert or replace into told values (1, ?)", [json.dumps(document)])

    def told(self) -> dict[str, Any] | None:
        """What was told last; None: nothing was."""
        with self._connected() as connection:
            row = connection.execute("select document from told").fetchone()
        found: dict[str, Any] | None = json.loads(row[0]) if row is not None else None
        return found

    def _connected(self) -> _Connected:
        return _Connected(self._path)


class _Connected:
    """A connection for one piece of work: one that is opened before a fork must not be used after it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=10)
        # With a write-ahead log a crash of the machine may lose the latest rewards, and never the file.
        self._connection.execute("pragma synchronous = normal")

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.commit()
        self._connection.close()


def _insert(connection: sqlite3.Connection, statement: str, values: Sequence[object]) -> bool:
    return connection.execute(statement, values).rowcount > 0

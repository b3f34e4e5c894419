"""Users of the system in the cluster: they ask at a steady rate, keep their key, and learn the truth a second later."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
from cluster.loop.parcels import LABEL_DELAY, Row, World, with_moments

FEATURES = ("parcel_id", "sent_at", "customer", "carrier", "distance", "weight", "hour")


@dataclass(frozen=True)
class Failure:
    """Of one request, as its user saw it."""

    at: datetime
    what: str


@dataclass
class Asked:
    """What came of the requests, since the last `take`."""

    sent: int = 0
    failures: list[Failure] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """By version."""
    arms: dict[str, set[str]] = field(default_factory=dict)
    """Versions that each user got."""


class Traffic:
    """Asks in a thread of its own until stopped; `moved` changes what is asked."""

    def __init__(self, gateway: str, feedback_token: str, *, per_second: float, seed: int) -> None:
        self._gateway = gateway
        self._token = feedback_token
        self._pause = 1 / per_second
        self._rng = np.random.default_rng(seed)
        self._number = 10_000_000
        self._lock = threading.Lock()
        self._asked = Asked()
        self._total = Asked()
        self.moved = False
        self.rows: list[Row] = []
        """Everything that was asked, with the truth: what a warehouse would hold later."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def take(self) -> Asked:
        """What came of the requests since the last call."""
        with self._lock:
            taken, self._asked = self._asked, Asked()
            return taken

    @property
    def total(self) -> Asked:
        with self._lock:
            return Asked(self._total.sent, list(self._total.failures), Counter(self._total.answered))

    async def _run(self) -> None:
        # A user waits for an answer, not for another user's connection.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        timeout = httpx.Timeout(6.0, pool=None)
        async with httpx.AsyncClient(
            base_url=self._gateway, timeout=timeout, trust_env=False, limits=limits
        ) as client:
            running: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self._stopping.is_set():
                row = self._next()
                task = asyncio.create_task(self._ask(client, row))
                running.add(task)
                task.add_done_callback(running.discard)
                due += self._pause
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                # A machine that cannot keep up must not be sent everything it has missed at once.
                due = max(due, time.monotonic() - 1)
            await asyncio.gather(*running, return_exceptions=True)

    def _next(self) -> Row:
        (row,) = World(self.moved).parcels(1, self._number, self._rng)
        self._number += 1
        return with_moments(row, datetime.now(UTC))

    async def _ask(self, client: httpx.AsyncClient, row: Row) -> None:
        body = {name: row[name] for name in FEATURES}
        customer = str(row["customer"])
        try:
            answer = await client.post("/predict", json=body, headers={"x-capstan-key": customer})
            problem = "" if answer.status_code == 200 else f"{answer.status_code}: {answer.text[:200]}"
            if not problem and not _is_finite(answer.json()):
                problem = f"no number: {answer.text[:200]}"
            version = answer.headers.get("x-capstan-version", "?")
        except httpx.HTTPError as error:
            problem, version = f"{type(error).__name__}: {error}", "?"
        with self._lock:
            for asked in (self._asked, self._total):
                asked.sent += 1
                if problem:
                    asked.failures.append(Failure(datetime.now(UTC), problem))
                else:
                    asked.answered[version] += 1
            if not problem:
                self._asked.arms.setdefault(customer, set()).add(version)
            self.rows.append(row)
        await asyncio.sleep(LABEL_DELAY.total_seconds())
        label = {"id": row["parcel_id"], "label": row["late"], "availableAt": row["known_at"]}
        try:
            await client.post(
                "/feedback", json={"labels": [label]}, headers={"authorization": f"Bearer {self._token}"}
            )
        except httpx.HTTPError:
            # A label that is lost is a label that never comes: coverage falls, nothing else.
            return


def _is_finite(document: Any) -> bool:
    values = [prediction.get("probability") for prediction in document.get("predictions", ())]
    return bool(values) and all(isinstance(value, float) for value in values)

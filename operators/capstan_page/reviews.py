"""Asks the API server who somebody is and what they may do, and remembers its answers for a short while."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from capstan.dashboard.access import Deed, Viewer
from capstan.ports.kube import Object

YES_SECONDS = 30.0
"""Seconds for which a yes is trusted. A right or a token that is taken away is seen after that."""
NO_SECONDS = 5.0
"""Seconds for which a no is trusted, so that a new right is seen soon."""
_MOST = 20_000
T = TypeVar("T")

_ATTRIBUTES: Mapping[Deed, Mapping[str, str]] = {
    Deed.SEE: {"verb": "list", "group": "capstan.dev", "resource": "mlsystems"},
    Deed.READ_LOGS: {"verb": "get", "group": "", "resource": "pods", "subresource": "log"},
    # A command is part of the status, as `capstan approve` writes it.
    Deed.ORDER: {"verb": "update", "group": "capstan.dev", "resource": "mlsystems", "subresource": "status"},
}


class Reviews:
    """TokenReviews and SubjectAccessReviews; raises UnavailableError where the API server does not answer.

    While one is under way, others who ask the same wait for its answer.
    """

    def __init__(
        self, create: Callable[[Object], Object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`create` posts a review, by the page's own account, and returns it with its status."""
        self._create = create
        self._people: _Answers[Viewer | None] = _Answers(clock)
        self._rights: _Answers[bool] = _Answers(clock)
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        """Number of reviews that were asked, by kind."""

    async def person(self, token: str) -> Viewer | None:
        """Whose token it is; None: nobody's, or it has ended."""
        key = hashlib.sha256(token.encode()).digest()
        return await self._people.get(key, lambda: self._ask_person(token), bool)

    async def may(self, viewer: Viewer, namespace: str, deed: Deed) -> bool:
        """Whether they may do it in the namespace, or everywhere."""
        return await self._right(viewer, "", deed) or await self._right(viewer, namespace, deed)

    async def _right(self, viewer: Viewer, namespace: str, deed: Deed) -> bool:
        who = (viewer.name, viewer.groups, viewer.uid, viewer.extra)
        return await self._rights.get(
            (who, namespace, deed), lambda: self._ask_right(viewer, namespace, deed), bool
        )

    def _ask_person(self, token: str) -> Viewer | None:
        status = self._review(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        )
        if not status.get("authenticated"):
            return None
        user: Mapping[str, Any] = status.get("user") or {}
        extra = sorted((str(key), tuple(values)) for key, values in (user.get("extra") or {}).items())
        return Viewer(
            name=str(user.get("username", "")),
            groups=tuple(user.get("groups") or ()),
            uid=str(user.get("uid", "")),
            extra=tuple(extra),
            token=token,
        )

    def _ask_right(self, viewer: Viewer, namespace: str, deed: Deed) -> bool:
        attributes = {"namespace": namespace, **_ATTRIBUTES[deed]}
        status = self._review(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": viewer.name,
                    "groups": list(viewer.groups),
                    "uid": viewer.uid,
                    "extra": {key: list(values) for key, values in viewer.extra},
                    "resourceAttributes": attributes,
                },
            }
        )
        return bool(status.get("allowed")) and not status.get("denied")

    def _review(self, document: Object) -> Mapping[str, Any]:
        with self._lock:
            self.calls[document["kind"]] += 1
        answer = self._create({**document, "metadata": {}})
        status: Mapping[str, Any] = answer.get("status") or {}
        return status


@dataclass
class _Answer(Generic[T]):
    value: T
    until: float


class _Answers(Generic[T]):
    """Answers by question; of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[object, _Answer[T]] = {}
        self._under_way: dict[object, asyncio.Future[T]] = {}

    async def get(self, key: object, ask: Callable[[], T], is_yes: Callable[[T], bool]) -> T:
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            return known.value
        under_way = self._under_way.get(key)
        if under_way is None:
            # The answer counts from when it was asked for: what changes meanwhile is not in it.
            asked_at = self._clock()
            under_way = asyncio.ensure_future(asyncio.to_thread(ask))
            self._under_way[key] = under_way
            under_way.add_done_callback(lambda done: self._take(key, done, asked_at, is_yes))
        # Who asked first may go away; the others still get their answer.
        return await asyncio.shield(under_way)

    def _take(
        self, key: object, done: asyncio.Future[T], asked_at: float, is_yes: Callable[[T], bool]
    ) -> None:
        self._under_way.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            self._known.pop(key, None)
            return
        value = done.result()
        self._known[key] = _Answer(value, asked_at + (YES_SECONDS if is_yes(value) else NO_SECONDS))
        if len(self._known) > _MOST:
            now = self._clock()
            self._known = {one: answer for one, answer in self._known.items() if answer.until > now}

"""What the page's routes answer: HTML for people who are let in, and JSON behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from capstan.dashboard.access import CARD_POLICY, Access, Deed, Viewer, is_own_request
from capstan.dashboard.answers import Json, document_of
from capstan.dashboard.page import SystemShown
from capstan.dashboard.static_files import html
from capstan.dashboard.systems import SystemAddress, Systems
from capstan.dashboard.updates import Updates
from capstan.dashboard.view import View
from capstan.domain.actions import Verb
from capstan.domain.versions import RunName, VersionName
from capstan.engine.commands import issue
from capstan.errors import (
    CapstanError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from capstan.ports.codec import to_json

logger = logging.getLogger(__name__)
LONGEST_REASON = 500
_MOST_BYTES = 8192
"""Most bytes of an order's body."""
_FORGET_SECONDS = 600.0
"""Seconds without a reader after which a system's last look is forgotten."""
_LOOKERS = 2
"""Threads that look again at what people watch. Who opens a page waits for none of these looks."""


@dataclass
class _Looks:
    updates: Updates
    asked_at: float


class Pages:
    """The routes; one look at a system serves all who watch it."""

    def __init__(
        self,
        systems: Systems,
        access: Access,
        *,
        interval_seconds: float = 1.0,
        on_view: Callable[[], None] = lambda: None,
    ) -> None:
        self._systems = systems
        self._access = access
        self._interval = interval_seconds
        self._on_view = on_view
        self._looks: dict[SystemAddress, _Looks] = {}
        self._lookers = ThreadPoolExecutor(_LOOKERS, thread_name_prefix="look")

    # -- HTML

    async def root(self, request: Request) -> Response:
        """The list; on one machine, its system."""
        only = self._systems.only
        return await self._html(request, "list.html" if only is None else "index.html", "./")

    async def with_slash(self, request: Request) -> Response:
        """Addresses of the page's files are relative, so the slash at the end matters.

        So is this one: a proxy in front may have taken a prefix away.
        """
        return RedirectResponse(f"./{quote(request.path_params['name'], safe='')}/", status_code=308)

    async def system(self, request: Request) -> Response:
        return await self._html(request, "index.html", "../../../")

    async def _html(self, request: Request, file: str, root: str) -> Response:
        entered = self._access.enter(request)
        if entered is not None and entered.status_code < 400:
            return entered
        try:
            viewer = None if entered is not None else await self._access.viewer(request)
        except UnavailableError as error:
            return Response(f"{error}; try again soon\n", status_code=503, media_type="text/plain")
        if viewer is None:
            return HTMLResponse(html(self._access.entrance, root), status_code=401)
        self._on_view()
        return HTMLResponse(html(file, root))

    # -- JSON about the person

    async def me(self, request: Request) -> Response:
        """Who the page takes the person for, and where its root is."""

        async def answer(viewer: Viewer) -> Response:
            return Json(
                {
                    "name": viewer.name,
                    "has_list": self._systems.only is None,
                    "can_sign_out": self._access.can_sign_out,
                }
            )

        return await self._let_in(request, answer)

    async def may(self, request: Request) -> Response:
        """Why the person may not give orders or read logs here; empty: they may."""

        async def answer(viewer: Viewer, address: SystemAddress) -> Response:
            found = {
                name: await self._access.refusal(viewer, address.namespace, deed)
                for name, deed in (("order", Deed.ORDER), ("log", Deed.READ_LOGS))
            }
            return Json(found)

        return await self._about_system(request, answer)

    async def listed(self, request: Request) -> Response:
        """All systems that the person may see, and namespaces that nobody could say of whether they may."""

        async def answer(viewer: Viewer) -> Response:
            seen, hidden = await self._visible(viewer)
            shown = await asyncio.to_thread(self._lines, seen)
            body = orjson.dumps({"systems": shown, "hidden": hidden, "viewer": viewer.name})
            return Json(body)

        return await self._let_in(request, answer)

    async def _visible(self, viewer: Viewer) -> tuple[list[SystemAddress], int]:
        """The systems that the person may see, and the number of those that they may not."""
        addresses = self._systems.addresses()
        namespaces = sorted({address.namespace for address in addresses})
        refusals = await asyncio.gather(
            *(self._access.refusal(viewer, namespace, Deed.SEE) for namespace in namespaces)
        )
        seen = {name for name, refusal in zip(namespaces, refusals, strict=True) if not refusal}
        found = [address for address in addresses if address.namespace in seen]
        return found, len(addresses) - len(found)

    def _lines(self, addresses: list[SystemAddress]) -> list[SystemShown]:
        lines = []
        for address in addresses:
            try:
                lines.append(self._systems.shown(address))
            except NotFoundError:
                # It went while the list was made.
                continue
            except CapstanError as error:
                lines.append(_damaged(address, str(error)))
        return lines

    # -- JSON about one system

    async def state(self, request: Request) -> Response:
        async def answer(_: Viewer, address: SystemAddress) -> Response:
            snapshot = await self._updates(address).newest()
            return Json(snapshot.body, headers={"etag": f'"{snapshot.digest}"'})

        return await self._about_system(request, answer)

    async def events(self, request: Request) -> Response:
        async def answer(_: Viewer, address: SystemAddress) -> Response:
            after = request.query_params.get("after", "0")
            if not after.isdecimal() or len(after) > 15:
                return Json(
                    {"error": {"field": "after", "rule": "is the number of an event"}}, status_code=422
                )
            view = self._systems.view(address)
            return Json({"events": await asyncio.to_thread(view.events, int(after))})

        return await self._about_system(request, answer)

    async def stream(self, request: Request) -> Response:
        async def answer(viewer: Viewer, address: SystemAddress) -> Response:
            updates = self._updates(address)

            async def may_go_on() -> bool:
                if not self._shows(address, updates.view):
                    return False
                self._touch(address)
                now = await self._access.viewer(request)
                return now is not None and not await self._access.refusal(viewer, address.namespace, Deed.SEE)

            return StreamingResponse(
                updates.stream(may_go_on),
                media_type="text/event-stream",
                headers={"x-accel-buffering": "no"},
            )

        return await self._about_system(request, answer)

    async def log(self, request: Request) -> Response:
        """The end of what a training run wrote."""

        async def answer(viewer: Viewer, address: SystemAddress) -> Response:
            refusal = await self._access.refusal(viewer, address.namespace, Deed.READ_LOGS)
            if refusal:
                return Json({"reason": refusal}, status_code=403)
            run = RunName(request.query_params.get("run", ""))
            view = self._systems.view(address)
            if run not in await asyncio.to_thread(view.runs):
                return Json({"reason": f"{address.name} has no run {str(run)[:80]!r}"}, status_code=404)
            text = await asyncio.to_thread(self._systems.log, address, run)
            return Json({"run": run, "lines": text.splitlines()})

        return await self._about_system(request, answer)

    async def card(self, request: Request) -> Response:
        """The model card of one version."""
        return await self._file_of_version(request, lambda view: view.card)

    async def data_report(self, request: Request) -> Response:
        """The report of the data that one version's run read."""
        return await self._file_of_version(request, lambda view: view.data_report)

    async def _file_of_version(
        self, request: Request, asked: Callable[[View], Callable[[VersionName], str]]
    ) -> Response:
        async def answer(_: Viewer, address: SystemAddress) -> Response:
            view, version = self._systems.view(address), VersionName(request.path_params["version"])
            try:
                text = await asyncio.to_thread(asked(view), version)
            except NotFoundError as error:
                return Json({"reason": str(error)}, status_code=404)
            return HTMLResponse(text, headers={"content-security-policy": CARD_POLICY})

        return await self._about_system(request, answer)

    async def order(self, request: Request) -> Response:
        """Write what a person asks for, as `capstan approve` and its like do."""

        async def answer(viewer: Viewer, address: SystemAddress) -> Response:
            if not is_own_request(request):
                return Json({"reason": "an order comes from the page itself"}, status_code=403)
            refusal = await self._access.refusal(viewer, address.namespace, Deed.ORDER)
            if refusal:
                return Json({"reason": refusal}, status_code=403)
            document = await document_of(request, _MOST_BYTES)
            wrong = _wrong_with(document)
            if document is None or wrong:
                return Json({"reason": wrong or "the body is no JSON object"}, status_code=422)
            store = self._access.store(viewer, address.namespace, self._systems.store(address))
            try:
                command = await asyncio.to_thread(
                    issue,
                    store,
                    address.name,
                    document["verb"],
                    version=document.get("version") or None,
                    note=document["reason"].strip(),
                    by=viewer.name,
                    at=datetime.now(UTC),
                )
            except (NotAllowedError, ConflictError) as error:
                return Json({"reason": str(error)}, status_code=409)
            logger.info("%s: %s of %s/%s", viewer.name, command.verb, address.namespace, address.name)
            return Json({"command": to_json(command)})

        return await self._about_system(request, answer)

    # -- who, and about what

    async def _let_in(self, request: Request, answer: Callable[[Viewer], Awaitable[Response]]) -> Response:
        try:
            viewer = await self._access.viewer(request)
            return _locked() if viewer is None else await answer(viewer)
        except NotFoundError as error:
            return Json({"reason": str(error)}, status_code=404)
        except CapstanError as error:
            return Json({"reason": str(error)}, status_code=503)

    async def _about_system(
        self, request: Request, answer: Callable[[Viewer, SystemAddress], Awaitable[Response]]
    ) -> Response:
        async def about(viewer: Viewer) -> Response:
            given = request.path_params
            address = (
                SystemAddress(given["namespace"], given["name"]) if "name" in given else self._systems.unnamed
            )
            if address is None:
                raise NotFoundError("name a system: /systems/NAMESPACE/NAME/; /api/systems lists them")
            refusal = await self._access.refusal(viewer, address.namespace, Deed.SEE)
            if refusal:
                # Whether there is such a system is theirs to know who may see it.
                return Json({"reason": refusal}, status_code=403)
            try:
                return await answer(viewer, address)
            except NotFoundError as error:
                # Of one machine the page is there before its system is, and while it starts anew.
                status = 503 if address == self._systems.unnamed else 404
                return Json({"reason": str(error)}, status_code=status)

        return await self._let_in(request, about)

    def _updates(self, address: SystemAddress) -> Updates:
        found = self._looks.get(address)
        view = self._systems.view(address)
        if found is None or found.updates.view is not view:
            updates = Updates(
                view,
                interval_seconds=self._interval,
                mark=lambda: self._systems.mark(address),
                again=self._lookers,
            )
            found = self._looks[address] = _Looks(updates, 0.0)
        self._touch(address)
        return found.updates

    def _shows(self, address: SystemAddress, view: View) -> bool:
        """Whether the address still means what the view looks at: another one has another store."""
        try:
            return self._systems.view(address) is view
        except (NotFoundError, UnavailableError):
            return False

    def _touch(self, address: SystemAddress) -> None:
        now = time.monotonic()
        if address in self._looks:
            self._looks[address].asked_at = now
        for old in [one for one, looks in self._looks.items() if now - looks.asked_at > _FORGET_SECONDS]:
            del self._looks[old]


def _locked() -> Response:
    return Json(
        {"error": "open the page with its token first, or send it as `Authorization: Bearer`"},
        status_code=401,
        headers={"www-authenticate": "Bearer"},
    )


def _wrong_with(document: dict[str, Any] | None) -> str:
    """What breaks a rule in an order, as a sentence; empty: nothing does."""
    if document is None:
        return 'the body must be {"verb", "reason"} and may name a version'
    verbs = ", ".join(Verb)
    if document.get("verb") not in [verb.value for verb in Verb]:
        return f"verb: {str(document.get('verb'))[:40]!r} is none of {verbs}"
    reason, version = document.get("reason"), document.get("version")
    if not isinstance(reason, str) or not reason.strip():
        return "reason: is needed, since the story says why"
    if len(reason) > LONGEST_REASON:
        return f"reason: {len(reason)} characters are more than {LONGEST_REASON}"
    if version is not None and (not isinstance(version, str) or len(version) > 63):
        return "version: is the name of a version, such as v3"
    return ""


def _damaged(address: SystemAddress, why: str) -> SystemShown:
    from capstan.domain.reasons import Tone

    return SystemShown(
        namespace=address.namespace,
        name=address.name,
        objective="",
        phase="Unreadable",
        tone=Tone.BAD,
        message=why[:300],
        champion="",
        champion_weight=None,
        challenger="",
        challenger_weight=None,
        verdict="",
        verdict_tone=Tone.IDLE,
        drift="",
        alerts=0,
        alert_names=(),
        waits_for_a_person="",
    )

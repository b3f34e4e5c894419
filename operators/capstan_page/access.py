"""Who may see and order what in a cluster: the API server says, by the person's own token.

An order is written with the person's token and not by the page's account: the API server judges it as it judges
`capstan approve`, its audit log names the person, and the page needs no right to write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from capstan.dashboard.access import (
    LOCAL_HOSTS,
    Deed,
    Viewer,
    bearer,
    host_of,
    is_own_request,
    set_cookie,
)
from capstan.dashboard.answers import Json, document_of
from capstan.errors import UnavailableError
from capstan.ports.store import Store
from capstan_page.reviews import Reviews
from capstan_page.sessions import LONGEST_TOKEN, Codes, Sessions
from capstan_page.settings import Proxy

COOKIE = "capstan-session"
_COOKIE_BYTES = 3500
"""Most bytes of one cookie; browsers take 4,096 with its name and attributes."""
_MOST_COOKIES = 5

StoreOf = Callable[[str, str], Store]
"""(token, namespace): the records of a namespace, as the bearer of the token reads and writes them."""


class ClusterAccess:
    """Lets in whom the API server knows."""

    entrance = "signin.html"
    can_sign_out = True

    def __init__(
        self,
        reviews: Reviews,
        sessions: Sessions,
        store_of: StoreOf,
        *,
        hosts: Collection[str] = (),
        proxy: Proxy | None = None,
    ) -> None:
        self._reviews = reviews
        self._sessions = sessions
        self._codes = Codes()
        self._store_of = store_of
        self._hosts = frozenset(host.lower() for host in hosts)
        self._proxy = proxy or Proxy()
        self._networks = self._proxy.networks

    # -- who

    def is_own_host(self, request: Request) -> bool:
        return not self._hosts or host_of(request) in self._hosts | LOCAL_HOSTS

    async def viewer(self, request: Request) -> Viewer | None:
        """By `Authorization: Bearer`, by what a trusted proxy says, or by the session of the cookie."""
        token = bearer(request)
        if token:
            return await self._reviews.person(token) if len(token) <= LONGEST_TOKEN else None
        by_proxy = self._told_by_proxy(request)
        if by_proxy is not None:
            return by_proxy
        session = self._sessions.open(_cookie_of(request))
        return await self._reviews.person(session.token) if session is not None else None

    def enter(self, request: Request) -> Response | None:
        del request
        return None

    def _told_by_proxy(self, request: Request) -> Viewer | None:
        peer = request.client.host if request.client is not None else ""
        name = request.headers.get(self._proxy.user_header, "").strip()
        if not name or not self._networks:
            return None
        try:
            address = ip_address(peer)
        except ValueError:
            return None
        if not any(address in network for network in self._networks):
            return None
        given = request.headers.get(self._proxy.groups_header, "")
        groups = [group.strip() for group in given.split(",") if group.strip()]
        # A name or a group of the system itself comes from the API server alone.
        if any(word.startswith("system:") for word in (name, *groups)):
            return None
        return Viewer(name, (*groups, "system:authenticated"))

    # -- what

    async def refusal(self, viewer: Viewer, namespace: str, deed: Deed) -> str:
        if deed is Deed.ORDER and not viewer.token:
            return (
                "your proxy passes on your name and no Kubernetes token, so the page can write nothing for you; "
                "use the command line, or let the proxy pass your token on"
            )
        if await self._reviews.may(viewer, namespace, deed):
            return ""
        needs = {
            Deed.SEE: "list MLSystems, which the role view gives",
            Deed.READ_LOGS: "get pods/log, which the role view gives",
            Deed.ORDER: "update mlsystems/status, which the role edit gives",
        }
        return f"{viewer.name} may not {deed} in namespace {namespace}: it takes the right to {needs[deed]}"

    def store(self, viewer: Viewer, namespace: str, own: Store) -> Store:
        del own
        return self._store_of(viewer.token, namespace)

    # -- signing in and out

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/api/session", self._sign_in, methods=["POST"]),
            Route("/api/session", self._sign_out, methods=["DELETE"]),
            Route("/api/session/code", self._code, methods=["POST"]),
        )

    async def _sign_in(self, request: Request) -> Response:
        if not is_own_request(request):
            return Json({"reason": "signing in comes from the page itself"}, status_code=403)
        document = await document_of(request, 2 * LONGEST_TOKEN) or {}
        token, code = document.get("token"), document.get("code")
        if isinstance(code, str):
            token = self._codes.redeem(code)
            if not token:
                reason = "this code was used or is older than a minute; run `capstan open` again"
                return Json({"reason": reason}, status_code=401)
        if not isinstance(token, str) or not token.strip() or len(token) > LONGEST_TOKEN:
            return Json(
                {"reason": "paste a token, as `kubectl create token NAME` prints it"}, status_code=422
            )
        token = token.strip()
        try:
            viewer = await self._reviews.person(token)
        except UnavailableError as error:
            return Json({"reason": str(error)}, status_code=503)
        if viewer is None:
            return Json({"reason": "the cluster does not know this token, or it has ended"}, status_code=401)
        response = Json({"name": viewer.name})
        sealed = self._sessions.seal(self._sessions.begin(token))
        pieces = [sealed[at : at + _COOKIE_BYTES] for at in range(0, len(sealed), _COOKIE_BYTES)]
        if len(pieces) > _MOST_COOKIES:
            return Json({"reason": "this token is too long to be kept in cookies"}, status_code=422)
        for number in range(_MOST_COOKIES):
            if number < len(pieces):
                set_cookie(response, request, _cookie_name(number), pieces[number])
            elif _cookie_name(number) in request.cookies:
                set_cookie(response, request, _cookie_name(number), "", max_age=0)
        return response

    async def _sign_out(self, request: Request) -> Response:
        if not is_own_request(request):
            return Json({"reason": "signing out comes from the page itself"}, status_code=403)
        response = Json({"signed": "out"})
        for number in range(_MOST_COOKIES):
            if _cookie_name(number) in request.cookies:
                set_cookie(response, request, _cookie_name(number), "", max_age=0)
        return response

    async def _code(self, request: Request) -> Response:
        """For `capstan open`: the token comes in a header, and the browser gets a code that holds once."""
        token = bearer(request)
        try:
            viewer = await self._reviews.person(token) if 0 < len(token) <= LONGEST_TOKEN else None
        except UnavailableError as error:
            return Json({"reason": str(error)}, status_code=503)
        if viewer is None:
            return Json({"reason": "the cluster does not know this token"}, status_code=401)
        return Json({"code": self._codes.issue(token), "name": viewer.name})


def _cookie_name(number: int) -> str:
    return COOKIE if number == 0 else f"{COOKIE}-{number}"


def _cookie_of(request: Request) -> str:
    return "".join(request.cookies.get(_cookie_name(number), "") for number in range(_MOST_COOKIES))

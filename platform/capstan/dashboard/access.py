"""Who asks for a page, and what they may see and do there: the protocol, and the page token of one machine.

The Host check stops a foreign web page from reading this one by pointing its own name at 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from capstan.ports.store import Store

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
CARD_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of a model card and of a report of data, which have their styles in themselves and may load and run nothing."""
OWN_HEADER = "x-capstan-page"
"""Header that the page's own script sends with what changes something; a foreign page cannot, without our leave."""
COOKIE_SECONDS = 30 * 86400


class Deed(StrEnum):
    """What a person may or may not do with the systems of a namespace."""

    SEE = "see"
    READ_LOGS = "read logs"
    ORDER = "order"
    """Retrain, approve, pause, resume, promote, abort, roll back."""


@dataclass(frozen=True)
class Viewer:
    """A person who was let in."""

    name: str
    """As the machine or the cluster calls them; the story says it of what they order."""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    token: str = ""
    """The token that they have shown, with which they write; empty: there is none."""


class Access(Protocol):
    """Lets people in and says what they may do. Its answers may cost a call and may be remembered for a short while."""

    entrance: str
    """Name of the HTML file for those who are not let in."""
    can_sign_out: bool

    def is_own_host(self, request: Request) -> bool:
        """Whether the page answers under the name that the request was sent to."""
        ...

    async def viewer(self, request: Request) -> Viewer | None:
        """Who asks; None: somebody who is not let in. Raises UnavailableError where nobody can say now."""
        ...

    def enter(self, request: Request) -> Response | None:
        """Answer to a request for an HTML page that carries a way in, or a wrong one; None: it carries none."""
        ...

    async def refusal(self, viewer: Viewer, namespace: str, deed: Deed) -> str:
        """Why the person may not do it, in a sentence; empty: they may."""
        ...

    def store(self, viewer: Viewer, namespace: str, own: Store) -> Store:
        """Where an order of this person is written; `own` is the page's own store."""
        ...

    def routes(self) -> Sequence[BaseRoute]:
        """Further doors, such as that for signing in."""
        ...


def is_own_request(request: Request) -> bool:
    """Whether the page's own script sent it: a foreign page can have it sent with the cookie, but not like this."""
    if OWN_HEADER not in request.headers:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # Browsers say the site only under TLS and on localhost. An Ingress may change Host, so this comes second.
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def bearer(request: Request) -> str:
    """The token of `Authorization: Bearer`; empty: there is none."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def set_cookie(response: Response, request: Request, name: str, value: str, **more: Any) -> None:
    """A cookie that no script reads and no foreign page sends; under TLS, for TLS alone."""
    proto = request.headers.get("x-forwarded-proto", request.url.scheme)
    response.set_cookie(
        name,
        value,
        httponly=True,
        samesite="strict",
        secure=proto == "https",
        path=request.scope.get("root_path", "") + "/",
        **more,
    )


def host_of(request: Request) -> str:
    """The name that the request was sent to, without a port."""
    host = request.headers.get("host", "").lower()
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.split(":")[0]


class TokenAccess:
    """Checks requests against one token; the cookie holds a hash of it, so that it cannot be read from a browser."""

    entrance = "locked.html"
    can_sign_out = False

    def __init__(self, token: str, hosts: Collection[str] = LOCAL_HOSTS, *, person: str = "") -> None:
        """`person`: who holds the token; by default the user that runs this process."""
        self._token = token.encode()
        self._hosts = frozenset(hosts)
        self._person = Viewer(person or _user())
        digest = hmac.new(self._token, b"capstan page cookie", hashlib.sha256).hexdigest()
        self._cookie = digest[8:]
        # Cookies do not distinguish ports, so two systems on one host need two names.
        self.cookie_name = f"capstan-page-{digest[:8]}"

    def is_own_host(self, request: Request) -> bool:
        return host_of(request) in self._hosts

    async def viewer(self, request: Request) -> Viewer | None:
        """The holder of the cookie or, for programs, of `Authorization: Bearer`."""
        cookie = request.cookies.get(self.cookie_name, "")
        if self._token and hmac.compare_digest(cookie.encode(), self._cookie.encode()):
            return self._person
        return self._person if self._is_token(bearer(request)) else None

    def enter(self, request: Request) -> Response | None:
        """The token once in the address. The redirect takes it out of there, and so out of the browser's history."""
        given = request.query_params.get("token")
        if given is None:
            return None
        if not self._is_token(given):
            return Response(status_code=401)
        response = RedirectResponse(request.url.path, status_code=303)
        set_cookie(response, request, self.cookie_name, self._cookie, max_age=COOKIE_SECONDS)
        return response

    async def refusal(self, viewer: Viewer, namespace: str, deed: Deed) -> str:
        del viewer, namespace, deed
        return ""

    def store(self, viewer: Viewer, namespace: str, own: Store) -> Store:
        del viewer, namespace
        return own

    def routes(self) -> Sequence[BaseRoute]:
        return ()

    def _is_token(self, given: str) -> bool:
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""

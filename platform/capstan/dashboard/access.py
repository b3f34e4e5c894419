"""Who may see the page: a token once, then a cookie; and only under the page's own names.

The Host check stops a foreign web page from reading this one by pointing its own name at 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response

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


class PageAccess:
    """Checks requests against one token; the cookie holds a hash of it, so that it cannot be read from a browser."""

    def __init__(self, token: str, hosts: Collection[str] = LOCAL_HOSTS) -> None:
        self._token = token.encode()
        self._hosts = frozenset(hosts)
        digest = hmac.new(self._token, b"capstan page cookie", hashlib.sha256).hexdigest()
        self._cookie = digest[8:]
        # Cookies do not distinguish ports, so two systems on one host need two names.
        self.cookie_name = f"capstan-page-{digest[:8]}"

    def is_own_host(self, request: Request) -> bool:
        host = request.headers.get("host", "").lower()
        name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.split(":")[0]
        return name in self._hosts

    def is_token(self, given: str) -> bool:
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token)

    def is_allowed(self, request: Request) -> bool:
        """Whether the request has the cookie or, for programs, `Authorization: Bearer`."""
        cookie = request.cookies.get(self.cookie_name, "")
        if self._token and hmac.compare_digest(cookie.encode(), self._cookie.encode()):
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given)

    def admit(self, response: Response) -> Response:
        response.set_cookie(
            self.cookie_name, self._cookie, httponly=True, samesite="strict", path="/", max_age=30 * 86400
        )
        return response

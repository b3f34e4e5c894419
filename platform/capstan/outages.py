"""Why a part did not answer, in words; what the vendor's library says of it goes to the log alone."""

from __future__ import annotations

import errno
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 60.0
_MOST_LOGGED = 500
_MOST_QUOTED = 4000
"""Characters of a body that the log keeps."""
SHORTENED_TO = 200
"""Characters of a reason in a message."""
_lock = threading.Lock()
_logged: dict[str, float] = {}
"""Lines of the last minute, and when each was written."""

_REFUSED = "the connection was refused: nothing listens there"
_SILENT = "no answer in time"
_BROKEN = "the connection broke before there was an answer"
_UNKNOWN = "its name is not known to DNS"
_UNROUTED = "there is no way to its address"
_UNTRUSTED = "its certificate is not trusted"
_NO_JSON = "its answer is no JSON"
_UNEXPECTED = "its answer was not understood"
_OTHER = "it did not answer as expected; the log says more"

_BY_NUMBER = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ECONNRESET: _BROKEN,
    errno.EPIPE: _BROKEN,
    errno.ETIMEDOUT: _SILENT,
    errno.EHOSTUNREACH: _UNROUTED,
    errno.ENETUNREACH: _UNROUTED,
}
_BY_NAME = (
    ("NameResolution", _UNKNOWN),
    ("Timeout", _SILENT),
    ("RemoteProtocolError", _BROKEN),
    ("ProtocolError", _BROKEN),
    ("IncompleteRead", _BROKEN),
    ("ReadError", _BROKEN),
    ("WriteError", _BROKEN),
    ("ConnectionClosed", _BROKEN),
)
"""Parts of the names of HTTP and WebSocket libraries' errors, which carry no number."""
_BY_TEXT = (
    ("refused", _REFUSED),
    ("Name or service not known", _UNKNOWN),
    ("name resolution", _UNKNOWN),
    ("timed out", _SILENT),
    ("CERTIFICATE_VERIFY_FAILED", _UNTRUSTED),
)
"""What some libraries keep of a cause is but its text."""


def in_words(error: BaseException, part: str, *, hide: str = "") -> str:
    """Why the part did not answer, in words that name no library; the error itself is logged at level INFO.

    A part that is asked every second and does not answer gives one line a minute.

    hide: what must not stand in the log, as an address with a password.
    """
    text = str(error).replace(hide, "(hidden)") if hide else str(error)
    _log(f"{part}: {type(error).__name__}: {text}")
    chain = list(_chain(error))
    for one in chain:
        if (words := _of(one)) is not None:
            return words
    for text, words in _BY_TEXT:
        if any(text.lower() in str(one).lower() for one in chain):
            return words
    return _UNEXPECTED if isinstance(error, ValueError | TypeError | LookupError | AttributeError) else _OTHER


def answer_in_words(status: int, body: str, part: str) -> str:
    """What an HTTP answer other than a success says: its status, and its reason in at most 200 characters.

    The body as it came is logged at level INFO. A page, a traceback and anything else that is no sentence stays there.
    """
    _log(f"{part}: HTTP status {status}: {body[:_MOST_QUOTED]}")
    said = short_reason(body)
    return f"it answers with HTTP status {status}{f': {said}' if said else '; the log says more'}"


def short_reason(body: str) -> str:
    """The reason that a body of JSON or of plain text gives, on one line and short; empty: none for people."""
    try:
        said = _said(json.loads(body))
    except ValueError:
        said = body
    except RecursionError:
        return ""
    said = said.strip()
    if said.startswith(("<", "{", "[")) or "Traceback (most recent call last)" in said:
        return ""
    line = said.partition("\n")[0].strip()
    if not line.isprintable():
        return ""
    return line if len(line) <= SHORTENED_TO else f"{line[: SHORTENED_TO - 1]}…"


def _said(document: object) -> str:
    """What servers write as the reason: KFP and Kubernetes a `message`, our own parts field and rule."""
    if isinstance(document, str):
        return document
    if not isinstance(document, dict):
        return ""
    if isinstance(document.get("rule"), str):
        return f"{document['field']}: {document['rule']}" if document.get("field") else document["rule"]
    for name in ("message", "error_message", "error", "detail", "reason"):
        if said := _said(document.get(name)):
            return said
    return ""


def _log(line: str) -> None:
    now = time.monotonic()
    with _lock:
        last = _logged.pop(line, None)
        is_due = last is None or now - last >= _AGAIN_SECONDS
        _logged[line] = now if is_due or last is None else last
        while len(_logged) > _MOST_LOGGED:
            del _logged[next(iter(_logged))]
    if is_due:
        logger.info("%s", line)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None)
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__


def _of(error: BaseException) -> str | None:
    if isinstance(error, socket.gaierror):
        return _UNKNOWN
    if isinstance(error, ssl.SSLCertVerificationError):
        return _UNTRUSTED
    if isinstance(error, TimeoutError):
        return _SILENT
    if isinstance(error, json.JSONDecodeError):
        return _NO_JSON
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return _BY_NUMBER[error.errno]
    code = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(code, int):
        return f"it answers with HTTP status {code}"
    return next((words for name, words in _BY_NAME if name in type(error).__name__), None)

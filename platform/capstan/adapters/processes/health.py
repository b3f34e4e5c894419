"""Asks a process over HTTP whether it can work."""

from __future__ import annotations

import contextlib
import http.client
import urllib.parse

from capstan.outages import in_words

TIMEOUT_SECONDS = 2.0


def answers(url: str) -> tuple[bool, str]:
    """Whether a GET of the URL is answered with 2xx, and what was seen instead."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_SECONDS
    )
    with contextlib.closing(connection):
        try:
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return False, in_words(error, url)
    return 200 <= status < 300, f"HTTP {status}"

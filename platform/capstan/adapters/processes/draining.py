"""Asks a process to hand its payloads to the collector now."""

from __future__ import annotations

import contextlib
import http.client

from capstan.ports.serving import Endpoint

DRAIN_SECONDS = 10.0
"""Seconds for which a process's last payloads are waited for. One that hangs hands nothing in."""


def is_drained(endpoint: Endpoint) -> bool:
    """Wait until the collector has all payloads of the process there; False if that can't be had now."""
    # A client with TLS would read all certificates of the machine, at each boundary of a replay.
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=DRAIN_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/payloads/drain")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

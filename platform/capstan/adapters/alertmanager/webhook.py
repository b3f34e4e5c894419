"""What Alertmanager's webhook tells: only that it is time to look, never what to do."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from capstan.errors import InvalidRequestError, NotAllowedError

MAX_BODY_BYTES = 1_048_576


@dataclass(frozen=True)
class WebhookHint:
    """A reason to poll the alerts now. A repeated, old or replayed one is as harmless as a first."""

    names: frozenset[str]
    """Names of the alerts it speaks of."""
    systems: frozenset[str]
    firing: int
    resolved: int


def parse_webhook(headers: Mapping[str, str], body: bytes, token: str) -> WebhookHint:
    """The hint of an authentic notification.

    Raises NotAllowedError for a wrong bearer token (compared in constant time, before the body is looked at) and
    InvalidRequestError for a body that is not Alertmanager's.
    """
    given = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
    if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise NotAllowedError(
            "the webhook needs `Authorization: Bearer` with the webhook token; nothing was done"
        )
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequestError("body", f"{len(body)} bytes", f"is longer than {MAX_BODY_BYTES}")
    try:
        alerts = orjson.loads(body)["alerts"]
        labels = [alert["labels"] for alert in alerts]
        states = [alert["status"] for alert in alerts]
        names = frozenset(str(label["alertname"]) for label in labels)
        systems = frozenset(str(label["system"]) for label in labels if "system" in label)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequestError("body", body[:80], "is not a notification of Alertmanager") from error
    return WebhookHint(names, systems, firing=states.count("firing"), resolved=states.count("resolved"))


class WebhookReceiver:
    """Parses notifications and counts what was accepted, refused as forged, and malformed."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._lock = threading.Lock()
        self.accepted = self.refused = self.malformed = 0

    def receive(self, headers: Mapping[str, str], body: bytes) -> WebhookHint:
        """As `parse_webhook`, counted."""
        try:
            hint = parse_webhook(headers, body, self._token)
        except NotAllowedError:
            with self._lock:
                self.refused += 1
            raise
        except InvalidRequestError:
            with self._lock:
                self.malformed += 1
            raise
        with self._lock:
            self.accepted += 1
        return hint

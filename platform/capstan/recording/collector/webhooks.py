"""The door for other systems that ask for a training: signed by Standard Webhooks, verified before anything is read.

A call that is taken lies in the system's folder, where the loop finds it at its next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from capstan.domain.payload_limits import LARGEST_CALL
from capstan.domain.signatures import ID, SIGNATURE, Unsigned, fault_of
from capstan.errors import CapstanError, DiskFullError, UnavailableError
from capstan.recording.webhooks import MOST_A_MINUTE, WebhookBook, read_keys, reason_in

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a sender is told."""

    status: int
    document: Mapping[str, Any]
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Sender:
    """A webhook of a file."""

    system: str
    name: str
    field: str
    """Where the file names its secret."""
    secret: tuple[str, str]
    """Its name and key."""


class WebhookDoor:
    """Lets in who knows the secret that the file of a system names."""

    def __init__(self, systems: Path, secrets: Path | None, *, made_by: str) -> None:
        """`systems` holds a folder with a file spec.json for each system; `secrets` a file NAME/KEY for each secret.

        made_by: how a person makes a secret; {name}, {key} and {path} in it are filled in.
        """
        self._systems = systems
        self._secrets = secrets
        self._made_by = made_by
        self._books: dict[str, WebhookBook] = {}
        self.taken = self.repeated = self.refused = 0

    def look(self) -> None:
        """Say of each sender whose secret cannot be read what is wrong; raises DiskFullError, UnavailableError."""
        closed: dict[str, dict[str, str]] = {}
        for sender in self._senders():
            found = self._keys(sender)
            closed.setdefault(sender.system, {})
            if isinstance(found, str):
                closed[sender.system][sender.name] = found
        for system in closed.keys() | self._books.keys():
            self._book(system).note_closed(closed.get(system, {}))

    async def post(self, request: Request, now: Callable[[], datetime]) -> Answer:
        """Take a call; its body is read up to LARGEST_CALL bytes."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_CALL:
                return self._refuse(413, "body", f"must be at most {LARGEST_CALL} bytes")
        system = request.headers.get("x-capstan-system")
        return self.call(request.path_params["sender"], request.headers, bytes(body), now(), system=system)

    def call(
        self, name: str, headers: Mapping[str, str], body: bytes, now: datetime, *, system: str | None = None
    ) -> Answer:
        """The answer to a call of the sender; `headers` are named in lower case."""
        senders = [one for one in self._senders() if one.name == name and system in (None, one.system)]
        if not senders:
            return self._refuse(404, "path", "names no webhook of retraining.triggers in the file")
        if len(senders) > 1:
            return self._refuse(
                422, "x-capstan-system", "must say which system is meant; several have this webhook"
            )
        [sender] = senders
        keys = self._keys(sender)
        if isinstance(keys, str):
            # What is wrong is told to whoever runs the system; a stranger learns that it is not the caller's fault.
            logger.warning("%s", keys)
            return self._refuse(
                503, "webhook", "cannot be let in yet: its secret cannot be read; try again later"
            )
        faults = [fault_of(headers, body, key, now) for key in keys]
        if None not in faults:
            worst = next((one for one in faults if one is not None and one.header != SIGNATURE), faults[0])
            assert isinstance(worst, Unsigned)
            return self._refuse(401, worst.header, worst.rule)
        return self._let_in(sender, headers[ID], body, now)

    def _let_in(self, sender: Sender, call_id: str, body: bytes, now: datetime) -> Answer:
        try:
            document = orjson.loads(body) if body.strip() else {}
        except ValueError:
            return self._refuse(422, "body", 'must be JSON, such as {"reason": "August is complete"}')
        try:
            book = self._book(sender.system)
            if book.is_known(sender.name, call_id):
                self.repeated += 1
                return Answer(200, {"accepted": 0, "duplicates": 1})
            wait = book.wait(sender.name, now)
            if wait > 0:
                rule = f"takes {MOST_A_MINUTE} calls of a sender a minute; send it again later"
                return self._refuse(429, "webhook", rule, {"retry-after": str(int(wait) + 1)})
            book.take(sender.name, call_id, reason_in(document), now)
        except DiskFullError as error:
            return self._refuse(507, "webhook", str(error))
        except CapstanError as error:
            return self._refuse(503, "webhook", str(error))
        self.taken += 1
        return Answer(200, {"accepted": 1, "duplicates": 0})

    def _refuse(self, status: int, field: str, rule: str, headers: Mapping[str, str] | None = None) -> Answer:
        self.refused += 1
        return Answer(status, {"error": {"field": field, "rule": rule}}, headers)

    def _book(self, system: str) -> WebhookBook:
        if system not in self._books:
            self._books[system] = WebhookBook(self._systems / system)
        return self._books[system]

    def _senders(self) -> Iterator[Sender]:
        """Of all files, read anew: they change while this process lives, and calls are few."""
        for file in sorted(self._systems.glob("*/spec.json")):
            try:
                written = orjson.loads(file.read_bytes())["spec"].get("retraining", {}).get("triggers", ())
            except (OSError, ValueError, LookupError, AttributeError) as error:
                raise UnavailableError("the collector", f"{file}: {error}") from error
            known: dict[str, Sender] = {}
            for field, webhook in _webhooks(written, "retraining.triggers"):
                reference = webhook["secretFrom"]["secretKeyRef"]
                secret = (str(reference["name"]), str(reference["key"]))
                name = str(webhook["sender"])
                known.setdefault(name, Sender(file.parent.name, name, f"{field}.webhook.secretFrom", secret))
            yield from known.values()

    def _keys(self, sender: Sender) -> list[bytes] | str:
        """The keys in the secret; else what is wrong."""
        name, key = sender.secret
        where = f"{sender.field}: the secret {name}/{key}"
        if self._secrets is None:
            return f"{where} cannot be read: this collector has no folder of secrets"
        path = self._secrets / name / key
        keys = read_keys(path)
        if isinstance(keys, str):
            return f"{where} {keys}; {self._made_by.format(name=name, key=key, path=path)}"
        return keys


def _webhooks(triggers: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, trigger in enumerate(triggers):
        if trigger.get("webhook") is not None:
            yield f"{place}[{index}]", trigger["webhook"]
        if trigger.get("all") is not None:
            yield from _webhooks(trigger["all"]["of"], f"{place}[{index}].all.of")


def as_response(answer: Answer) -> Response:
    return Response(
        orjson.dumps(answer.document),
        status_code=answer.status,
        media_type="application/json",
        headers=dict(answer.headers or {}),
    )

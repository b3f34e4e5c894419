"""The collector process as the supervisor and the replay see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from capstan.errors import DiskFullError, InvalidRequestError, UnavailableError
from capstan.outages import answer_in_words, in_words

PART = "the collector"
ENTRIES_AT_ONCE = 20_000


@dataclass(frozen=True)
class BootCounts:
    """One life of one producer."""

    version: str | None
    produced: int
    lost: int
    stored: int


@dataclass(frozen=True)
class CollectorStats:
    """What the collector has taken and heard."""

    stored: int
    lost: int
    refused: int
    duplicates: int
    labels: int
    no_labels: int
    answered: int
    """Requests whose first row's answer is stored; mirrored requests do not count."""
    lost_copies: int = 0
    """Of the lost: payloads that stand for no answer to a user, of mirrored requests and of rows beside the first."""
    boots: Mapping[str, BootCounts] = field(default_factory=dict)

    def unaccounted(self, completed: int) -> int:
        """Of so many requests completed at the gateway, those whose answer is neither stored nor told as lost.

        A lost copy of a request accounts for no answer, nor does a lost row beside its first.
        """
        return completed - self.answered - (self.lost - self.lost_copies)

    def in_flight(self, produced: Mapping[str, int] | None = None) -> int:
        """Payloads that producers have numbered but that are neither stored nor lost yet.

        `produced` are newer counts by boot, where they are known from the producers themselves.
        """
        newer = produced or {}
        return sum(
            max(0, max(boot.produced, newer.get(name, 0)) - boot.stored - boot.lost)
            for name, boot in self.boots.items()
        ) + sum(count for name, count in newer.items() if name not in self.boots)


class CollectorClient:
    """The collector at `address`."""

    def __init__(
        self, address: str, *, internal_token: str, feedback_token: str, timeout_seconds: float = 30.0
    ) -> None:
        self.address = address
        self._internal = {"authorization": f"Bearer {internal_token}"}
        self._feedback = {"authorization": f"Bearer {feedback_token}"}
        self._client = httpx.Client(base_url=address, timeout=timeout_seconds, trust_env=False)

    def flush(self) -> None:
        """Everything taken so far is in Parquet on return; raises UnavailableError, DiskFullError."""
        self._ask("POST", "/flush", headers=self._internal)

    def stats(self) -> CollectorStats:
        """The counts; raises UnavailableError."""
        document = self._ask("GET", "/stats")
        names = (
            "stored", "lost", "lost_copies", "refused", "duplicates", "labels", "no_labels", "answered",
        )  # fmt: skip
        with understood(PART):
            boots = {
                name: BootCounts(boot["version"], boot["produced"], boot["lost"], boot["stored"])
                for name, boot in document["boots"].items()
            }
            return CollectorStats(**{name: document[name] for name in names}, boots=boots)

    def post_labels(self, labels: Sequence[Mapping[str, object]], *, system: str | None = None) -> int:
        """Hand labels in; returns how many were new.

        Raises InvalidRequestError (nothing of that part was taken), UnavailableError, DiskFullError.
        """
        return self._post("/feedback", "labels", labels, system)

    def match_labels(self, labels: Sequence[Mapping[str, object]], *, system: str) -> Mapping[str, Any]:
        """Hand labels in, at most ENTRIES_AT_ONCE; the answer says which requests they are about.

        Raises InvalidRequestError (nothing was taken), UnavailableError, DiskFullError.
        """
        content = orjson.dumps({"labels": labels, "system": system})
        answer: dict[str, Any] = self._ask("POST", "/feedback", headers=self._feedback, content=content)
        return answer

    def post_events(self, events: Sequence[Mapping[str, object]], *, system: str | None = None) -> int:
        """Hand business events in; returns how many were new.

        Raises InvalidRequestError (nothing of that part was taken), UnavailableError, DiskFullError.
        """
        return self._post("/events", "events", events, system)

    def _post(self, path: str, name: str, entries: Sequence[Mapping[str, object]], system: str | None) -> int:
        taken = 0
        for first in range(0, len(entries), ENTRIES_AT_ONCE):
            # The caller does not need the requests of the entries, and looking them up would cost the collector time.
            document: dict[str, object] = {name: entries[first : first + ENTRIES_AT_ONCE], "match": False}
            if system is not None:
                document["system"] = system
            answer = self._ask("POST", path, headers=self._feedback, content=orjson.dumps(document))
            with understood(PART):
                taken += answer["accepted"]
        return taken

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            answer = self._client.request(method, path, **content)
            if answer.status_code == 200:
                return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
        problem = problem_of(answer)
        if answer.status_code == 422 and problem:
            raise InvalidRequestError(
                problem.get("field", "body"), problem.get("value"), problem.get("rule", "")
            )
        if answer.status_code == 507:
            raise DiskFullError(problem.get("rule", "the collector has no room left"))
        raise UnavailableError(PART, answer_in_words(answer.status_code, answer.text, PART))


@contextmanager
def understood(part: str) -> Iterator[None]:
    """Inside, an answer is read; raises UnavailableError for one in another form, as of another program."""
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise UnavailableError(part, in_words(error, part)) from error


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """Field and rule of an answer in our form; empty: it has another form."""
    try:
        problem = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return problem if isinstance(problem, dict) else {}

"""The monitor process as the engine and the replay see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from capstan.adapters.own.collector import problem_of, understood
from capstan.domain.comparison import PredictionComparison
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.triggers import Webhooks
from capstan.domain.verdicts.evidence import ArmsEvidence, PairedEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.versions import Digest, VersionName
from capstan.domain.watching import Standing
from capstan.errors import NotFoundError, UnavailableError, UntrustedArtifactError
from capstan.monitoring.target import write_target
from capstan.outages import answer_in_words, in_words
from capstan.ports.codec import from_json, to_json

PART = "the monitor"
STANDING_SECONDS = 15.0
"""Seconds for which an answer about the standing is trusted in a cluster; the loop asks at each pass."""
LOCAL_STANDING_SECONDS = 1.0
"""Seconds for which it is trusted on one machine, where a replay makes hundreds of passes a second."""
EVIDENCE_SECONDS = 120.0
"""Seconds that evidence of arms, preferences or a comparison may take: a month of much traffic is read."""
T = TypeVar("T")
_NO_WINDOW = 10**14
"""Generation before that of any window."""


@dataclass(frozen=True)
class Advanced:
    """What an advance of the monitor's clock changed."""

    generation: int
    alerting_changed: bool
    alerts: tuple[str, ...]


class MonitorClient:
    """Monitoring by a process at `address`; the target is a file, so that it outlives both sides."""

    def __init__(
        self,
        address: str,
        *,
        folder: Path,
        token: str,
        model_dir: Callable[[VersionName], Path],
        timeout_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` is `systems/<system>/monitor`; `model_dir` finds the verified model folder of a version."""
        self.address = address
        self._target = folder / "target.json"
        self._model_dir = model_dir
        self._client = httpx.Client(
            base_url=address,
            timeout=timeout_seconds,
            trust_env=False,
            headers={"authorization": f"Bearer {token}"},
        )
        self._standing = _KeptStanding(LOCAL_STANDING_SECONDS, clock)

    def watch(self, version: VersionName, *, since: datetime) -> None:
        """Make it the watched version; windows begin at `since` (event time). Repeating it changes nothing."""
        write_target(self._target, version, model_dir=self._model_dir(version), since=since)

    def advance(self, now: datetime) -> Advanced:
        """Decide all windows that closed by `now`; raises UnavailableError."""
        document = self._ask("POST", "/advance", json={"now": now.astimezone(UTC).isoformat()})
        with understood(PART):
            return Advanced(document["generation"], document["alerting_changed"], tuple(document["alerts"]))

    def windows(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Windows decided after that generation, oldest first; raises UnavailableError."""
        return _windows(self._ask("GET", f"/windows?after={after}"))

    def standing(self) -> Standing:
        """What the monitor could judge so far, at most a second old; raises UnavailableError."""
        return self._standing.get(lambda: self._ask("GET", f"/windows?after={_NO_WINDOW}"))

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            answer = self._client.request(method, path, **content)
            if answer.status_code == 200:
                return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
        raise UnavailableError(PART, answer_in_words(answer.status_code, answer.text, PART))


class HttpMonitor:
    """Monitoring and EvidenceSource by a monitor that shares no file with its caller."""

    def __init__(
        self,
        client: httpx.Client,
        address: str,
        *,
        token: str,
        bento: Callable[[VersionName], tuple[str, Digest]],
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` may be shared by many; `bento` finds tag and digest of a version, or raises NotFoundError."""
        self.address = address
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"}
        self._bento = bento
        self._timeout = timeout_seconds
        self._standing = _KeptStanding(STANDING_SECONDS, clock)

    def watch(self, version: VersionName, *, since: datetime) -> None:
        """Make it the watched version; windows begin at `since` (event time). Repeating it changes nothing.

        The monitor fetches and verifies the version's Bento first. Raises UnavailableError, NotFoundError,
        UntrustedArtifactError; then the former version is watched on.
        """
        tag, digest = self._bento(version)
        document = {"version": version, "bento_tag": tag, "digest": digest, "since": _rfc3339(since)}
        self._ask("PUT", "/target", json=document)

    def paired(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        metric: str,
        since: datetime,
        as_of: datetime,
    ) -> PairedEvidence:
        """Pairs whose event time is in [since, as_of), labels with availableAt <= as_of; raises UnavailableError.

        What the collector has not flushed is not seen.
        """
        asked = {
            "champion": champion,
            "challenger": challenger,
            "metric": metric,
            "since": _rfc3339(since),
            "as_of": _rfc3339(as_of),
        }
        try:
            return from_json(PairedEvidence, self._ask("GET", "/evidence", params=asked))
        except ValidationError as error:
            raise UnavailableError(PART, f"evidence: {in_words(error, PART)}") from error

    def arms(self, asked: Arms, *, since: datetime, as_of: datetime) -> ArmsEvidence:
        """Units whose first request is in [since, as_of), by what is known at `as_of`; raises UnavailableError."""
        question = {"asked": to_json(asked), **_span(since, as_of)}
        return self._told(ArmsEvidence, "/evidence/arms", question)

    def labelled(self, *, since: datetime, as_of: datetime) -> int:
        """Cases whose label became known in (since, as_of]; raises UnavailableError."""
        return self._told(int, "/evidence/labelled", _span(since, as_of))

    def webhooks(self) -> Webhooks:
        """Signed calls of other systems, and who cannot be let in; raises UnavailableError."""
        return self._told(Webhooks, "/evidence/webhooks", {})

    def interleaved(
        self,
        champion: VersionName,
        challenger: VersionName,
        asked: Interleaving,
        *,
        since: datetime,
        as_of: datetime,
    ) -> PreferenceEvidence:
        """Units that got lists of both in [since, as_of), and what their clicks prefer; raises UnavailableError."""
        question = {
            "champion": champion,
            "challenger": challenger,
            "asked": to_json(asked),
            **_span(since, as_of),
        }
        return self._told(PreferenceEvidence, "/evidence/interleaved", question)

    def compared(
        self, champion: VersionName, challenger: VersionName, *, since: datetime, as_of: datetime
    ) -> PredictionComparison:
        """Predictions of pairs whose event time is in [since, as_of), labelled or not; raises UnavailableError."""
        question = {"champion": champion, "challenger": challenger, **_span(since, as_of)}
        return self._told(PredictionComparison, "/evidence/compared", question)

    def windows(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Windows decided after that generation, oldest first; raises UnavailableError."""
        return _windows(self._ask("GET", "/windows", params={"after": after}))

    def standing(self) -> Standing:
        """What the monitor could judge so far, at most a quarter of a minute old; raises UnavailableError."""
        return self._standing.get(lambda: self._ask("GET", "/windows", params={"after": _NO_WINDOW}))

    def _told(self, kind: type[T], path: str, question: Mapping[str, object]) -> T:
        """The answer to a question about all payloads of a span."""
        try:
            return from_json(kind, self._ask("POST", path, json=question, timeout=EVIDENCE_SECONDS))
        except ValidationError as error:
            raise UnavailableError(PART, f"evidence: {in_words(error, PART)}") from error

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            answer = self._client.request(
                method,
                f"{self.address}{path}",
                headers=self._headers,
                **{"timeout": self._timeout, **content},
            )
            if answer.status_code == 200:
                return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
        problem = problem_of(answer)
        if answer.status_code == 404 and problem:
            raise NotFoundError(problem.get("rule", path))
        if answer.status_code == 409:
            raise UntrustedArtifactError(problem.get("rule", path))
        raise UnavailableError(PART, answer_in_words(answer.status_code, answer.text, PART))


def _windows(document: Any) -> list[dict[str, Any]]:
    with understood(PART):
        windows: list[dict[str, Any]] = document["windows"]
        return windows


class _KeptStanding:
    """The last answer, trusted for so long that the loop may ask at each pass."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last: tuple[float, Standing] | None = None

    def get(self, ask: Callable[[], Any]) -> Standing:
        if self._last is None or self._clock() - self._last[0] >= self._seconds:
            document = ask()
            try:
                fields = {
                    name: document.get(name) for name in ("version", "questions", "online", "estimated")
                }
                self._last = (self._clock(), from_json(Standing, fields))
            except (ValidationError, AttributeError) as error:
                raise UnavailableError(PART, in_words(error, PART)) from error
        return self._last[1]


def _span(since: datetime, as_of: datetime) -> dict[str, str]:
    return {"since": _rfc3339(since), "as_of": _rfc3339(as_of)}


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()

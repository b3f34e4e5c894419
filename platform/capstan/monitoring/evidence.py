"""The monitor's routes that tell evidence: pairs, arms, preferences, new labels, calls of webhooks, and comparisons
of payloads.

All need the internal token. Questions of several words are POSTed as JSON, and an answer is the JSON of what was asked
for: a dataclass of `capstan.domain`, or a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from capstan.domain.payload_limits import parse_moment
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.verdicts.quality import OWN_LOSS
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.ports.codec import from_json, to_json
from capstan.recording.arms import ArmReading
from capstan.recording.comparison import Comparing
from capstan.recording.interleaved import Preferences
from capstan.recording.new_labels import count_labels
from capstan.recording.pairing import Pairing
from capstan.recording.reading import PayloadReader
from capstan.recording.webhooks import read_webhooks
from capstan.spec import MLSystem

LONGEST_VERSION = 63
IsAllowed: TypeAlias = Callable[[Request], bool]
Q = TypeVar("Q", bound="_Question")


class _Question(BaseModel):
    """What is asked, of the event times in [since, as_of)."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime
    as_of: AwareDatetime


class _ArmsQuestion(_Question):
    asked: Arms


class _TwoVersions(_Question):
    champion: str = Field(min_length=1, max_length=LONGEST_VERSION)
    challenger: str = Field(min_length=1, max_length=LONGEST_VERSION)


class _InterleavedQuestion(_TwoVersions):
    asked: Interleaving


class EvidenceRoutes:
    """The routes below `/evidence`, over the folder of one system."""

    def __init__(self, folder: Path, system: MLSystem, is_allowed: IsAllowed) -> None:
        """`folder` holds `payloads/` and `labels/`."""
        self._folder = folder
        self._reader = PayloadReader(folder)
        self._is_allowed = is_allowed
        self.follow(system)

    def follow(self, system: MLSystem) -> None:
        """Read by another file from now on."""
        self._pairing = Pairing.of(system, self._reader)
        self._arms = ArmReading.of(system, self._reader)
        self._preferences = Preferences(self._reader, ZoneInfo(system.spec.data.time_zone))
        self._comparing = Comparing.of(system, self._reader)

    def routes(self) -> list[Route]:
        return [
            Route("/evidence", self._paired),
            Route("/evidence/arms", self._of_arms, methods=["POST"]),
            Route("/evidence/labelled", self._labelled, methods=["POST"]),
            Route("/evidence/webhooks", self._webhooks, methods=["POST"]),
            Route("/evidence/interleaved", self._interleaved, methods=["POST"]),
            Route("/evidence/compared", self._compared, methods=["POST"]),
        ]

    async def _paired(self, request: Request) -> Response:
        if not self._is_allowed(request):
            return _not_allowed()
        asked = request.query_params
        for name in ("champion", "challenger"):
            if not 0 < len(asked.get(name, "")) <= LONGEST_VERSION:
                return refused(422, name, "must be the name of a version, such as v3")
        moments = {name: parse_moment(asked.get(name)) for name in ("since", "as_of")}
        since, as_of = moments["since"], moments["as_of"]
        if since is None or as_of is None:
            wrong = "since" if since is None else "as_of"
            return refused(422, wrong, "must be an RFC 3339 time with a zone; in a URL a plus sign is %2B")
        metric = asked.get("metric", "")
        if metric not in (OWN_LOSS, *self._pairing.losses):
            known = ", ".join(self._pairing.losses)
            return refused(422, "metric", f"must be a loss of a single prediction: {known}")
        champion, challenger = VersionName(asked["champion"]), VersionName(asked["challenger"])
        return await _answered(
            lambda: self._pairing.paired(champion, challenger, metric=metric, since=since, as_of=as_of)
        )

    async def _of_arms(self, request: Request) -> Response:
        return await self._asked(
            request,
            _ArmsQuestion,
            lambda asked: self._arms.arms(asked.asked, since=asked.since, as_of=asked.as_of),
        )

    async def _labelled(self, request: Request) -> Response:
        return await self._asked(
            request,
            _Question,
            lambda asked: count_labels(self._reader, since=asked.since, as_of=asked.as_of),
        )

    async def _webhooks(self, request: Request) -> Response:
        if not self._is_allowed(request):
            return _not_allowed()
        return await _answered(lambda: read_webhooks(self._folder))

    async def _interleaved(self, request: Request) -> Response:
        return await self._asked(
            request,
            _InterleavedQuestion,
            lambda asked: self._preferences.preferred(
                VersionName(asked.champion),
                VersionName(asked.challenger),
                asked.asked,
                since=asked.since,
                as_of=asked.as_of,
            ),
        )

    async def _compared(self, request: Request) -> Response:
        return await self._asked(
            request,
            _TwoVersions,
            lambda asked: self._comparing.compared(
                VersionName(asked.champion),
                VersionName(asked.challenger),
                since=asked.since,
                as_of=asked.as_of,
            ),
        )

    async def _asked(self, request: Request, kind: type[Q], answer: Callable[[Q], object]) -> Response:
        if not self._is_allowed(request):
            return _not_allowed()
        try:
            question = from_json(kind, orjson.loads(await request.body()))
        except (orjson.JSONDecodeError, ValidationError) as error:
            known = ", ".join(kind.model_fields)
            return refused(422, "body", f"must be JSON with {known}: {error}")
        return await _answered(lambda: answer(question))


async def _answered(answer: Callable[[], object]) -> Response:
    try:
        found = await asyncio.to_thread(answer)
    except UnavailableError as error:
        return refused(503, "evidence", str(error))
    return Response(orjson.dumps(to_json(found)), media_type="application/json")


def _not_allowed() -> Response:
    return refused(401, "authorization", "must be a valid bearer token")


def refused(status: int, field: str, rule: str) -> Response:
    """An error that names what is wrong with the request."""
    return JSONResponse({"error": {"field": field, "rule": rule}}, status_code=status)

"""Predictions for the rows of a table, from the gateway or from a model folder: the same requests, the same answers.

A refused request names its rows. Those are taken out and told, and the others are asked again, so that one bad row
costs no other its answer. A group is answered or refused as a whole.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from capstan.errors import UnavailableError
from capstan.features.values import ColumnType
from capstan.outages import answer_in_words, in_words
from capstan.serving.app import PredictionApp
from capstan.serving.explaining import MOST_ROWS as EXPLAINED_ROWS
from capstan.serving.explaining import PATH as EXPLAIN
from capstan.serving.manifest import Manifest
from capstan.serving.model import load
from capstan.serving.requests import MAX_BODY_BYTES
from capstan.serving.settings import ServiceSettings
from capstan.spec import MLSystem

REQUEST_ROWS = 500
TIMEOUT_SECONDS = 30.0
_PLACE = re.compile(r"rows\[(\d+)\]\.?(.*)")


@dataclass(frozen=True)
class AnsweredRow:
    """What a version says of one row."""

    row: int
    """Number of the row, from 1."""
    sent: Mapping[str, Any]
    """The row as it was asked: the columns of the model, and its keys."""
    version: str
    request_id: str
    """Empty for an answer that was asked for its explanation alone."""
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class RefusedRow:
    """A row that no model may answer, and why."""

    row: int
    sent: Mapping[str, Any]
    problems: tuple[Mapping[str, Any], ...]
    """Each with field, value and rule."""


Told = AnsweredRow | RefusedRow


def asked_columns(system: MLSystem, manifest: Manifest) -> dict[str, ColumnType]:
    """The columns of a request: those of the model, and those that only another version of the file's system reads.

    The model takes and ignores the second kind, as far as its own training's table had them.
    """
    found = {column.name: column.type for column in manifest.columns}
    for feature in system.spec.features:
        if feature.column in manifest.ignored:
            found.setdefault(
                feature.column, ColumnType.NUMBER if feature.reading == "numeric" else ColumnType.TEXT
            )
    return found


class Asking:
    """Asks one place; `part` is its name in messages."""

    def __init__(
        self, client: httpx.AsyncClient, manifest: Manifest, part: str, *, rows: int = REQUEST_ROWS
    ) -> None:
        """`rows`: most rows of one request."""
        self._client = client
        self._rows = rows
        self._group = manifest.keys.get("group")
        self._sticky = manifest.keys.get("sticky_by")
        self._part = part
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def ask(self, rows: Iterable[dict[str, Any]], *, explained: bool = False) -> Iterator[Told]:
        """What came of each row, request by request; raises UnavailableError.

        With `explained` each answer says what its columns add, and no request is logged.
        """
        most = min(self._rows, EXPLAINED_ROWS) if explained else self._rows
        for request in self._requests(enumerate(rows, start=1), most):
            found = self._runner.run(self._asked(request, explained=explained))
            yield from sorted(found, key=lambda told: told.row)

    def _requests(
        self, rows: Iterable[tuple[int, dict[str, Any]]], most: int
    ) -> Iterator[list[tuple[int, Any]]]:
        """Rows of one group, or of one sticky key, that follow each other go together; others in numbers."""
        name = self._group or self._sticky
        for _, same in itertools.groupby(rows, lambda one: one[1].get(name) if name is not None else None):
            if self._group is not None:
                # A group without a name is one row: nobody says what belongs together.
                whole = list(same)
                if whole[0][1].get(self._group) is None:
                    yield from ([one] for one in whole)
                else:
                    yield whole
                continue
            while part := list(itertools.islice(same, most)):
                yield part

    async def _asked(self, request: list[tuple[int, Any]], *, explained: bool) -> list[Told]:
        told: list[Told] = []
        while request:
            body = orjson.dumps({"rows": [row for _, row in request]})
            if len(body) > MAX_BODY_BYTES and len(request) > 1 and self._group is None:
                middle = len(request) // 2
                halves = [request[:middle], request[middle:]]
                return [
                    *told,
                    *[one for half in halves for one in await self._asked(half, explained=explained)],
                ]
            status, document = await self._post(body, request[0][1], EXPLAIN if explained else "/predict")
            if status == 200:
                return [
                    *told,
                    *(
                        AnsweredRow(number, row, document["version"], document.get("request_id", ""), answer)
                        for (number, row), answer in zip(
                            request, document["explanations" if explained else "predictions"], strict=True
                        )
                    ),
                ]
            refused = self._refused(request, document.get("errors") or [document.get("error") or {}])
            told += refused
            gone = {one.row for one in refused}
            request = [one for one in request if one[0] not in gone]
        return told

    async def _post(self, body: bytes, first: Mapping[str, Any], path: str) -> tuple[int, dict[str, Any]]:
        headers = {"content-type": "application/json"}
        if self._sticky is not None and first.get(self._sticky) is not None:
            headers["x-capstan-key"] = str(first[self._sticky])
        try:
            answer = await self._client.post(path, content=body, headers=headers)
            if answer.status_code in (200, 413, 422):
                return answer.status_code, answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(self._part, in_words(error, self._part)) from error
        raise UnavailableError(self._part, answer_in_words(answer.status_code, answer.text, self._part))

    def _refused(self, request: list[tuple[int, Any]], problems: list[Mapping[str, Any]]) -> list[RefusedRow]:
        """The rows that the problems name; all of the request where they name none, or in a group."""
        named: dict[int, list[Mapping[str, Any]]] = {}
        for problem in problems:
            place = _PLACE.fullmatch(str(problem.get("field", "")))
            if place is not None:
                named.setdefault(int(place[1]), []).append({**problem, "field": place[2] or "row"})
        if not named:
            return [RefusedRow(number, row, tuple(problems)) for number, row in request]
        if self._group is not None:
            rest = ({"field": self._group, "value": None, "rule": "another row of its group is refused"},)
            return [
                RefusedRow(number, row, tuple(named[index]) if index in named else rest)
                for index, (number, row) in enumerate(request)
            ]
        return [RefusedRow(*request[index], tuple(found)) for index, found in named.items()]


@contextmanager
def asking_gateway(address: str, manifest: Manifest) -> Iterator[Asking]:
    """The running system, as any client asks it."""
    client = httpx.AsyncClient(base_url=address, timeout=TIMEOUT_SECONDS, trust_env=False)
    # A label of a row without an id names its request, which then must have no other row.
    rows = REQUEST_ROWS if "id" in manifest.keys else 1
    asking = Asking(client, manifest, "the gateway", rows=rows)
    try:
        yield asking
    finally:
        asking.close()


@contextmanager
def asking_model(folder: Path, version: str, manifest: Manifest) -> Iterator[Asking]:
    """The service of a model folder that the caller has verified, in this process; nothing is logged."""
    app = PredictionApp(ServiceSettings(system=manifest.system, version=version))
    app.serve(load(folder), None)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://model")
    asking = Asking(client, manifest, f"the model {version}")
    try:
        yield asking
    finally:
        asking.close()

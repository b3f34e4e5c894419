"""Asks both rankers, answers one list, and writes down who gave what.

The champion's payload stands for the request, as if it had answered alone; the challenger answers a copy. Beside them
the combiner logs one payload per row with the version `combiner`: score and rank as the user got them, the team, and
both rankers' ranks. A challenger that fails, is late or answers no ranking costs the user nothing: the champion's
answer goes out as it is, and the payload has the status 502. A champion that fails is left to the gateway, which asks
it again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from capstan.content_encoding import BodyTooLargeError
from capstan.domain.verdicts.interleaving import Ranker, coins, interleave
from capstan.ports.combining import (
    COMBINER,
    INSTRUCTION_HEADER,
    INTERLEAVED_METRIC,
    OUTCOMES,
    Instruction,
    instruction_of,
)
from capstan.serving.combiner import answers
from capstan.serving.combiner.answers import NoRankingError, RankedAnswer
from capstan.serving.combiner.asking import AskError, Question, Reply, ask_both
from capstan.serving.payload_blocks import COPY
from capstan.serving.payload_log import PayloadLog
from capstan.serving.requests import Call, ClientLeftError, Receive, read_body, read_headers

DRAIN = "/payloads/drain"
Scope = Any


class CombinerApp:
    """An ASGI app; `log` None: nothing is written down."""

    def __init__(self, system: str, log: PayloadLog | None, *, event_time_header: bool = False) -> None:
        self._system = system
        self._log = log
        self._event_time_header = event_time_header
        self._session: aiohttp.ClientSession | None = None
        self._asked: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["method"] == "POST" and scope["path"] == DRAIN:
            drained = self._log is None or await self._log.drain()
            await _answer(send, Reply(200 if drained else 503, b"{}"))
        elif scope["method"] == "POST":
            await self._combine(scope, receive, send)
        elif scope["path"] == "/metrics":
            await _answer(send, Reply(200, self._exposition(), "text/plain; version=0.0.4"))
        else:
            await _answer(send, Reply(200, b"{}"))

    async def _live(self, receive: Receive, send: Any) -> None:
        await receive()
        # Connections are ended by this side, before the services end them.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        if self._log is not None:
            self._log.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        if self._log is not None:
            await self._log.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _combine(self, scope: Scope, receive: Receive, send: Any) -> None:
        call = Call(time.perf_counter())
        read_headers(call, scope["headers"], event_time=self._event_time_header)
        try:
            instruction = instruction_of(dict(scope["headers"]).get(INSTRUCTION_HEADER.encode(), b""))
        except ValueError:
            rule = f"must be what the gateway writes; ask the gateway, not the combiner: {INSTRUCTION_HEADER}"
            error = {"error": {"field": "headers", "value": None, "rule": rule}}
            await _answer(send, Reply(400, orjson.dumps(error)))
            return
        try:
            body = await read_body(scope["headers"], receive)
        except ClientLeftError:
            return
        except BodyTooLargeError:
            await _answer(send, Reply(413, b'{"error":"the body is too large"}'))
            return
        query = f"?{scope['query_string'].decode('latin-1')}" if scope.get("query_string") else ""
        question = Question(scope["raw_path"].decode("latin-1") + query, scope["headers"], body)
        await _answer(send, await self._reply(call, instruction, question))

    async def _reply(self, call: Call, instruction: Instruction, question: Question) -> Reply:
        assert self._session is not None
        champion, challenger = await ask_both(
            self._session,
            instruction.endpoints[instruction.champion],
            instruction.endpoints[instruction.challenger],
            question,
        )
        self._count(instruction.challenger, challenger)
        if isinstance(champion, AskError):
            # 503 makes the gateway ask the champion again, as it would without a combiner.
            error = {"field": "version", "value": None, "rule": f"{instruction.champion} {champion}"}
            return Reply(503, orjson.dumps({"error": error}))
        if champion.status != 200:
            return champion
        try:
            first, second = answers.read(champion.body), _ranking_of(challenger)
            if len(first.ranks) != len(second.ranks):
                raise NoRankingError(f"it ranks {len(second.ranks)} rows and not {len(first.ranks)}")
        except NoRankingError:
            self._record(call, 502, [_pair(instruction)])
            return champion
        return self._combined(call, instruction, first, second)

    def _combined(
        self, call: Call, instruction: Instruction, champion: RankedAnswer, challenger: RankedAnswer
    ) -> Reply:
        coin = coins(instruction.salt, call.request_id)
        made = interleave(instruction.method, champion.ranking, challenger.ranking, coin)
        ranks = [0] * len(made.items)
        teams = [Ranker.CHAMPION] * len(made.items)
        for place, (row, ranker) in enumerate(zip(made.items, made.rankers, strict=True), start=1):
            ranks[row], teams[row] = place, ranker
        version = f"{instruction.champion}+{instruction.challenger}"
        outputs: list[Mapping[str, object]] = [
            {
                "score": score,
                "rank": rank,
                "team": str(team),
                "championRank": first,
                "challengerRank": second,
                "method": str(instruction.method),
                **_pair(instruction),
            }
            for score, rank, team, first, second in zip(
                answers.scores_of(ranks), ranks, teams, champion.ranks, challenger.ranks, strict=True
            )
        ]
        self._record(call, 200, outputs)
        return Reply(200, answers.combined(champion, ranks, version), version=version)

    def _record(
        self,
        call: Call,
        status: int,
        outputs: Sequence[Mapping[str, object]],
    ) -> None:
        if self._log is None:
            return
        rows: list[dict[str, object]] = [{}] * len(outputs)
        seconds = time.perf_counter() - call.started
        self._log.add(replace(call, role=COPY), status, seconds, time.time(), rows, outputs)

    def _count(self, version: str, answer: Reply | AskError) -> None:
        status = answer.status if isinstance(answer, Reply) else 0
        self._asked[version, _outcome(status)] += 1
        for outcome in OUTCOMES:
            # A counter begins at 0, or its first growth would not be seen.
            self._asked[version, outcome] += 0

    def _exposition(self) -> bytes:
        lines = [f"# TYPE {INTERLEAVED_METRIC} counter"]
        for (version, outcome), count in sorted(self._asked.items()):
            labels = f'system="{self._system}",version="{version}",outcome="{outcome}"'
            lines.append(f"{INTERLEAVED_METRIC}{{{labels}}} {count}")
        return "\n".join([*lines, ""]).encode()


def _outcome(status: int) -> str:
    if status == 200:
        return "answered"
    return "refused" if 400 <= status < 500 else "failed"


def _pair(instruction: Instruction) -> dict[str, object]:
    return {"champion": instruction.champion, "challenger": instruction.challenger}


def _ranking_of(reply: Reply | AskError) -> RankedAnswer:
    if isinstance(reply, AskError):
        raise NoRankingError(str(reply))
    if reply.status != 200:
        raise NoRankingError(f"answered {reply.status}")
    return answers.read(reply.body)


async def _answer(send: Any, reply: Reply) -> None:
    headers = [
        (b"content-type", reply.content_type.encode("latin-1")),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-capstan-version", (reply.version or COMBINER).encode("latin-1")),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})

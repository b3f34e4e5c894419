"""Answers of rankers in both of their forms: read as a ranking of the request's rows, and written with another order.

A combined answer is the champion's with other scores and ranks. Scores of two models share no scale, so that the
combined ones tell the order alone: of n items the first has 1, the next (n - 1) / n, the last 1 / n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

SCORE, RANK = "score", "rank"


class NoRankingError(ValueError):
    """An answer that orders nothing."""


@dataclass(frozen=True)
class RankedAnswer:
    """A ranker's answer."""

    body: Mapping[str, Any]
    ranks: tuple[int, ...]
    """Of each row of the request; 1 is the top."""

    @property
    def ranking(self) -> tuple[int, ...]:
        """Rows, best first."""
        return tuple(sorted(range(len(self.ranks)), key=lambda row: self.ranks[row]))


def read(body: bytes) -> RankedAnswer:
    """The answer that the bytes spell; raises NoRankingError."""
    try:
        document = orjson.loads(body)
        ranks = (
            _tensor(document, RANK)["data"]
            if _is_v2(document)
            else [one[RANK] for one in document["predictions"]]
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, StopIteration) as error:
        raise NoRankingError(f"its answer names no ranks: {error!r}") from error
    if not all(type(rank) is int for rank in ranks) or sorted(ranks) != list(range(1, len(ranks) + 1)):
        raise NoRankingError(f"its ranks are not 1 to {len(ranks)}, each once")
    return RankedAnswer(document, tuple(ranks))


def scores_of(ranks: Sequence[int]) -> list[float]:
    """Of each row a score that gives the order of the ranks."""
    return [(len(ranks) - rank + 1) / len(ranks) for rank in ranks]


def combined(answer: RankedAnswer, ranks: Sequence[int], version: str) -> bytes:
    """The answer's body with these ranks, by the version of that name."""
    scores = scores_of(ranks)
    if not _is_v2(answer.body):
        rows = [
            {**row, SCORE: score, RANK: rank}
            for row, score, rank in zip(answer.body["predictions"], scores, ranks, strict=True)
        ]
        return orjson.dumps({**answer.body, "version": version, "predictions": rows})
    told = {SCORE: scores, RANK: list(ranks)}
    outputs = [
        {**tensor, "data": told[tensor["name"]]} if tensor["name"] in told else tensor
        for tensor in answer.body["outputs"]
    ]
    return orjson.dumps({**answer.body, "model_version": version, "outputs": outputs})


def _is_v2(document: Mapping[str, Any]) -> bool:
    return "outputs" in document


def _tensor(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(tensor for tensor in document["outputs"] if tensor["name"] == name)
    return found

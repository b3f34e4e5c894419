"""Claims about asking for many rows: in parts, groups whole, and one key to a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from capstan.embedded.asking import REQUEST_ROWS, AnsweredRow, Asking, RefusedRow, asking_gateway
from capstan.errors import UnavailableError
from capstan.serving.manifest import Manifest
from capstan.verbs.answering import flat

Rows = list[dict[str, Any]]


class Gateway:
    """Refuses rows with a negative `x`, as a service does: all of the request, with the rows that are wrong."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[tuple[str | None, Rows]] = []
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        rows = orjson.loads(request.content)["rows"]
        self.requests.append((request.headers.get("x-capstan-key"), rows))
        if self._status != 200:
            return httpx.Response(self._status, text="no version serves")
        wrong = [
            {"field": f"rows[{index}].x", "value": row["x"], "rule": "is below 0"}
            for index, row in enumerate(rows)
            if row["x"] < 0
        ]
        if wrong:
            return httpx.Response(422, json={"error": wrong[0], "errors": wrong[:2]})
        answers = [{"value": row["x"] * 10} for row in rows]
        if request.url.path == "/explain":
            explained = [{**one, "explanation": {"base": 0, "contributions": {"x": 1}}} for one in answers]
            return httpx.Response(200, json={"version": "v1", "explanations": explained})
        return httpx.Response(200, json={"version": "v1", "request_id": "r", "predictions": answers})


def asking(gateway: Gateway, **keys: str) -> Asking:
    client = httpx.AsyncClient(transport=httpx.MockTransport(gateway), base_url="http://gateway")
    return Asking(client, Manifest("s", "Regression", "y", (), keys), "the gateway")


def test_rows_are_drawn_as_they_are_asked() -> None:
    drawn = [0]

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(10 * REQUEST_ROWS):
            drawn[0] += 1
            yield {"x": number}

    told = asking(Gateway()).ask(rows())
    next(told)
    assert drawn[0] <= REQUEST_ROWS + 1
    assert len([*told]) == 10 * REQUEST_ROWS - 1


def test_refused_rows_are_taken_out_until_the_others_are_answered() -> None:
    """The service lists two breaches at a time here, as the real one lists a hundred."""
    gateway = Gateway()
    told = list(asking(gateway).ask({"x": x} for x in (1, -1, 2, -2, -3, 3)))
    assert [(one.row, isinstance(one, AnsweredRow)) for one in told] == [
        (1, True), (2, False), (3, True), (4, False), (5, False), (6, True),
    ]  # fmt: skip
    assert [one.answer["value"] for one in told if isinstance(one, AnsweredRow)] == [10, 20, 30]
    assert [one.problems[0]["field"] for one in told if isinstance(one, RefusedRow)] == ["x"] * 3


def test_a_group_is_answered_or_refused_as_a_whole() -> None:
    gateway = Gateway()
    rows = [{"g": "a", "x": 1}, {"g": "a", "x": 2}, {"g": "b", "x": 3}, {"g": "b", "x": -4}]
    told = list(asking(gateway, group="g").ask(rows))
    assert [len(sent) for _, sent in gateway.requests] == [2, 2]
    assert [type(one) for one in told] == [AnsweredRow, AnsweredRow, RefusedRow, RefusedRow]
    assert told[2].problems[0]["rule"] == "another row of its group is refused"  # type: ignore[union-attr]


def test_rows_of_one_sticky_key_share_a_request_and_its_header() -> None:
    gateway = Gateway()
    list(asking(gateway, sticky_by="k").ask([{"k": "a", "x": 1}, {"k": "a", "x": 2}, {"k": 7, "x": 3}]))
    assert [(key, len(sent)) for key, sent in gateway.requests] == [("a", 2), ("7", 1)]


def test_explanations_are_asked_in_requests_that_a_service_takes() -> None:
    gateway = Gateway()
    told = list(asking(gateway).ask([{"x": n} for n in range(45)], explained=True))
    assert [len(rows) for _, rows in gateway.requests] == [20, 20, 5]
    last = told[-1]
    assert isinstance(last, AnsweredRow)
    assert last.answer == {"value": 440, "explanation": {"base": 0, "contributions": {"x": 1}}}
    assert dict(flat(last.answer)) == {
        "value": 440,
        "explanation.base": 0,
        "explanation.contributions.x": 1,
    }


def test_a_gateway_that_does_not_answer_is_told() -> None:
    with pytest.raises(UnavailableError, match="the gateway"):
        list(asking(Gateway(503)).ask([{"x": 1}]))


@pytest.mark.parametrize(("keys", "sent"), [({}, [1, 1, 1]), ({"id": "i"}, [3])], ids=["without", "with"])
def test_rows_without_an_id_are_requests_of_their_own_at_the_gateway(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], sent: list[int]
) -> None:
    """A label of such a row names its request, and would else be that of all rows in it."""
    gateway, client = Gateway(), httpx.AsyncClient
    monkeypatch.setattr(
        httpx,
        "AsyncClient",
        lambda **given: client(transport=httpx.MockTransport(gateway), base_url=given["base_url"]),
    )
    with asking_gateway("http://gateway", Manifest("s", "Regression", "y", (), keys)) as asked:
        assert len(list(asked.ask([{"i": n, "x": n} for n in range(3)]))) == 3
    assert [len(rows) for _, rows in gateway.requests] == sent

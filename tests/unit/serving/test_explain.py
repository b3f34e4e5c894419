"""`/explain` says what each column adds to an answer, of few rows, in bounded time, and leaves no trace in the log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from unit.serving.test_app import ROW, Service

from capstan.serving import explaining
from capstan.serving.explaining import BusyError, Explaining
from capstan.serving.model import Model, load


@pytest.fixture(scope="module")
def model(model_dir: Path) -> Model:
    return load(model_dir)


@pytest.fixture
def service(model: Model) -> Service:
    return Service(model)


def test_it_explains_the_answer_that_predict_gives(service: Service) -> None:
    answered = service.post(ROW).json()["predictions"][0]
    told = service.post(ROW, "/explain")
    assert told.status_code == 200
    assert told.headers["x-capstan-version"] == "v3"
    (one,) = told.json()["explanations"]
    assert one["probability"] == pytest.approx(answered["probability"])
    found = one["explanation"]
    assert found["exact"] is True
    assert set(found["contributions"]) == {"distance", "temp", "carrier", "dest"}
    score = found["base"] + sum(found["contributions"].values())
    assert score == pytest.approx(found["score"])
    assert 1 / (1 + 2.718281828459045**-score) == pytest.approx(answered["probability"])


def test_rows_are_explained_in_order(service: Service) -> None:
    rows = [{**ROW, "distance": distance} for distance in (100, 2900)]
    near, far = service.post({"rows": rows}, "/explain/").json()["explanations"]
    assert (
        near["explanation"]["contributions"]["distance"] < 0 < far["explanation"]["contributions"]["distance"]
    )


def test_no_payload_and_no_count_comes_of_it(service: Service) -> None:
    service.post(ROW, "/explain")
    assert service.log.records == []
    assert service.count('capstan_requests_total{code="200",role="champion",system="toy",version="v3"}') == 0


def test_more_rows_than_the_cap_are_refused(service: Service) -> None:
    told = service.post({"rows": [ROW] * 21}, "/explain")
    assert told.status_code == 422
    assert told.json()["error"] == {
        "field": "rows",
        "value": 21,
        "rule": "must be at most 20 to be explained; send them in several requests",
    }


def test_a_row_that_breaks_the_schema_is_named_as_by_predict(service: Service) -> None:
    wrong = {**ROW, "distance": -1}
    assert service.post(wrong, "/explain").json() == service.post(wrong).json()


def test_another_method_says_what_to_post(service: Service) -> None:
    told = service.ask("GET", "/explain")
    assert told.status_code == 405
    assert "POST one row" in told.json()["error"]["rule"]


class Slow:
    """A model whose explanations never end in time."""

    def explainer(self) -> Any:
        return self

    def explain(self, rows: Any, *, seconds: float) -> Any:
        raise TimeoutError


def test_what_takes_too_long_says_to_send_fewer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(model)
    service.app._explaining = Explaining(Slow())  # type: ignore[arg-type]
    told = service.post({"rows": [ROW] * 3}, "/explain")
    assert told.status_code == 422
    assert told.json()["error"]["rule"] == "take more than 1 s to explain; send fewer in one request"


def test_one_request_at_a_time_is_explained(model: Model) -> None:
    async def two() -> None:
        explaining_rows = Explaining(model, seconds=0.01)
        await explaining_rows._free.acquire()
        with pytest.raises(BusyError):
            await explaining_rows.of([ROW])

    asyncio.run(two())
    assert explaining.MOST_ROWS == 20


def test_a_model_without_a_sample_says_so(model_dir: Path) -> None:
    bare = load(model_dir)
    bare.folder = None
    told = Service(bare).post(ROW, "/explain")
    assert told.status_code == 422
    assert "no sample of its training rows" in told.json()["error"]["rule"]

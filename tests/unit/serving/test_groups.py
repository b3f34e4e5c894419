"""A model of orders is asked about one group a request and answers with the place of each item."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import httpx
import joblib
import pandas as pd
import pytest
from sent_payloads import RecordingLog
from sklearn.pipeline import Pipeline

from capstan.serving.app import PredictionApp
from capstan.serving.model import Model, load
from capstan.serving.settings import ServiceSettings

V2 = "/v2/models/toy/infer"


class Service:
    def __init__(self, model: Model) -> None:
        self.log = RecordingLog()
        self.app = PredictionApp(ServiceSettings(system="toy", version="v3"))
        self.app.serve(model, self.log)

    def post(self, body: object, path: str = "/predict") -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return await client.post(path, json=body)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return await client.get(path)

        return asyncio.run(send())


@pytest.fixture(scope="module")
def ranking_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy columns, ranked by distance."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    folder = tmp_path_factory.mktemp("ranking") / "model"
    shutil.copytree(model_dir, folder)
    table = pd.read_parquet(folder / "sample.parquet")
    transform = joblib.load(folder / "pipeline.joblib").steps[0][1]
    trees = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=2)
    trees.fit(transform.transform(table), table["distance"] / 1000)
    joblib.dump(Pipeline([("transform", transform), ("model", trees)]), folder / "pipeline.joblib")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"task": "Ranking", "classes": []}
    manifest["keys"]["group"] = "search"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def service(ranking_dir: Path) -> Service:
    return Service(load(ranking_dir))


def item(distance: float, **more: object) -> dict[str, object]:
    return {"distance": distance, "temp": 3.5, "carrier": "UA", "dest": "LAX", **more}


NEAR, FAR, BETWEEN = 200, 2900, 1500


def test_the_items_of_a_group_get_scores_and_places(service: Service) -> None:
    response = service.post({"rows": [item(NEAR), item(FAR), item(BETWEEN)]})
    assert response.status_code == 200
    predictions = response.json()["predictions"]
    assert [one["rank"] for one in predictions] == [3, 1, 2]
    scores = [one["score"] for one in predictions]
    assert scores[1] > scores[2] > scores[0]
    assert {tuple(sorted(one)) for one in predictions} == {("rank", "score")}


def test_the_open_protocol_answers_scores_and_places_as_tensors(service: Service) -> None:
    columns = {name: [item(d)[name] for d in (NEAR, FAR)] for name in item(NEAR)}
    datatypes = {"distance": "FP64", "temp": "FP64", "carrier": "BYTES", "dest": "BYTES"}
    inputs = [
        {"name": name, "datatype": datatypes[name], "shape": [2], "data": values}
        for name, values in columns.items()
    ]
    body = service.post({"inputs": inputs}, V2).json()
    score, rank = body["outputs"]
    assert (score["name"], score["datatype"], score["shape"]) == ("score", "FP64", [2])
    assert (rank["name"], rank["datatype"], rank["data"]) == ("rank", "INT64", [2, 1])
    described = service.get("/v2/models/toy").json()["outputs"]
    assert [(one["name"], one["datatype"]) for one in described] == [("score", "FP64"), ("rank", "INT64")]


def test_one_item_is_a_group_of_one(service: Service) -> None:
    (prediction,) = service.post(item(NEAR)).json()["predictions"]
    assert prediction["rank"] == 1


def test_every_item_is_logged_with_its_place_its_id_and_the_group_it_named(service: Service) -> None:
    rows = [item(NEAR, flight_id="a", search="s1"), item(FAR, flight_id="b", search="s1")]
    assert service.post({"rows": rows}).status_code == 200
    one, other = service.log.records
    assert one.request_id == other.request_id
    assert [(record.row, record.entity_id) for record in (one, other)] == [(0, "a"), (1, "b")]
    assert [record.outputs["rank"] for record in (one, other) if record.outputs] == [2, 1]
    assert all(record.inputs["search"] == "s1" for record in (one, other))


@pytest.mark.parametrize(
    ("second", "value"),
    [({"search": "s2"}, "s2"), ({}, None)],
    ids=["another group", "no group beside one"],
)
def test_items_of_two_groups_in_one_request_are_refused_by_name(
    service: Service, second: dict[str, object], value: object
) -> None:
    response = service.post({"rows": [item(NEAR, search="s1"), item(FAR, **second)]})
    assert response.status_code == 422
    error = response.json()["error"]
    assert (error["field"], error["value"]) == ("rows[1].search", value)
    assert "'s1'; a request carries the rows of one group: send one request for each group" in error["rule"]


def test_the_open_protocol_refuses_two_groups_too(service: Service) -> None:
    values = {
        "distance": ("FP64", [1000, 1100]),
        "carrier": ("BYTES", ["UA"] * 2),
        "search": ("BYTES", ["a", "b"]),
    }
    inputs = [
        {"name": name, "datatype": datatype, "shape": [2], "data": data}
        for name, (datatype, data) in values.items()
    ]
    response = service.post({"inputs": inputs}, V2)
    assert response.status_code == 422
    assert "rows[1].search" in response.json()["error"]


def test_a_score_that_is_no_number_fails_the_whole_order(ranking_dir: Path) -> None:
    model = load(ranking_dir)
    said = iter([1.0, float("nan")])
    model._compiled = lambda _row: next(said)
    broken = Service(model)
    response = broken.post({"rows": [item(NEAR), item(FAR)]})
    assert response.status_code == 500
    assert response.json()["error"]["rule"] == "the model's answer is not a finite score of every item"
    assert [record.nonfinite for record in broken.log.records] == [False, True]

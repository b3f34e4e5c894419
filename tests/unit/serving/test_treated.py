"""Requests of systems with marked columns: treated before the model, the log and the answer know them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.serving.test_app import ROW, V2, Service

from capstan.features.pseudonyms import PseudonymKeys
from capstan.features.treatments import Reads, Treated
from capstan.features.values import ColumnType
from capstan.serving.model import Model, load

KEYS = PseudonymKeys({1: b"an-old-key-of-last-year", 2: b"a-key-of-this-year"})
PSEUDONYM = {"pseudonymise": {"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "key"}}}}
TREATED = (
    Treated("flight_id", PSEUDONYM, Reads(ColumnType.TEXT, is_id=True), 1),
    Treated("tailnum", PSEUDONYM, Reads(ColumnType.TEXT, is_id=True), 1),
    Treated("distance", {"generalise": {"width": 100}}, Reads(ColumnType.NUMBER)),
    Treated("dest", {"mask": {"keep": 1}}, Reads(ColumnType.TEXT)),
    Treated("passenger", {"drop": {}}, Reads(ColumnType.TEXT)),
)


@pytest.fixture
def service(model_dir: Path, tmp_path: Path) -> Service:
    (tmp_path / "privacy").mkdir()
    (tmp_path / "privacy" / "key").write_text("1 an-old-key-of-last-year\n2 a-key-of-this-year\n")
    model: Model = copy.copy(load(model_dir))
    model.manifest = replace(model.manifest, treated=TREATED)
    return Service(model, secrets=tmp_path)


def logged(service: Service) -> dict[str, Any]:
    record = service.log.records[-1]
    return {"inputs": record.inputs, "entity": record.entity_id, "unit": record.unit}


RAW = {**ROW, "distance": 1234.5, "passenger": "Ann Miller", "tailnum": "N-1"}


def test_the_log_keeps_the_treated_row_and_the_users_pseudonym(service: Service) -> None:
    assert service.post(RAW, headers={"x-capstan-key": "N-1"}).status_code == 200
    found = logged(service)
    assert found["entity"] == KEYS.pseudonym("f-1", 1), "by the key that the model has learnt with"
    assert found["unit"] == KEYS.pseudonym("N-1", 1)
    assert found["inputs"]["distance"] == 1200.0
    assert found["inputs"]["dest"] == "L***"
    assert "passenger" not in found["inputs"]


def test_v2_is_treated_alike(service: Service) -> None:
    body = {
        "inputs": [
            {
                "name": name,
                "datatype": "BYTES" if type(value) is str else "FP64",
                "shape": [2],
                "data": [value, value],
            }
            for name, value in RAW.items()
        ]
    }
    answer = service.post(body, V2)
    assert answer.status_code == 200, answer.text
    wanted = service.post(RAW).json()["predictions"][0]["probability"]
    assert answer.json()["outputs"][0]["data"] == [wanted, wanted]
    single = {"inputs": [{**one, "shape": [1], "data": one["data"][:1]} for one in body["inputs"]]}
    assert service.post(single, V2).json()["outputs"][0]["data"] == [wanted]
    assert logged(service)["inputs"]["distance"] == 1200.0


def test_a_user_that_is_refused_is_logged_by_the_pseudonym_too(service: Service) -> None:
    assert service.post({**RAW, "temp": "cold"}, headers={"x-capstan-key": "N-1"}).status_code == 422
    assert logged(service)["unit"] == KEYS.pseudonym("N-1", 1)
    assert (
        service.ask("POST", "/predict", content=b"Ann", headers={"x-capstan-key": "N-1"}).status_code == 422
    )
    assert logged(service)["unit"] == KEYS.pseudonym("N-1", 1)


@pytest.mark.parametrize(
    ("change", "field", "shown"),
    [
        ({"distance": "Ann"}, "distance", None),
        ({"destination": "Ann"}, "destination", None),
        ({"dest": 7}, "dest", None),
        ({"temp": "cold"}, "temp", "cold"),
    ],
)
def test_an_answer_quotes_values_of_unmarked_columns_only(
    service: Service, change: dict[str, Any], field: str, shown: object
) -> None:
    error = service.post({**RAW, **change}).json()["error"]
    assert (error["field"], error["value"]) == (field, shown)
    assert service.ask("POST", "/predict", content=b"[Ann").json()["error"]["value"] is None


def test_without_marked_columns_the_clients_bytes_are_kept_as_before(model_dir: Path) -> None:
    plain = Service(load(model_dir))
    assert plain.app._treatments is None
    assert plain.post({**ROW, "dest": 7}).json()["error"]["value"] == 7

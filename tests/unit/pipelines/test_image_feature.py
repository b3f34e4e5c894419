"""Digits, drawn in files, go through training, serving, log and drift, beside other kinds of columns."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sent_payloads import RecordingLog, written
from sklearn.datasets import load_digits
from unit.pipelines.real_steps import run_steps

from capstan.data import extract
from capstan.data.images import ImageFiles
from capstan.errors import InvalidDataError
from capstan.exporting.columns import inputs_of
from capstan.features import as_columns
from capstan.features.images import kept_text
from capstan.monitoring.drift.column_values import values_of
from capstan.monitoring.drift.fitted_detectors import OwnDetector
from capstan.monitoring.drift.reference import FeatureReference, load_reference
from capstan.serving.app import PredictionApp
from capstan.serving.model import Model, load
from capstan.serving.payload_blocks import body_of
from capstan.serving.settings import ServiceSettings
from capstan.spec import parse

ROWS = 600
AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "digits"},
    "spec": {
        "objective": {"task": "MulticlassClassification", "target": "digit"},
        "data": {
            "sources": [{"name": "rows", "csv": {"path": "digits.csv", "timeColumn": "at"}}],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "digit", "availableAt": "known_at"},
        },
        "features": [
            {
                "name": "picture",
                "image": {"width": 8, "height": 8, "folder": "pictures", "unreadable": "Missing"},
            },
            {"name": "pen", "categorical": {}},
            {"name": "pressure", "numeric": {}},
            {"name": "note", "text": {"maxWords": 5}},
        ],
        "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
    },
}


def drawn(pixels: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray((pixels * 15.9).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [drawn(image) for image in load_digits().images[: ROWS + 50]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes]) -> Path:
    """Where the real steps of a training ran."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(2)
    with (folder / "digits.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "at", "known_at", "picture", "pen", "pressure", "note", "digit"])
        for row, digit in enumerate(load_digits().target[:ROWS].tolist()):
            (folder / "pictures" / f"{row}.png").write_bytes(pictures[row] if row != 7 else b"spoilt")
            at = AS_OF - timedelta(hours=2) * (ROWS - row) - timedelta(days=4)
            noise = [rng.choice(["ball", "ink"]), round(rng.random(), 3), "" if row % 3 else "blue paper"]
            known = (at + timedelta(hours=1)).isoformat()
            table.writerow([f"d{row}", at.isoformat(), known, f"{row}.png", *noise, f"n{digit}"])
    run_steps(folder, folder, DOCUMENT, as_of=AS_OF)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder / "model")


def row_of(picture: bytes | None) -> dict[str, Any]:
    text = None if picture is None else base64.b64encode(picture).decode()
    return {"picture": text, "pen": "ink", "pressure": 0.4, "note": "blue paper"}


class Service:
    def __init__(self, model: Model) -> None:
        self.log = RecordingLog()
        self.app = PredictionApp(ServiceSettings(system="digits", version="v1"))
        self.app.serve(model, self.log)

    def post(self, body: object) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return await client.post("/predict", json=body)

        return asyncio.run(send())


def test_later_digits_are_told_by_their_pixels(folder: Path) -> None:
    assert json.loads((folder / "evaluation").read_text())["metrics"]["accuracy"] > 0.8


def test_a_spoilt_file_counts_as_missing_and_the_training_tells_it(folder: Path) -> None:
    told = (folder / "choice").read_text() + (folder / "fit").read_text(errors="ignore")
    assert "training rows have no image that can be read in picture; they count as missing" in told


def test_a_request_has_the_bits_of_a_table(folder: Path, model: Model, pictures: list[bytes]) -> None:
    assert model.fallback == ""
    rows = [row_of(picture) for picture in [*pictures[:40], None]]
    by_columns = model.by_columns()
    assert by_columns is not None
    names = [column.name for column in model.manifest.columns]
    assert by_columns(as_columns(rows, names)) == [model.predict_row(row) for row in rows]
    system = parse(DOCUMENT, base_dir=folder)
    table = extract(system, as_of=None, labels_as_of=None)
    transform = model.pipeline.steps[0][1]
    (sent,) = transform.transform(as_columns([row_of(pictures[20])], names))[:, :65]
    places = {one: at for at, one in enumerate(table["id"].to_pylist())}
    assert transform.transform(table)[places["d20"], :65].tobytes() == sent.tobytes()


def test_a_request_that_is_no_image_is_marked_and_answered_as_a_missing_one(model: Model) -> None:
    service = Service(model)
    answer = service.post(row_of(b"spoilt")).json()["predictions"][0]
    (mark,) = [one for one in answer.pop("outside") if one["field"] == "picture"]
    assert mark["rule"].startswith("is no image of PNG")
    assert mark["rule"].endswith("it is read as missing")
    missing = service.post(row_of(None)).json()["predictions"][0]
    missing.pop("outside", None)
    assert answer == missing


@pytest.mark.parametrize("value", ["%%%", "cGljdHVyZQ==", 7, ["a"]], ids=str)
def test_a_request_that_is_no_image_is_refused_where_the_file_does_not_say_otherwise(
    model: Model, value: object
) -> None:
    import copy
    from dataclasses import replace

    strict = copy.copy(model)
    columns = [replace(column, refuse_unreadable=True) for column in model.manifest.columns]
    strict.manifest = replace(model.manifest, columns=tuple(columns))
    answer = Service(strict).post({**row_of(None), "picture": value})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "picture"


def test_the_log_keeps_facts_and_no_pixels(model: Model, pictures: list[bytes]) -> None:
    service = Service(model)
    sent = [row_of(picture) for picture in pictures[:3]]
    assert service.post(sent[0]).status_code == 200
    assert service.post({"rows": sent[1:]}).status_code == 200
    assert service.post(row_of(b"spoilt")).status_code == 200
    kept = body_of(written(service.log._buffer)).decode()
    limits = next(column.image for column in model.manifest.columns if column.image)
    for row in sent:
        assert row["picture"] not in kept
        assert kept_text(row["picture"], limits) in kept
    assert "blue paper" in kept


def shares_of(feature: FeatureReference, texts: list[str]) -> tuple[float, float]:
    """How far the images are from those of training, and how far they may be."""
    read = values_of(feature).present(pa.array(texts))
    found = OwnDetector(feature).compare(read.values[read.is_there])
    return found.effect, feature.distance_threshold(len(texts), 0.1)


def test_drift_sees_darker_and_larger_images_in_what_the_log_keeps(
    folder: Path, model: Model, pictures: list[bytes]
) -> None:
    features = {one.name: one for one in load_reference(folder / "model" / "detectors").features}
    parts = ("mean", "deviation", "width", "height", "bytes")
    assert {f"picture.{part}" for part in parts} <= set(features)
    limits = next(column.image for column in model.manifest.columns if column.image)

    def logged(found: list[bytes]) -> list[str]:
        return [kept_text(base64.b64encode(picture).decode(), limits) for picture in found]

    for part in parts:
        found, allowed = shares_of(features[f"picture.{part}"], logged(pictures[::3]))
        assert found < allowed, part
    darker = [drawn(image / 3) for image in load_digits().images[:200]]
    found, allowed = shares_of(features["picture.mean"], logged(darker))
    assert found > allowed
    larger = [drawn(np.kron(image, np.ones((2, 2)))) for image in load_digits().images[:200]]
    for part in ("width", "height", "bytes"):
        found, allowed = shares_of(features[f"picture.{part}"], logged(larger))
        assert found > allowed, part


def test_an_explanation_has_one_number_for_the_image(model: Model, pictures: list[bytes]) -> None:
    told = model.explainer().explain([row_of(pictures[0])]).documents()[0]
    assert all(
        set(one["contributions"]) == {"picture", "pen", "pressure", "note"}
        for one in told["outputs"].values()
    )


def test_no_image_is_told_of_a_training(folder: Path, pictures: list[bytes]) -> None:
    """Reports and what the monitor keeps hold no pixels."""
    kept = [folder / "report", folder / "fit", folder / "choice", folder / "evaluation"]
    kept += [path for path in (folder / "model" / "detectors").rglob("*") if path.is_file()]
    content = b"".join(
        path.read_bytes()
        for one in kept
        for path in ([one] if one.is_file() else one.rglob("*"))
        if path.is_file()
    )
    for picture in pictures[:ROWS]:
        assert base64.b64encode(picture)[40:80] not in content


def test_a_file_that_is_not_there_ends_the_extraction_with_its_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "digits.csv").write_bytes((folder / "digits.csv").read_bytes())
    system = parse(DOCUMENT, base_dir=tmp_path)
    with pytest.raises(InvalidDataError, match=r"600 of 600 values name no image file .*: '0.png' is not"):
        extract(system, as_of=None, labels_as_of=None)
    assert ImageFiles.of(system).folders == {"picture": (tmp_path / "pictures", 500_000)}


def test_it_cannot_be_exported_to_onnx_and_the_way_out_is_told(model: Model) -> None:
    with pytest.raises(
        InvalidDataError, match=r"feature 'picture': an image in base64 has no operator in ONNX"
    ):
        inputs_of(model.pipeline.steps[0][1])

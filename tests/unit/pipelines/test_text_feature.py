"""Jokes of four languages go through training, serving and drift: a model tells the language by their words."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pyjokes.jokes_de import jokes_de
from pyjokes.jokes_en import jokes_en
from pyjokes.jokes_it import jokes_it
from pyjokes.jokes_pl import jokes_pl
from pyjokes.jokes_ru import jokes_ru
from unit.pipelines.real_steps import run_steps

from capstan.errors import InvalidDataError
from capstan.exporting.columns import inputs_of
from capstan.features import as_columns
from capstan.monitoring.causes.kinds import kinds_of
from capstan.monitoring.drift.column_values import values_of
from capstan.monitoring.drift.fitted_detectors import OwnDetector
from capstan.monitoring.drift.reference import FeatureReference, load_reference
from capstan.monitoring.estimates.seen import SeenColumn, seen_columns
from capstan.serving.model import Model, load
from capstan.serving.schema import RequestSchema
from capstan.spec import parse

AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
LANGUAGES = {"en": jokes_en["all"], "de": jokes_de["all"], "it": jokes_it["all"], "pl": jokes_pl["all"]}
DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "jokes"},
    "spec": {
        "objective": {"task": "MulticlassClassification", "target": "language"},
        "data": {
            "sources": [{"name": "rows", "csv": {"path": "jokes.csv", "timeColumn": "at"}}],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "language", "availableAt": "known_at"},
        },
        "features": [
            {"name": "joke", "text": {"ngrams": 2, "maxWords": 500}},
            {"name": "hashed", "column": "joke", "text": {"encode": "Hashing", "buckets": 64}},
        ],
        "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real steps of a training ran."""
    folder = tmp_path_factory.mktemp("jokes")
    rows = [(joke, name) for name, jokes in LANGUAGES.items() for joke in jokes]
    random.Random(0).shuffle(rows)
    with (folder / "jokes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "at", "known_at", "joke", "language"])
        for index, (joke, name) in enumerate(rows):
            at = AS_OF - timedelta(hours=2) * (len(rows) - index) - timedelta(days=4)
            table.writerow([f"j{index}", at.isoformat(), (at + timedelta(hours=1)).isoformat(), joke, name])
    parse(DOCUMENT, base_dir=folder)
    run_steps(folder, folder, DOCUMENT, as_of=AS_OF)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder / "model")


@pytest.fixture(scope="module")
def features(folder: Path) -> dict[str, FeatureReference]:
    return {one.name: one for one in load_reference(folder / "model" / "detectors").features}


def test_the_language_of_later_jokes_is_told_by_their_words(folder: Path) -> None:
    metrics = json.loads((folder / "evaluation").read_text())["metrics"]
    assert metrics["accuracy"] > 0.9


def test_a_request_has_the_bits_of_a_table(model: Model) -> None:
    assert model.fallback == ""
    sent = [{"joke": joke} for jokes in LANGUAGES.values() for joke in jokes[:20]]
    rows = RequestSchema(model.manifest).rows_of({"rows": [*sent, {"joke": None}, {"joke": "кот"}]})
    by_columns = model.by_columns()
    assert by_columns is not None
    assert by_columns(as_columns(rows, ["joke"])) == [model.predict_row(row) for row in rows]


def shares_of(feature: FeatureReference, texts: list[str]) -> tuple[float, float]:
    """How far the texts are from those of training, and how far they may be."""
    read = values_of(feature).present(pa.array(texts))
    found = OwnDetector(feature).compare(read.values[read.is_there])
    return found.effect, feature.distance_threshold(len(texts), 0.1)


def test_drift_looks_at_how_many_words_and_how_many_new_ones(features: dict[str, FeatureReference]) -> None:
    assert set(features) == {"joke.words", "joke.unknown", "hashed.words", "hashed.unknown"}
    again = [joke for jokes in LANGUAGES.values() for joke in jokes[::2]]
    for name in ("joke.words", "joke.unknown"):
        found, allowed = shares_of(features[name], again)
        assert found < allowed
    found, allowed = shares_of(features["joke.unknown"], jokes_ru["all"])
    assert found > allowed
    found, allowed = shares_of(features["joke.words"], [joke[:20] for joke in again])
    assert found > allowed


def test_estimates_and_causes_look_at_the_same() -> None:
    system = parse(DOCUMENT, base_dir=Path())
    table = pa.table({"joke": [*LANGUAGES["en"], None]})
    seen = {one.feature: one for one in seen_columns(table, system.spec.features[:1])}
    assert set(seen) == {"joke.words", "joke.unknown"}
    assert SeenColumn.of(orjson.loads(orjson.dumps(asdict(seen["joke.unknown"])))) == seen["joke.unknown"]
    assert not seen["joke.words"].is_outside(seen["joke.words"].read(pa.array(LANGUAGES["en"][:3]))).any()
    assert seen["joke.words"].is_outside(seen["joke.words"].read(pa.array(["word " * 500]))).all()
    kinds = {one.feature: one for one in kinds_of(table, system.spec.features[:1])}
    assert set(kinds) == {"joke.words", "joke.unknown"}
    (code,) = kinds["joke.unknown"].codes(pa.array(["Größe Dampfschiff"])).tolist()
    assert kinds["joke.unknown"].name(code, code).startswith("joke.unknown above ")


def test_an_explanation_has_one_number_for_the_text(model: Model) -> None:
    told = model.explainer().explain([{"joke": jokes_de["all"][0]}]).documents()[0]
    assert all(set(one["contributions"]) == {"joke"} for one in told["outputs"].values())


def test_no_whole_text_is_told_of_a_training(folder: Path) -> None:
    """Reports and what the monitor keeps hold words that several texts have, and no text."""
    kept = [folder / "report", folder / "fit", folder / "choice", folder / "evaluation"]
    kept += [path for path in (folder / "model" / "detectors").rglob("*") if path.is_file()]
    written = b"".join(
        path.read_bytes()
        for one in kept
        for path in ([one] if one.is_file() else one.rglob("*"))
        if path.is_file()
    )
    for jokes in LANGUAGES.values():
        for joke in jokes:
            if len(joke) > 40:
                assert json.dumps(joke)[1:41].encode() not in written
                assert joke[:40].encode() not in written


def test_it_cannot_be_exported_to_onnx_and_the_way_out_is_told(model: Model) -> None:
    told = r"feature 'joke': the words of a text have no operator in ONNX.*derive numbers"
    with pytest.raises(InvalidDataError, match=told):
        inputs_of(model.pipeline.steps[0][1])

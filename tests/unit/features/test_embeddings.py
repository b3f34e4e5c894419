"""Numbers that a function of one's own makes of texts and images, in a table as in a request."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from unit.features.test_images import COLOUR, GRAY, saved

from capstan.errors import InvalidDataError, InvalidSpecError, UnfitValueError
from capstan.features.kinds import EmbeddedSettings, FittedEmbedded, unfitted
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform
from capstan.serving.model import load
from capstan.spec.features import Feature
from capstan.spec.loading import parse
from capstan.spec.presence import own_code
from capstan.training.factories import importable

CODE = """
import numpy as np

def letters(values):
    return [[text.count(letter) / len(text) for letter in "aeiou"] for text in values]

def of_texts():
    return letters

def corners(values):
    assert all(image.dtype == np.uint8 for image in values)
    return np.array([image[[0, -1], [0, -1]].reshape(-1) for image in values])

def of_images():
    return corners

class Times:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, values):
        rng = np.random.default_rng(0)
        matrix = rng.normal(size=(3000, 7)).astype(np.float32)
        rows = np.array([[ord(letter) for letter in (text * 3000)[:3000]] for text in values], dtype=np.float32)
        return self.factor * rows @ matrix

def times(factor=1.0):
    return Times(factor)

def in_crowds(values):
    return [[len(text) + 1e-9 * (len(values) > 60)] for text in values]

def of_crowds():
    return in_crowds

def ragged(values):
    return [[1.0] * (at + 1) for at, _ in enumerate(values)]

def of_ragged():
    return ragged

def of_words():
    return words

def words(values):
    return [["one"] for _ in values]

def neighbours(values):
    return [[len(values)] for _ in values]

def of_neighbours():
    return neighbours

def endless(values):
    return [[float("inf")] for _ in values]

def of_endless():
    return endless

def flat(values):
    return [1.0 for _ in values]

def of_flat():
    return flat

def raising(values):
    raise KeyError("word")

def of_raising():
    return raising

def of_lambda():
    return lambda values: [[1.0] for _ in values]

def of_nothing():
    return 7
"""
TEXTS = ["an apple", "Oceans", "xyz", None, "a", "the end of it all"]


@pytest.fixture
def code(tmp_path: Path) -> Any:
    (tmp_path / "mine.py").write_text(CODE)
    with importable(tmp_path):
        yield tmp_path


def fitted(column: Any, kind: str = "text", **settings: Any) -> FeatureTransform:
    return FeatureTransform((unfitted(Feature.model_validate({"name": "e", kind: settings})),)).fit(
        {"e": column}
    )


@pytest.mark.usefixtures("code")
def test_the_numbers_of_a_text_are_those_of_the_function() -> None:
    transform = fitted(TEXTS, embed={"factory": "mine:of_texts"})
    assert list(transform.get_feature_names_out()) == [*(f"e[{at}]" for at in range(5)), "e=missing"]
    found = transform.transform({"e": TEXTS})
    assert found[0].tolist() == [2 / 8, 1 / 8, 0, 0, 0, 0]
    assert found[3].tolist() == [0, 0, 0, 0, 0, 1]
    row_of = compile_row(transform)
    assert [row_of({"e": text}).tolist() for text in TEXTS] == found.tolist()
    assert pickle.loads(pickle.dumps(transform)).transform({"e": TEXTS}).tolist() == found.tolist()


@pytest.mark.usefixtures("code")
def test_a_function_gets_images_of_the_size_and_channels_of_the_file() -> None:
    size = {"width": 4, "height": 6, "embed": {"factory": "mine:of_images"}}
    gray = fitted([saved(GRAY)], "image", **size).transform({"e": [saved(GRAY), None]})
    assert gray.tolist() == [[GRAY[0, 0], GRAY[-1, -1], 0], [0, 0, 1]]
    colour = fitted([saved(COLOUR)], "image", channels="RGB", **size).transform({"e": [saved(COLOUR)]})
    assert colour.tolist() == [[*COLOUR[0, 0], *COLOUR[-1, -1], 0]]
    strict = fitted([saved(GRAY)], "image", **size)
    with pytest.raises(UnfitValueError, match="is no base64"):
        strict.transform({"e": ["%%"]})
    lenient = fitted([saved(GRAY), "%%"], "image", unreadable="Missing", **size)
    assert lenient.transform({"e": ["%%"]}).tolist() == [[0, 0, 1]]
    assert lenient.count_unseen({"e": ["%%", None]}) == {"e": 1}


@pytest.mark.usefixtures("code")
def test_sums_that_end_in_other_bits_among_others_are_made_one_by_one() -> None:
    texts = [f"{at} words" * (at + 1) for at in range(300)]
    transform = fitted(texts, embed={"factory": "mine:times", "parameters": {"factor": 0.1}})
    row_of = compile_row(transform)
    matrix = transform.transform({"e": texts})
    assert np.array([row_of({"e": text}) for text in texts]).tobytes() == matrix.tobytes()


@pytest.mark.usefixtures("code")
def test_a_function_gets_no_more_values_at_once_than_it_was_tried_with() -> None:
    texts = [f"{at} words" for at in range(300)]
    transform = fitted(texts, embed={"factory": "mine:of_crowds"})
    row_of = compile_row(transform)
    matrix = transform.transform({"e": texts})
    assert np.array([row_of({"e": text}) for text in texts]).tobytes() == matrix.tobytes()


@pytest.mark.usefixtures("code")
def test_only_images_with_which_the_function_is_tried_are_held_as_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str | None] = []
    value = EmbeddedSettings.value

    def told(one: EmbeddedSettings, text: str | None) -> Any:
        read.append(text)
        return value(one, text)

    monkeypatch.setattr(EmbeddedSettings, "value", told)
    fitted([f"{at} words" for at in range(300)], embed={"factory": "mine:of_texts"})
    assert len(read) == 50


@pytest.mark.usefixtures("code")
def test_how_many_numbers_there_are_is_fixed_by_the_training() -> None:
    (one,) = fitted(TEXTS, embed={"factory": "mine:of_texts"}).features_
    assert isinstance(one, FittedEmbedded)
    one.require_unchanged()
    other = replace(one, function=lambda values: [[1.0, 2.0] for _ in values])
    with pytest.raises(InvalidDataError, match=r"mine:of_texts: gave shape \(1, 2\).*in training each had 5"):
        other.require_unchanged()
    with pytest.raises(InvalidDataError, match="train again"):
        other.transform(["new"])


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        ("of_neighbours", "something else alone than among others"),
        ("of_endless", "not finite"),
        ("of_flat", r"shape \(5,\) for 5 values; it must be \(5, d\)"),
        ("of_ragged", "gave what is no table of numbers .*; return one row of numbers for each value"),
        ("of_words", "gave what is no table of numbers .*could not convert string to float: 'one'"),
        ("of_raising", "KeyError: 'word'"),
        ("of_lambda", "can't be saved before it is asked"),
        ("of_nothing", "gave int, which cannot be called"),
        ("of_none", "AttributeError"),
    ],
)
def test_a_function_that_cannot_be_served_is_refused_when_it_is_fitted(factory: str, problem: str) -> None:
    with pytest.raises(InvalidDataError, match=problem) as caught:
        fitted(TEXTS, embed={"factory": f"mine:{factory}"})
    assert f"mine:{factory}" in str(caught.value)


@pytest.mark.usefixtures("code")
def test_a_column_without_a_value_has_no_numbers() -> None:
    with pytest.raises(InvalidDataError, match="no value that could tell how many numbers"):
        fitted([None, ""], embed={"factory": "mine:of_texts"})


def test_the_module_travels_with_the_version(code: Path) -> None:
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "own"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "y"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                "keys": {"id": "id"},
                "label": {"column": "y"},
                "split": {"random": {"seed": 1}},
            },
            "features": [{"name": "e", "text": {"embed": {"factory": "mine:of_texts"}}}],
        },
    }
    found = [(location, one.factory) for location, one in own_code(parse(document, base_dir=code))]
    assert found == [(("spec", "features", 0, "text", "embed", "factory"), "mine:of_texts")]
    settings = unfitted(parse(document, base_dir=code).spec.features[0])
    assert settings == EmbeddedSettings("e", "e", "mine:of_texts", {})


def test_a_version_whose_function_gives_other_numbers_is_not_loaded(code: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "factories").mkdir(parents=True)
    (folder / "factories" / "mine.py").write_text(CODE)
    transform = fitted(TEXTS, embed={"factory": "mine:of_texts"})
    model = LogisticRegression().fit(transform.transform({"e": TEXTS}), [True, False] * 3)
    joblib.dump(Pipeline([("transform", transform), ("model", model)]), folder / "pipeline.joblib")
    manifest = {
        "system": "own",
        "task": "BinaryClassification",
        "target": "y",
        "columns": [{"name": "e", "type": "Text", "kind": "categorical"}],
        "classes": [False, True],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "sample.json").write_text(json.dumps([{"e": text} for text in TEXTS]))
    sys.path.remove(str(code))
    sys.modules.pop("mine")
    try:
        loaded = load(folder)
        assert loaded.fallback == ""
        assert loaded.predict_row({"e": "an apple"}) == pytest.approx(
            loaded.predict_batch([{"e": "an apple"}])[0]
        )
        sys.modules.pop("mine")
        (folder / "factories" / "mine.py").write_text(CODE.replace('"aeiou"', '"aei"'))
        importlib.invalidate_caches()
        with pytest.raises(
            InvalidDataError, match=r"mine:of_texts: gave shape \(1, 3\).*in training each had 5"
        ):
            load(folder)
    finally:
        sys.path.insert(0, str(code))
        while str(folder / "factories") in sys.path:
            sys.path.remove(str(folder / "factories"))


def test_what_no_embedding_may_say() -> None:
    with pytest.raises(InvalidSpecError, match="drop `encode: Hashing`"):
        Feature(name="t", text={"embed": {"factory": "mine:of_texts"}, "maxWords": 7})
    with pytest.raises(InvalidSpecError, match="normalizes them itself"):
        Feature(
            name="i",
            image={"width": 2, "height": 2, "normalize": "ZScore", "embed": {"factory": "mine:of_images"}},
        )

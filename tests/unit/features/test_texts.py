"""What a text is to a model: the words of scikit-learn's vectorizers, with one set of bits for tables and requests."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyjokes.jokes_de import jokes_de
from pyjokes.jokes_en import jokes_en
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from capstan.errors import InvalidSpecError
from capstan.features.kinds import TextSettings, unfitted
from capstan.features.kinds import text as of_texts
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform, as_columns
from capstan.features.views import MOST_KNOWN, views_of
from capstan.spec.features import Feature

JOKES = [*jokes_en["all"], *jokes_de["all"]]
STRANGE = [
    "!!!",
    "a b c",
    "  ",
    "Größe ÉTÉ 2024 x_1",
    "not good not good",
    "\ud83d half",
    "word " * 2000,
    "кот 猫猫",
]


def feature(**settings: Any) -> Feature:
    return Feature.model_validate({"name": "t", "text": settings})


def fitted(column: Any, **settings: Any) -> FeatureTransform:
    return FeatureTransform((unfitted(feature(**settings)),)).fit({"t": column})


@pytest.mark.parametrize("ngrams", [1, 2, 3])
@pytest.mark.parametrize(("words", "least"), [(300, 2), (4096, 1), (10, 5)])
def test_weights_are_those_of_scikit_learn(ngrams: int, words: int, least: int) -> None:
    theirs = TfidfVectorizer(ngram_range=(1, ngrams), max_features=words, min_df=least).fit(JOKES)
    ours = fitted(JOKES, ngrams=ngrams, maxWords=words, minFrequency=least)
    names = [f"t:{word}" for word in theirs.get_feature_names_out()]
    assert list(ours.get_feature_names_out()) == [*names, "t=missing"]
    found = ours.transform({"t": [*JOKES, *STRANGE]})
    np.testing.assert_array_max_ulp(found[:, :-1], theirs.transform([*JOKES, *STRANGE]).toarray(), maxulp=2)
    assert not found[:, -1].any()


@pytest.mark.parametrize("ngrams", [1, 2])
def test_hashed_words_have_the_columns_of_scikit_learn(ngrams: int) -> None:
    theirs = HashingVectorizer(n_features=64, ngram_range=(1, ngrams), alternate_sign=False)
    given = [text for text in [*JOKES, *STRANGE] if "\ud83d" not in text]
    found = fitted(JOKES, encode="Hashing", buckets=64, ngrams=ngrams).transform({"t": given})
    np.testing.assert_array_max_ulp(found[:, :-1], theirs.transform(given).toarray(), maxulp=2)


@pytest.mark.parametrize("settings", [{"maxWords": 200, "ngrams": 2}, {"encode": "Hashing", "buckets": 32}])
def test_a_request_has_the_bits_of_the_table(settings: dict[str, Any]) -> None:
    column = pa.chunked_array([pa.array([*JOKES, None, ""]), pa.array(JOKES[:7])]).dictionary_encode()
    transform = fitted(column, **settings)
    matrix = transform.transform({"t": column})
    row_of = compile_row(transform)
    rows = [{"t": value} for value in column.to_pylist()]
    assert np.array([row_of(row) for row in rows]).tobytes() == matrix.tobytes()
    assert transform.transform(as_columns(rows, ["t"])).tobytes() == matrix.tobytes()
    for text in (*STRANGE, None, "", 7, True):
        sent = transform.transform(as_columns([{"t": text}], ["t"]))[0]
        assert row_of({"t": text}).tobytes() == sent.tobytes()


def test_what_was_learnt_is_saved_as_words_and_numbers() -> None:
    (one,) = fitted(JOKES, maxWords=50).features_
    saved = pickle.dumps(one)
    assert b"sklearn" not in saved.replace(b"capstan", b"")
    assert b"Vectorizer" not in saved


@pytest.mark.parametrize("column", [[None, None], pa.nulls(2), ["", None]])
def test_a_column_without_a_text_has_one_output(column: Any) -> None:
    transform = fitted(column)
    assert transform.transform({"t": column}).tolist() == [[1], [1]]
    assert compile_row(transform)({"t": "a new text"}).tolist() == [0]


def test_no_word_that_is_known_and_none_in_texts_enough_are_zeros() -> None:
    assert fitted(["red", "green"], minFrequency=2).transform({"t": ["red"]}).tolist() == [[0]]
    transform = fitted(["red car", "red car", "red bus"])
    assert transform.transform({"t": ["blue", "!!!", "RED!"]}).tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert transform.count_unseen({"t": ["blue", "!!!", "red", None]}) == {"t": 2}


def test_the_same_text_in_all_rows_is_learnt() -> None:
    assert fitted(["good day"]).transform({"t": ["good day"]}).tolist() == [
        [pytest.approx(2**-0.5), pytest.approx(2**-0.5), 0]
    ]


def test_words_are_learnt_from_a_bounded_part_of_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_texts, "MOST_CHARACTERS", 500)
    texts = ["early " * 10] * 10 + ["later " * 10] * 10
    assert list(fitted(texts).get_feature_names_out()) == ["t:early", "t:later", "t=missing"]
    monkeypatch.setattr(of_texts, "MOST_TEXTS", 1)
    assert list(fitted(texts).get_feature_names_out()) == ["t:early", "t=missing"]


def test_a_matrix_that_is_too_wide_names_the_field_that_makes_it_narrower() -> None:
    (words,) = fitted(JOKES, maxWords=100).features_
    assert words.narrower(JOKES, 41) == "t alone has 101 columns: set `maxWords: 40`"
    assert words.narrower(JOKES, 101) == ""
    (hashed,) = fitted(JOKES, encode="Hashing").features_
    assert hashed.narrower(JOKES, 41) == "t alone has 257 columns: set `buckets: 40`"


def test_what_is_watched_is_how_many_words_and_how_many_new_ones() -> None:
    length, unknown = views_of(feature(), "UTC", [*jokes_en["all"], None])
    assert (length.name, unknown.name) == ("t.words", "t.unknown")
    assert length.numbers(["Two words", "", None, "!"]).tolist() == [
        2,
        *[pytest.approx(np.nan, nan_ok=True)] * 2,
        0,
    ]
    assert unknown.numbers(["the joke", "the Dampfschiff", "!"]).tolist()[1:] == [0.5, 0]
    assert np.nanmean(unknown.numbers(jokes_en["all"])) < 0.5 < np.nanmean(unknown.numbers(jokes_de["all"]))
    assert 0 < len(unknown.known) <= MOST_KNOWN
    assert "dampfschiff" not in unknown.known


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"buckets": 8}, "write that, or drop `buckets`"),
        ({"encode": "Hashing", "maxWords": 8}, "drop `maxWords` and `minFrequency`"),
        ({"encode": "Hashing", "minFrequency": 1}, "or take `encode: TfIdf`"),
        ({"maxWords": 5000}, "write 4,096 or less"),
        ({"ngrams": 4}, "write 3 or less"),
        ({"encode": "Embedding"}, "TfIdf"),
    ],
)
def test_what_no_text_may_say(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpecError, match=problem):
        Feature(name="t", text=settings)


def test_settings_are_those_of_the_file() -> None:
    found = unfitted(feature(ngrams=2, maxWords=7, minFrequency=1))
    assert found == TextSettings("t", "t", "TfIdf", 2, 7, 1)

"""Errors keep what they carry on their way out of a child process."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from capstan.errors import (
    CapstanError,
    InvalidDataError,
    InvalidRequestError,
    InvalidSpecError,
    MissingExtraError,
    Mistake,
    UnavailableError,
)

BREACHES = InvalidRequestError(
    "distance", "far", "must be a number", [InvalidRequestError("temp", None, "is missing")]
)
ERRORS = [
    InvalidSpecError([Mistake("data", "is missing", 3), Mistake("features", "is empty")]),
    InvalidRequestError("distance", "far", "must be a number"),
    UnavailableError("store", "locked"),
    MissingExtraError("tuning", "tune"),
    InvalidDataError("data.query: gives no row"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"]
)
def test_error_arrives_whole(error: CapstanError, travel) -> None:
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_further_breaches_arrive_too() -> None:
    assert pickle.loads(pickle.dumps(BREACHES)).problems == BREACHES.problems


def test_a_request_error_lists_all_breaches_in_words_and_as_json() -> None:
    assert str(BREACHES) == 'distance: "far" must be a number; temp: is missing'
    assert BREACHES.document() == {
        "error": {"field": "distance", "value": "far", "rule": "must be a number"},
        "errors": [
            {"field": "distance", "value": "far", "rule": "must be a number"},
            {"field": "temp", "value": None, "rule": "is missing"},
        ],
    }


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        (None, None),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (b'{"a": 1}', '{"a": 1}'),
        (b"\x1f\x8b", "\x1f\ufffd"),
        ("\ud800", "\\ud800"),
        ({"a": 1}, "an object of 1"),
        ([1, 2], "a list of 2"),
        ("x" * 300, "x" * 80 + "… (300 characters)"),
    ],
    ids=repr,
)
def test_a_refused_value_is_quoted_as_json_never_as_python(value: object, quoted: object) -> None:
    error = InvalidRequestError("field", value, "is refused")
    assert error.value == quoted
    assert json.loads(json.dumps(error.document()))["error"]["value"] == quoted
    assert InvalidRequestError("field", error.value, "is refused").value == quoted

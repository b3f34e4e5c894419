"""Errors keep what they carry on their way out of a child process."""

from __future__ import annotations

import copy
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

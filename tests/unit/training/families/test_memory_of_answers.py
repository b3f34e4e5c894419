"""What a table of rows takes while it is answered does not grow with what a model holds for each row."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from capstan.spec.families import Candidate
from capstan.testing.lessons import lesson
from capstan.training.families import fit_model

ROWS = 60_000
WIDE: dict[str, dict[str, Any]] = {
    "supportVectorMachine": {"gamma": 50},
    "nearestNeighbors": {"neighbors": 200},
    "multilayerPerceptron": {"layers": [500], "epochs": 1},
}


@pytest.mark.parametrize("family", WIDE)
def test_a_large_table_is_answered_in_parts(family: str) -> None:
    """At once, 60,000 rows of 500 numbers each are 240 MB, several times over."""
    given = lesson("Category")
    model: Any = fit_model(Candidate.model_validate({"name": "one", family: WIDE[family]}), {}, given)
    table = np.tile(given.matrix, (ROWS // len(given.matrix), 1))
    tracemalloc.start()
    try:
        found = model.predict_proba(table)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 64 * 2**20
    np.testing.assert_allclose(found[-len(given.matrix) :], model.answers(given.matrix))

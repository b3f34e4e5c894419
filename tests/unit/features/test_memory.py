"""What a table of very many rows costs while it becomes a matrix."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from capstan.errors import InvalidDataError
from capstan.features import build_transform
from capstan.features.kinds.numeric import FittedNumeric
from capstan.spec.features import Feature

ROWS, COLUMNS = 200_000, 16


@pytest.mark.parametrize("learns", [False, True], ids=["serving", "training"])
def test_a_matrix_of_many_rows_is_not_held_twice(learns: bool) -> None:
    rng = np.random.default_rng(1)
    table = pa.table({f"x{index}": rng.random(ROWS) for index in range(COLUMNS)})
    features = [
        Feature.model_validate({"name": name, "numeric": {"scale": "ZScore"}}) for name in table.column_names
    ]
    transform = build_transform(features).fit(table)
    tracemalloc.start()
    try:
        matrix = transform.transform_training(table, None) if learns else transform.transform(table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert matrix.shape == (ROWS, COLUMNS)
    assert peak < 1.5 * matrix.nbytes
    by_column = [transform.part(index, index + 1).transform(table) for index in range(COLUMNS)]
    np.testing.assert_array_equal(matrix, np.concatenate(by_column, axis=1))


@pytest.mark.parametrize("columns", [0, 2])
def test_a_feature_that_gives_other_columns_than_its_names_is_refused(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    features = [Feature.model_validate({"name": name, "numeric": {}}) for name in table.column_names]
    transform = build_transform(features).fit(table)
    monkeypatch.setattr(FittedNumeric, "transform", lambda *_: np.zeros((2, columns)))
    with pytest.raises(InvalidDataError, match=rf"features\.x: transform gave {columns} columns for 1 names"):
        transform.transform_training(table, None)

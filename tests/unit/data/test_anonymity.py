"""How many rows are alike: k and l are those of a count by hand and of pandas, and a bound stops a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from capstan.data.anonymity import rows_alike
from capstan.errors import InvalidDataError
from capstan.spec.privacy import Anonymity

ROWS = pa.table(
    {
        "age": [30, 30, 30, 40, 40, None, None, 50],
        "zip": ["803", "803", "803", "804", "804", None, None, "805"],
        "ill": ["flu", "flu", "cold", "flu", "flu", "cold", None, "flu"],
    }
)


def asked(**more: Any) -> Anonymity:
    return Anonymity.model_validate({"by": ["age", "zip"], **more})


def test_rows_are_counted_in_groups_of_equal_values_and_missing_ones_are_a_group() -> None:
    found = rows_alike(ROWS, asked(k=2, sensitive=["ill"], l=2))
    assert (found.rows, found.groups, found.fewest, found.exposed) == (8, 4, 1, 1)
    # Two groups know one illness, and one knows one and a missing one.
    assert found.diversity == {"ill": 1}
    assert found.uniform == {"ill": 5}


def test_k_and_l_are_those_of_pandas() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": rng.choice([30.0, 40.0, np.nan], 500),
            "zip": rng.choice(["803", "804", "805"], 500),
            "ill": rng.choice(["flu", "cold", "cough", None], 500),
        }
    )
    found = rows_alike(pa.Table.from_pandas(frame), asked(sensitive=["ill"]))
    groups = frame.groupby(["age", "zip"], dropna=False)
    assert found.groups == groups.ngroups
    assert found.fewest == groups.size().min()
    assert found.diversity == {"ill": groups["ill"].nunique().min()}


def test_nan_and_a_missing_number_are_alike() -> None:
    table = pa.table({"age": pa.array([1.0, float("nan"), None]), "zip": ["a", "a", "a"]})
    assert rows_alike(table, asked()).groups == 2


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"k": 2}, r"1 of 8 rows have fewer than 2 alike in age, zip \(the fewest are 1\). Generalise"),
        (
            {"sensitive": ["ill"], "l": 2},
            r"5 of 8 rows are alike in age, zip with rows of fewer than 2 different values in ill \(the fewest are 1\)",
        ),
    ],
    ids=["k", "l"],
)
def test_too_few_alike_are_refused_without_a_value(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidDataError, match=problem) as told:
        rows_alike(ROWS, asked(**more)).require()
    assert not any(value in str(told.value) for value in ("803", "805", "flu", "cold"))


def test_a_table_that_keeps_the_bounds_passes_and_one_without_rows_does_not() -> None:
    rows_alike(ROWS.slice(0, 5), asked(k=2)).require()
    rows_alike(ROWS, asked(sensitive=["ill"])).require()
    with pytest.raises(InvalidDataError, match="the fewest are 0"):
        rows_alike(ROWS.slice(0, 0), asked(k=2)).require()

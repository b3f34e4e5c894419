"""A fitted model that a person trained elsewhere: it reads raw columns by their names, without Capstan's transform."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


class ImportedModel:
    """Gives a model its columns in the order in which it learnt them, as a data frame or as an array.

    It travels by pickle inside a Bento, so its name and attributes may not change.
    """

    def __init__(
        self,
        model: Any,
        columns: Sequence[str],
        numeric: Sequence[str],
        classes: Sequence[bool | str] | None,
        *,
        takes_names: bool,
    ) -> None:
        """`numeric`: columns that are numbers, missing as NaN; others are values as requests carry them.

        `classes`: the model's classes as the system's labels, in the model's order; None: it predicts numbers.
        `takes_names`: whether it learnt from a data frame; else it gets an array.
        """
        self.model = model
        self.columns = tuple(columns)
        self.numeric = frozenset(numeric)
        self.takes_names = takes_names
        if classes is not None:
            self.classes_ = list(classes)

    def predict(self, table: Any) -> Any:
        return self.model.predict(self._matrix(table))

    def predict_proba(self, table: Any) -> Any:
        return self.model.predict_proba(self._matrix(table))

    def _matrix(self, table: Any) -> Any:
        frame = as_frame(table, self.columns, self.numeric)
        return frame if self.takes_names else frame.to_numpy(dtype="float64")


def as_frame(table: Any, columns: Sequence[str], numeric: frozenset[str]) -> Any:
    """The columns of a table of Arrow or of a data frame as an imported model reads them.

    Numbers are floats with NaN where missing, others are values as requests carry them with None where missing.
    """
    import numpy as np
    import pandas as pd

    found = {}
    for name in columns:
        listed = table[name].to_pylist() if hasattr(table, "column_names") else table[name].tolist()
        values: Any = [_value(value) for value in listed]
        if name in numeric:
            values = np.array([math.nan if one is None else float(one) for one in values], dtype=np.float64)
        found[name] = pd.Series(values, dtype=np.float64 if name in numeric else object)
    return pd.DataFrame(found)


def _value(value: Any) -> Any:
    """As a request carries it."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(value)

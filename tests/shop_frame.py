"""A shop's orders, from which handed-over models learn."""

from __future__ import annotations

import numpy as np
import pandas as pd


def shop(rows: int) -> pd.DataFrame:
    """Always the same so many rows: two numbers, a text, and a label of each task."""
    rng = np.random.default_rng(5)
    weight, size = rng.uniform(1, 9, rows), rng.uniform(0, 1, rows)
    return pd.DataFrame(
        {
            "weight": weight.round(3),
            "size": size.round(3),
            "shop": rng.choice(["north", "south"], rows),
            "back": np.where(weight + rng.normal(size=rows) > 5, "yes", "no"),
            "kind": rng.choice(["a", "b", "c"], rows),
            "price": weight * 3 + rng.normal(size=rows),
        }
    )

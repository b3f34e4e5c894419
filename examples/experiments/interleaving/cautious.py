"""A ranker that learns nothing from a few days: each leaf of its trees holds at least so many flights."""

from __future__ import annotations

from sklearn.ensemble import HistGradientBoostingRegressor


def make(smallest_leaf: int = 2500) -> HistGradientBoostingRegressor:
    """With fewer than twice `smallest_leaf` flights no tree splits, and all flights have one score."""
    return HistGradientBoostingRegressor(
        max_iter=60, max_leaf_nodes=15, min_samples_leaf=smallest_leaf, early_stopping=False, random_state=7
    )

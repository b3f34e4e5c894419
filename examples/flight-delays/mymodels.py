"""A model of your own: any function that returns a scikit-learn classifier."""

from __future__ import annotations

from sklearn.tree import DecisionTreeClassifier


def make(smallest_leaf: int = 200, seed: int = 0) -> DecisionTreeClassifier:
    """One decision tree that a person could read; its leaves hold at least `smallest_leaf` flights."""
    return DecisionTreeClassifier(min_samples_leaf=smallest_leaf, max_depth=12, random_state=seed)

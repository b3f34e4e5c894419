"""From raw columns to a model's matrix, the same in training and in serving."""

from __future__ import annotations

from capstan.features.transform import FeatureTransform, as_columns, build_transform

__all__ = ["FeatureTransform", "as_columns", "build_transform"]

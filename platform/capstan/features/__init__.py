"""From raw columns to a model's matrix, the same in training and in serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capstan.features.transform import FeatureTransform, as_columns, build_transform

__all__ = ["FeatureTransform", "as_columns", "build_transform"]


def __getattr__(name: str) -> Any:
    # The transform imports scikit-learn, which costs seconds that those who only read columns need not pay.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from capstan.features import transform

    return getattr(transform, name)

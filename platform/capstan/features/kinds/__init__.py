"""Kinds of features: one module each, listed here; what a file may say of them is in `capstan.spec.features`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from capstan.features.kinds.categorical import CategoricalSettings, FittedCategorical
from capstan.features.kinds.custom import CustomSettings, FittedCustom
from capstan.features.kinds.hashing import FittedHashing, HashingSettings
from capstan.features.kinds.kind import FittedFeature, Kind, RowPlace
from capstan.features.kinds.numeric import FittedNumeric, NumericSettings

if TYPE_CHECKING:
    from capstan.spec.features import Feature

__all__ = [
    "KINDS",
    "CategoricalSettings",
    "CustomSettings",
    "FittedCategorical",
    "FittedCustom",
    "FittedFeature",
    "FittedHashing",
    "FittedNumeric",
    "HashingSettings",
    "Kind",
    "NumericSettings",
    "RowPlace",
    "unfitted",
]

KINDS: Mapping[str, type[Kind]] = {
    "numeric": NumericSettings,
    "categorical": CategoricalSettings,
    "custom": CustomSettings,
}
"""Key of a feature in the file -> its kind."""


def unfitted(feature: Feature) -> Kind:
    """The feature as the file says it."""
    return KINDS[feature.key].of(feature)

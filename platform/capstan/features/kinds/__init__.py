"""Kinds of features: one module each, listed here; what a file may say of them is in `capstan.spec.features`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capstan.features.kinds.categorical import CategoricalSettings, FittedCategorical
from capstan.features.kinds.custom import CustomSettings, FittedCustom
from capstan.features.kinds.date import DateSettings, FittedDate
from capstan.features.kinds.embedded import EmbeddedSettings, FittedEmbedded
from capstan.features.kinds.hashing import FittedHashing, HashingSettings
from capstan.features.kinds.image import FittedImage, ImageSettings
from capstan.features.kinds.kind import FittedFeature, Kind, RowPlace, Target
from capstan.features.kinds.numeric import FittedNumeric, NumericSettings
from capstan.features.kinds.target import FittedTarget, TargetSettings
from capstan.features.kinds.text import FittedText, TextSettings

if TYPE_CHECKING:
    from capstan.spec.features import Feature

__all__ = [
    "KINDS",
    "CategoricalSettings",
    "CustomSettings",
    "DateSettings",
    "EmbeddedSettings",
    "FittedCategorical",
    "FittedCustom",
    "FittedDate",
    "FittedEmbedded",
    "FittedFeature",
    "FittedHashing",
    "FittedImage",
    "FittedNumeric",
    "FittedTarget",
    "FittedText",
    "HashingSettings",
    "ImageSettings",
    "Kind",
    "NumericSettings",
    "RowPlace",
    "Target",
    "TargetSettings",
    "TextSettings",
    "categories_of",
    "fitted",
    "unfitted",
]

KINDS: Mapping[str, type[Kind]] = {
    "numeric": NumericSettings,
    "categorical": CategoricalSettings,
    "date": DateSettings,
    "text": TextSettings,
    "image": ImageSettings,
    "custom": CustomSettings,
}
"""Key of a feature in the file -> its kind."""


def unfitted(feature: Feature, zone: str = "UTC") -> Kind:
    """The feature as the file says it; `zone` is the file's, by whose clocks moments have parts."""
    kind = KINDS[feature.key].of(feature)
    return kind.in_zone(zone) if isinstance(kind, DateSettings) else kind


def fitted(kind: Kind, table_column: Any, target: Target | None) -> FittedFeature:
    """What the column teaches, with the labels of its rows where the kind learns from them; raises InvalidDataError."""
    if isinstance(kind, TargetSettings) and target is not None:
        return kind.fit_to(table_column, target)
    return kind.fit(table_column)


def categories_of(feature: Feature, table_column: Any) -> set[str | None]:
    """Those of the column that the feature tells apart; none where it takes whatever value."""
    kind = unfitted(feature)
    if isinstance(kind, TargetSettings):
        kind = kind.categories
    return set(kind.fit(table_column).known or ())

"""A kind of feature that is not there: the sign of a number."""

from __future__ import annotations

from members.toy import Edit, Toy

FEATURE_KIND = Toy(
    "feature kind",
    edits=(
        Edit(
            "platform/capstan/spec/features.py",
            "class CustomFeature(FeatureSettings, OwnCode):\n",
            '''class Sign(FeatureSettings):
    """Whether a number is above or below zero."""

    @property
    def reading(self) -> Reading:
        return "numeric"


''',
            before=True,
        ),
        Edit("platform/capstan/spec/features.py", '("numeric", "categorical", ', '"sign", '),
        Edit(
            "platform/capstan/spec/features.py",
            "    custom: CustomFeature | None = Field(\n",
            '    sign: Sign | None = Field(None, description="The sign.", examples=[{}])\n',
            before=True,
        ),
        Edit(
            "platform/capstan/features/kinds/__init__.py",
            "KINDS: Mapping[str, type[Kind]] = {\n",
            '    "sign": SignSettings,\n',
        ),
        Edit(
            "platform/capstan/features/kinds/__init__.py",
            "from capstan.features.kinds.numeric import FittedNumeric, NumericSettings\n",
            "from capstan.features.kinds.sign import SignSettings\n",
        ),
    ),
    new={
        "platform/capstan/features/kinds/sign.py": '''"""The sign of a number; 0 where it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.features.columns import Floats, numbers, type_of
from capstan.features.kinds.kind import RowPlace
from capstan.features.values import ColumnType, number

if TYPE_CHECKING:
    from capstan.spec.features import Feature


@dataclass(frozen=True)
class SignSettings:
    name: str
    column: str

    @classmethod
    def of(cls, feature: Feature) -> SignSettings:
        return cls(feature.name, feature.column)

    def kept_rows(self, table_column: Any) -> None:
        return None

    def fit(self, table_column: Any) -> FittedSign:
        return FittedSign(self, type_of(table_column))


@dataclass(frozen=True)
class FittedSign:
    settings: SignSettings
    type: ColumnType
    is_code = False
    is_one_hot = False
    known = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.settings.name,)

    def transform(self, table_column: Any) -> Floats:
        values = numbers(table_column, self.settings.column, self.type)
        return np.where(np.isnan(values), 0.0, np.sign(values)).reshape(-1, 1)

    def unseen(self, table_column: Any) -> int:
        return 0

    def row_source(self, place: RowPlace) -> list[str]:
        index = place.feature
        place.names.update({"number": number, f"type{index}": self.type})
        return [
            f" v = number(v, {self.settings.column!r}, type{index})",
            f" x{place.output} = 1.0 if v > 0 else -1.0 if v < 0 else 0.0",
        ]

    def narrower(self, table_column: Any, outputs: int) -> str:
        return ""
'''
    },
    check="""
from capstan.testing import check_feature_kind
check_feature_kind({"name": "x", "sign": {}})
""",
)

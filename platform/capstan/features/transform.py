"""The one transform that training fits and serving uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from capstan.errors import InvalidDataError
from capstan.features.columns import Floats, as_they_are, column_of, columns_of
from capstan.features.kinds import FittedFeature, FittedImage, FittedTarget, Kind, Target, fitted, unfitted
from capstan.features.kinds.categorical import FittedCategorical
from capstan.features.kinds.numeric import FittedNumeric
from capstan.features.mapped_matrix import empty_matrix

if TYPE_CHECKING:
    from capstan.spec.features import Feature


_FEW_ROWS = 10_000


class FeatureTransform(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Raw columns (an Arrow table, a pandas frame or a mapping of lists) -> a float64 matrix without missing values."""

    def __init__(self, settings: Sequence[Kind]) -> None:
        self.settings = settings

    def fit(self, table: Any, y: object = None) -> Self:
        """`y`: a Target, which target encodings learn from; whatever else scikit-learn hands over is not read."""
        target = y if isinstance(y, Target) else None
        self.features_: tuple[FittedFeature, ...] = tuple(
            fitted(setting, column_of(table, setting.column), target) for setting in self.settings
        )
        self.n_features_out_ = len(self.get_feature_names_out())
        return self

    def transform(self, table: Any) -> Floats:
        if len(column_of(table, self.columns[0])) > _FEW_ROWS:
            return self._filled(lambda feature: feature.transform(column_of(table, feature.settings.column)))
        blocks: list[Floats] = []
        for is_straight, found in groupby(self.features_, _is_straight):
            features = list(found)
            columns = [column_of(table, feature.settings.column) for feature in features]
            # Of few rows numpy's calls cost more than what they do; of many its copies would take memory.
            if is_straight and len(features) > 1:
                blocks.append(FittedNumeric.transform_straight(features, columns))  # type: ignore[arg-type]
            else:
                blocks += [
                    feature.transform(column) for feature, column in zip(features, columns, strict=True)
                ]
        return np.concatenate(blocks, axis=1)

    def transform_training(self, table: Any, target: Target | None) -> Floats:
        """The rows that were fitted on, as a model learns from them: no feature of a row is made of its own label."""

        def transformed(feature: FittedFeature) -> Floats:
            column = column_of(table, feature.settings.column)
            if isinstance(feature, FittedTarget) and target is not None:
                return feature.transform_out_of_fold(column, target)
            return feature.transform(column)

        return self._filled(transformed)

    def _filled(self, transformed: Callable[[FittedFeature], Floats]) -> Floats:
        """The matrix, made one feature after another, so that many rows are not held twice; a large one is mapped."""
        matrix: Floats | None = None
        begin = 0
        for feature in self.features_:
            block = transformed(feature)
            if block.shape[1] != len(feature.names):
                raise InvalidDataError(
                    f"features.{feature.settings.name}: transform gave {block.shape[1]} columns for "
                    f"{len(feature.names)} names; let the kind of the feature give one column for each name"
                )
            if matrix is None:
                matrix = empty_matrix(len(block), self.n_features_out_)
            matrix[:, begin : begin + block.shape[1]] = block
            begin += block.shape[1]
        assert matrix is not None, "a file has features"
        return matrix

    @classmethod
    def joined(cls, transforms: Sequence[FeatureTransform]) -> FeatureTransform:
        """One fitted transform whose matrix is those of the fitted `transforms`, side by side."""
        return cls._of(tuple(feature for one in transforms for feature in one.features_))

    def part(self, begin: int, end: int) -> FeatureTransform:
        """The fitted transform of these features alone."""
        return self._of(self.features_[begin:end])

    @classmethod
    def _of(cls, features: tuple[FittedFeature, ...]) -> FeatureTransform:
        made = cls(tuple(feature.settings for feature in features))
        made.features_ = features
        made.n_features_out_ = len(made.get_feature_names_out())
        return made

    def batch_rows(self, memory: int) -> int:
        """How many rows have a matrix of at most so many bytes; at least one."""
        return max(1, memory // (8 * self.n_features_out_))

    def widest(self) -> FittedFeature:
        """The feature with the most outputs."""
        return max(self.features_, key=lambda feature: len(feature.names))

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:  # noqa: ARG002
        return np.array([name for feature in self.features_ for name in feature.names], dtype=object)

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that are read, each once."""
        return tuple(dict.fromkeys(setting.column for setting in self.settings))

    @property
    def categorical_mask_(self) -> npt.NDArray[np.bool_]:
        """Which outputs are codes of categories; what HistGradientBoosting takes as `categorical_features`."""
        return np.array([feature.is_code for feature in self.features_ for _ in feature.names], dtype=bool)

    @property
    def images_(self) -> dict[str, tuple[int, tuple[int, int, int]]]:
        """Feature -> the first of the outputs that are its pixels, and their channels, height and width."""
        found, at = {}, 0
        for feature in self.features_:
            if isinstance(feature, FittedImage):
                found[feature.settings.name] = (at, feature.settings.shape)
            at += len(feature.names)
        return found

    @property
    def coded_mask_(self) -> npt.NDArray[np.bool_]:
        """The same with codes of however many categories; what a network may embed."""
        return np.array(
            [
                feature.is_code or (isinstance(feature, FittedCategorical) and feature.is_unordered_code)
                for feature in self.features_
                for _ in feature.names
            ],
            dtype=bool,
        )

    def complete_rows(self, table: Any) -> npt.NDArray[np.bool_]:
        """False for rows that `impute: DropRow` leaves out of training; needs no fit."""
        keep = np.ones(len(column_of(table, self.columns[0])), dtype=bool)
        dropping = []
        for setting in self.settings:
            kept = setting.kept_rows(column_of(table, setting.column))
            if kept is not None:
                dropping.append(setting)
                keep &= kept
        if not keep.any() and len(keep):
            names = ", ".join(setting.name for setting in dropping)
            raise InvalidDataError(
                f"features: impute DropRow of {names} leaves no row; impute Median instead"
            )
        return keep

    def count_unseen(self, table: Any) -> dict[str, int]:
        """Feature -> rows whose category is rare or absent in training, for the features that have any."""
        found = {
            feature.settings.name: feature.unseen(column_of(table, feature.settings.column))
            for feature in self.features_
        }
        return {name: count for name, count in found.items() if count}


def _is_straight(feature: FittedFeature) -> bool:
    return isinstance(feature, FittedNumeric) and feature.is_straight


def build_transform(features: Sequence[Feature], zone: str = "UTC") -> FeatureTransform:
    """The spec's features as an unfitted transform; `zone` is `data.timeZone`."""
    return FeatureTransform(tuple(unfitted(feature, zone) for feature in features))


def as_columns(
    rows: Sequence[Mapping[str, object]], names: Sequence[str]
) -> dict[str, npt.NDArray[np.object_]]:
    """Rows as the mapping of columns that the transform takes; what a row lacks is missing."""
    return (
        {name: as_they_are(values) for name, values in columns_of(rows, names).items()}
        if rows
        else {name: np.empty(0, dtype=object) for name in names}
    )

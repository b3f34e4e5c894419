"""Fitted models of one system behind one transform: each reads its own columns of the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from capstan.errors import CapstanError, InvalidDataError
from capstan.features.transform import FeatureTransform


@dataclass(frozen=True)
class PartModel:
    """One of several fitted models, and its place behind the common transform."""

    name: str
    model: Any
    features: tuple[int, int]
    """First of its features in the transform, and the one after its last."""
    columns: tuple[int, int]
    """The same of its columns in the matrix."""

    @contextmanager
    def told(self) -> Iterator[None]:
        """What the model raises says whose it is: an InvalidDataError."""
        try:
            yield
        except Exception as error:
            raise of_model(self.name, error) from error


@dataclass(frozen=True)
class SeveralModels:
    """The last step of a pipeline whose transform holds the features of all models, one model after the other."""

    parts: tuple[PartModel, ...]

    def matrix_of(self, part: PartModel, matrix: Any) -> Any:
        """What one model reads of the common matrix."""
        begin, end = part.columns
        return matrix[:, begin:end]


def in_one_pipeline(pipelines: Mapping[str, Any]) -> Any:
    """One scikit-learn pipeline of several, each of a fitted FeatureTransform and a fitted model, by model's name.

    A feature that two models read is computed for each as that one learnt it.
    """
    from sklearn.pipeline import Pipeline

    transforms = [pipeline.steps[0][1] for pipeline in pipelines.values()]
    parts, feature, column = [], 0, 0
    for (name, pipeline), transform in zip(pipelines.items(), transforms, strict=True):
        next_feature, next_column = feature + len(transform.features_), column + transform.n_features_out_
        parts.append(PartModel(name, pipeline.steps[-1][1], (feature, next_feature), (column, next_column)))
        feature, column = next_feature, next_column
    return Pipeline(
        [("transform", FeatureTransform.joined(transforms)), ("model", SeveralModels(tuple(parts)))]
    )


def of_model(name: str, error: Exception) -> InvalidDataError:
    """The same error, saying which of several models it is of."""
    text = str(error) if isinstance(error, CapstanError) else f"{type(error).__name__}: {error}"
    return InvalidDataError(f"model {name}: {text}")


def parts_of(pipeline: Any) -> dict[str, Any] | None:
    """The pipelines that were joined, by model's name; None for a pipeline of one model."""
    from sklearn.pipeline import Pipeline

    steps: Any = getattr(pipeline, "steps", None)
    model = steps[-1][1] if steps else None
    if not isinstance(model, SeveralModels):
        return None
    transform = steps[0][1]
    return {
        part.name: Pipeline([("transform", transform.part(*part.features)), ("model", part.model)])
        for part in model.parts
    }

"""A model of a person's own: whatever their factory makes, if it can be fitted, saved and served."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from capstan.errors import InvalidDataError
from capstan.spec.families import Custom
from capstan.tasks import task_with
from capstan.training.factories import call_factory
from capstan.training.families.family import NOTHING_TO_SEARCH, Fitted, Part, SearchSpace
from capstan.training.lesson import Lesson
from capstan.training.soundness import require_servable


class CustomFamily:
    """A factory's scikit-learn model."""

    settings = Custom
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: Custom, lesson: Lesson) -> Fitted:
        factory = settings.factory
        task = lesson.task or task_with(lesson.label)
        model = call_factory(factory, settings.parameters, seed=lesson.seed, method=task.method)
        arguments = _weighted(model, factory, lesson)
        try:
            fitted = model.fit(lesson.matrix, lesson.truth, **arguments)
        except Exception as error:
            raise InvalidDataError(f"{factory}: fit: {type(error).__name__}: {error}") from error
        if not callable(getattr(fitted, task.method, None)):
            raise InvalidDataError(
                f"{factory}: fit gave {type(fitted).__name__}; it must return the fitted model, `return self`"
            )
        require_servable(task, fitted, factory, lesson.matrix)
        known: Fitted = fitted
        return known

    def search_space(self, settings: Custom) -> SearchSpace:  # noqa: ARG002
        return NOTHING_TO_SEARCH


def _weighted(model: Any, factory: str, lesson: Lesson) -> Mapping[str, Any]:
    if lesson.weights is None:
        return {}
    try:
        taken = inspect.signature(model.fit).parameters
    except (TypeError, ValueError):
        taken = {}  # type: ignore[assignment]
    if "sample_weight" not in taken and not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        raise InvalidDataError(
            f"{factory}: fit of {type(model).__name__} takes no weights of rows; let it take `sample_weight`"
        )
    return {"sample_weight": lesson.weights}

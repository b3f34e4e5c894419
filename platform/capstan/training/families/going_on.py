"""What families that go on with a fitted model share: how much more they learn, and which models they go on with."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.training.lesson import Lesson


def more_rounds(lesson: Lesson, usual: int) -> int:
    """How many more trees or passes."""
    return max(1, usual) if lesson.rounds is None else lesson.rounds


def require_kind(parent: Any, kind: type, *, columns: int | None = None, inner: str = "") -> None:
    """Refuse a parent that is another kind of model, or one of other columns (of its attribute `inner`)."""
    if not isinstance(parent, kind):
        raise InvalidDataError(
            f"a {kind.__name__} goes on with one of its kind, and the model is a {type(parent).__name__}; train "
            "from all rows"
        )
    model = getattr(parent, inner) if inner else parent
    known = getattr(model, "n_features_in_", columns)
    if columns is not None and known != columns:
        raise InvalidDataError(
            f"the model reads {known} columns, and there are {columns}; train from all rows"
        )


def require_classes(lesson: Lesson, *, among: Any, all_of_them: bool = False) -> None:
    """Refuse rows of a class that the parent does not know; with `all_of_them` also rows that lack one of them."""
    found, known = set(np.unique(lesson.truth).tolist()), set(np.asarray(among).tolist())
    if new := sorted(found - known):
        raise InvalidDataError(
            f"the {len(lesson.truth):,} rows that came since have the class {new[0]!r}, which the model does not know; "
            "train from all rows"
        )
    if all_of_them and (lacking := sorted(known - found)):
        raise InvalidDataError(
            f"none of the {len(lesson.truth):,} rows that came since has the class {lacking[0]!r}, and more trees are "
            "grown from rows of all classes; wait for more rows, or train from all"
        )

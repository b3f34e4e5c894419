"""Fewer rows, for families whose cost grows faster than the number of rows."""

from __future__ import annotations

import warnings

import numpy as np

from capstan.training.lesson import Lesson


def thinned(lesson: Lesson, most: int, family: str) -> Lesson:
    """At most so many rows, evenly spread over all and so over time; a warning says what is left out."""
    rows = len(lesson.truth)
    if rows <= most:
        return lesson
    warnings.warn(
        f"{family} learns from {most:,} of {rows:,} rows, evenly spread; raise its `rows`, which takes longer, or take "
        "a family that learns from all",
        stacklevel=2,
    )
    return lesson.chosen(np.linspace(0, rows - 1, most).astype(np.int64))

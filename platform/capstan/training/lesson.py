"""What a family learns from: the matrix of the features with everything that is known about its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.spec.tasks import LabelKind
from capstan.tasks import Task
from capstan.tasks.metric import Floats, Groups, Truth


@dataclass(frozen=True)
class Rows:
    """Labelled rows after the transform."""

    matrix: Floats
    """(n, outputs of the transform), all finite."""
    truth: Truth
    groups: Groups | None = None
    """None: rows belong to no group."""
    weights: Floats | None = None
    """(n,); None: all rows count alike."""


@dataclass(frozen=True)
class Lesson(Rows):
    """Training rows, and what else a family may make use of."""

    label: LabelKind = "Boolean"
    """What the truth is; it decides which estimator a family makes."""
    task: Task | None = None
    """What the model's answers are judged by; None: the first task with such labels."""
    categorical: npt.NDArray[np.bool_] | None = None
    """(outputs of the transform,): which columns are codes of categories. None: none is."""
    seed: int = 0
    validation: Rows | None = None
    """Later rows, for a family that stops early by them; None where it learns from all there are."""
    parent: Any | None = None
    """The fitted model of the version that this one may start from; None: from nothing."""

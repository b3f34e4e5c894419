"""What a family of models is: a fitted model out of settings and a lesson, and where a search of settings may look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from capstan.spec.families import FamilySettings
from capstan.spec.tasks import LabelKind
from capstan.tasks.metric import Floats
from capstan.training.lesson import Lesson

SettingsT = TypeVar("SettingsT", bound=FamilySettings)
Value = float | int | str
Values = Mapping[str, Value]
"""Settings that a search may change, by their names in the file: `learningRate`, `iterations`, `leaves`."""
Part = Literal["weights", "groups", "parent"]
"""What a lesson may hold beside matrix and truth. Weights and a parent may not be overlooked; groups may, by a family
that learns each item by itself."""


class Fitted(Protocol):
    """A fitted model as scikit-learn has them.

    One that is fitted to classes has `classes_` and `predict_proba`, (n, classes) too. It travels by pickle: a library
    that has a format of its own says so in its model's `__getstate__`.
    """

    def predict(self, matrix: Floats) -> Any:
        """(n,) answers for (n, outputs of the transform)."""
        ...


@dataclass(frozen=True)
class Dimension:
    """One number that a search may change."""

    name: str
    """As in the file."""
    written: float | int
    """What the file says; the search begins there. A whole number stays whole."""
    low: float | int
    high: float | int
    is_logarithmic: bool = False

    @property
    def is_whole(self) -> bool:
        return isinstance(self.written, int)

    @property
    def ends(self) -> tuple[Value, Value]:
        """Two values that are as different as a search tries."""
        return self.low, self.high

    def has(self, value: Value) -> bool:
        """Whether a search may try it."""
        return not isinstance(value, str) and self.low <= value <= self.high

    def plain(self, value: Value) -> Value:
        """The value as it is after a trip through JSON that makes whole numbers floats."""
        return int(value) if self.is_whole else float(value)


@dataclass(frozen=True)
class Choice:
    """One of several texts that a search may take."""

    name: str
    """As in the file."""
    written: str
    choices: tuple[str, ...]

    @property
    def ends(self) -> tuple[Value, Value]:
        """Two values that are as different as a search tries."""
        return self.choices[0], self.choices[-1]

    def has(self, value: Value) -> bool:
        """Whether a search may try it."""
        return value in self.choices

    def plain(self, value: Value) -> Value:
        return str(value)


def around(
    name: str, written: float | int, *, factor: int, most: float = 1_000_000, least: int = 1
) -> Dimension:
    """A setting that is searched from a `factor`-th of what is written to `factor` times as much, by its logarithm.

    `least`: of a whole number.
    """
    if isinstance(written, int):
        return Dimension(name, written, max(least, written // factor), min(int(most), written * factor), True)
    return Dimension(name, written, written / factor, min(most, written * factor), is_logarithmic=True)


def penalty(name: str, written: float, *, factor: int, most: float, where_none: float) -> Dimension:
    """A penalty that is searched around what is written; where none is written, from 0 to `where_none`."""
    if written:
        return around(name, float(written), factor=factor, most=most)
    return Dimension(name, 0.0, 0.0, where_none)


@dataclass(frozen=True)
class SearchSpace:
    """Which settings are told with the fitted model, and whether better ones are searched."""

    dimensions: tuple[Dimension | Choice, ...] = ()
    trials: int = 0
    """How many settings are tried; 0: what is written is used."""

    @property
    def written(self) -> Values:
        return {dimension.name: dimension.written for dimension in self.dimensions}

    def plain(self, values: Values) -> Values:
        """The values as they are after a trip through JSON that makes whole numbers floats."""
        known = {dimension.name: dimension for dimension in self.dimensions}
        return {name: known[name].plain(value) for name, value in values.items()}


NOTHING_TO_SEARCH = SearchSpace()


class Family(Protocol[SettingsT]):
    """One kind of model that can be tried. The same lesson and number of threads give the same model, byte by byte."""

    settings: type[SettingsT]
    """Its part of the file's grammar, with the facts that hold whatever is written."""
    uses: frozenset[Part]
    """What of a lesson it makes use of; a lesson with more is refused, for nothing is overlooked in silence."""

    def fit(self, settings: SettingsT, lesson: Lesson) -> Fitted:
        """The fitted model; raises InvalidDataError. Libraries are imported here, not with the module."""
        ...

    def search_space(self, settings: SettingsT) -> SearchSpace: ...


Make = Callable[[SettingsT, Lesson], Any]
"""An unfitted estimator."""


class EstimatorFamily(Generic[SettingsT]):
    """A family whose estimators are fitted as scikit-learn's are: all that a member says is which one it makes."""

    settings: type[SettingsT]
    makes: Mapping[LabelKind, Make[SettingsT]]
    """Kind of label -> the estimator for it."""
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: SettingsT, lesson: Lesson) -> Fitted:
        estimator = self.makes[lesson.label](settings, lesson)
        weighted = {} if lesson.weights is None else {"sample_weight": lesson.weights}
        fitted: Fitted = estimator.fit(lesson.matrix, lesson.truth, **weighted)
        return fitted

    def search_space(self, settings: SettingsT) -> SearchSpace:  # noqa: ARG002 — nothing to search by default
        return NOTHING_TO_SEARCH

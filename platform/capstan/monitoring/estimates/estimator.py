"""How good a version's answers of a window probably are, by what was fitted on its test window.

Kept beside the model as `estimator.json`: the maps of probabilities or the trees of losses, what the rows looked like
that they were fitted on, and by how much days of the truth stray from days of the estimate. The interval is that of
the metric of a new window: with s the deviation of single days, D days behind the fit and w days in the window, its
standard error is s * sqrt(1/D + 1/w), from Student's t with D - 1 degrees of freedom. The first part is the error of
the fit, the second that of the window's sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy.special import stdtrit

from capstan.errors import InvalidDataError
from capstan.monitoring.estimates.maps import ProbabilityMap
from capstan.monitoring.estimates.seen import SeenColumn
from capstan.monitoring.estimates.trees import LossTrees
from capstan.tasks import Metric, Predictions, Task
from capstan.tasks.expected import Chances, evenly_spread, expected_value, said_chances
from capstan.tasks.metric import Floats

FILE = "estimator.json"
FORMAT = 1
CONFIDENCE = 0.95
"""Of the interval: of a hundred windows like those of the fit, 95 true values lie within."""


@dataclass(frozen=True)
class Guess:
    """The metric of a window without labels."""

    value: float | None
    """None: not defined on these rows."""
    standard_error: float | None
    """Of the true value about it; None: too few days behind the fit."""
    units: int
    """Days, or lots of rows, behind the fit."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true value of the window lies with 95 % confidence, if nothing changed but the inputs."""
        if self.value is None or self.standard_error is None:
            return None
        half = float(stdtrit(self.units - 1, 0.5 + CONFIDENCE / 2)) * self.standard_error
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Estimator:
    """What estimates one metric of one version."""

    metric: str
    seen: tuple[SeenColumn, ...]
    deviation: float | None
    """Of single days, or lots of rows: the truth beside the estimate; None: too few of them to tell."""
    units: int
    rows: int
    """Of the test window that it was fitted on."""
    days_per_unit: float = 1.0
    """Above 1 where a long test window has several days in a unit."""
    maps: Mapping[str, ProbabilityMap] | None = None
    """Of each class, by its name; None: the answers are no classes."""
    said: tuple[float, float] = (0.0, 1.0)
    """The least and the largest probability that the model gave to what it is asked for."""
    trees: LossTrees | None = None
    """None: the answers are classes."""
    why_not: str = ""
    """Why there is no estimate, and the way out; empty: there is one."""

    @property
    def needs_inputs(self) -> bool:
        """Whether a row's estimate is of its inputs, and not of its answer alone."""
        return self.trees is not None

    def guess(
        self,
        task: Task,
        metric: Metric,
        predictions: Predictions,
        *,
        inputs: Mapping[str, Floats] | None = None,
        days: float | None = None,
    ) -> Guess:
        """The metric of the rows of a window.

        `inputs`: each feature that was seen, as `SeenColumn.read` gives it. `days` of the window: no more are counted,
        however many rows they have; None: rows have no time.
        """
        value = self._value(task, metric, predictions, inputs or {})
        if not math.isfinite(value):
            return Guess(None, None, self.units)
        count = len(predictions) * self.units / max(1, self.rows)
        count = count if days is None else min(count, days / self.days_per_unit)
        error = None
        if self.deviation is not None and count > 0 and self.units > 1:
            error = self.deviation * math.sqrt(1 / self.units + 1 / count)
        return Guess(value, error, self.units)

    def _value(
        self, task: Task, metric: Metric, predictions: Predictions, inputs: Mapping[str, Floats]
    ) -> float:
        if not len(predictions):
            return math.nan
        if self.trees is not None and metric.mean_loss is not None:
            losses = self.trees.predict(matrix_of(self.seen, inputs, predictions, task))
            return metric.mean_loss.finish(float(losses.mean()))
        chances = None if self.maps is None else calibrated(task, predictions, self.maps)
        if chances is None:
            return math.nan
        some = evenly_spread(predictions, chances)
        return expected_value(metric, predictions.rows(some), Chances(chances.classes, chances.table[some]))

    def save(self, folder: Path) -> None:
        """Write it into a model folder; the same estimator gives the same bytes."""
        (folder / FILE).write_bytes(orjson.dumps(self.document()))

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Estimator:
        """As `document` told it; raises KeyError, TypeError or ValueError for anything else."""
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} is not {FORMAT}")
        maps, trees = document["maps"], document["trees"]
        return cls(
            metric=str(document["metric"]),
            seen=tuple(map(SeenColumn.of, document["seen"])),
            deviation=document["deviation"],
            units=int(document["units"]),
            rows=int(document["rows"]),
            days_per_unit=float(document["days_per_unit"]),
            maps=None if maps is None else {name: ProbabilityMap.of(one) for name, one in maps.items()},
            said=(float(document["said"][0]), float(document["said"][1])),
            trees=None if trees is None else LossTrees.of(trees),
            why_not=str(document["why_not"]),
        )


def load_estimator(model: Path) -> Estimator | None:
    """That of a model folder; None: its training left none. Raises InvalidDataError. Nothing in it is executed."""
    file = model / FILE
    if not file.is_file():
        return None
    try:
        return Estimator.of(orjson.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidDataError(f"{file}: cannot be read: {error}; train the model again") from error


def calibrated(task: Task, predictions: Predictions, maps: Mapping[str, ProbabilityMap]) -> Chances | None:
    """The chances of each row by the maps; those of a row make 1 together."""
    said = said_chances(task, predictions)
    if said is None:
        return None
    if len(said.classes) == 2 and said.classes == (True, False):
        so = maps[name_of(True)].apply(said.table[:, 0])
        return Chances(said.classes, np.stack([so, 1 - so], axis=1))
    as_it_is = ProbabilityMap("AsItIs")
    table = np.stack(
        [
            maps.get(name_of(one), as_it_is).apply(said.table[:, place])
            for place, one in enumerate(said.classes)
        ],
        axis=1,
    )
    return whole_chances(table, said)


def whole_chances(table: Floats, said: Chances) -> Chances:
    """The chances of each row, made 1 together; what was said of a row where all of its are 0."""
    sums = table.sum(axis=1, keepdims=True)
    return Chances(said.classes, np.where(sums > 0, table / np.where(sums > 0, sums, 1.0), said.table))


def name_of(one: bool | str) -> str:
    """A class as its map is called."""
    return one if isinstance(one, str) else str(one).lower()


def matrix_of(
    seen: tuple[SeenColumn, ...], inputs: Mapping[str, Floats], predictions: Predictions, task: Task
) -> Floats:
    """(n, columns): the inputs, a category that was not seen as a missing value, and the watched answers."""
    answers = [
        predictions[facts.name] for facts in task.facts.outputs if facts.is_watched and facts.kind == "Number"
    ]
    read = [
        inputs[one.feature]
        if one.is_number
        else np.where(inputs[one.feature] < 0, np.nan, inputs[one.feature])
        for one in seen
    ]
    found: Floats = np.column_stack([*read, *answers]).astype(np.float64)
    return found

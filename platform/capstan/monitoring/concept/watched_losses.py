"""What a version's losses are compared with, and one more window of them.

A detector of river holds its state in objects that only pickle can write. So no detector is kept: what is kept are the
values that it saw, fifty for each window, and each decision feeds a new detector with them. The same values give the
same decision, after a restart and in a replay too, and the monitor never loads a pickle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.files import write_whole
from capstan.monitoring.concept.detectors import FACTS, ConceptDetector, ConceptKind, made
from capstan.monitoring.concept.losses import LOTS, ends_of_lots, means_of_lots
from capstan.monitoring.windows import Concept, WindowOutcome
from capstan.tasks.metric import Floats

FILE, FORMAT = "concept.json", 1
MOST_KEPT = 2_600
"""Values since the version serves; those of a year of weeks. Of more the oldest are forgotten."""


@dataclass(frozen=True)
class LossReference:
    """Losses of the test window, and how strict the detector must be."""

    detector: ConceptKind
    metric: str
    """Whose losses they are."""
    lot: int
    """Losses that are one value, of a window with no more of them than a usual one."""
    values: tuple[float, ...]
    """Of the test window, in order."""
    level: float | None
    """The detector's own number; None: no level keeps to the budget, or it could not be told."""
    alarms: float | None = None
    """False alarms a month at the level, on days of the test drawn again."""
    why_not: str = ""
    """Why there is no level."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else float("nan")

    def begin(self) -> Stream:
        """A detector that has seen the test."""
        assert self.level is not None
        return Stream(self.detector, self.level, self.values)

    def save(self, folder: Path) -> None:
        """Write it into a model folder; raises DiskFullError."""
        document = {"format": FORMAT, **asdict(self)}
        write_whole(folder / FILE, orjson.dumps(document, option=orjson.OPT_INDENT_2), mode=0o644)

    @classmethod
    def of(cls, document: dict[str, Any]) -> LossReference:
        """As it was kept in JSON; raises ValueError, KeyError or TypeError."""
        if document["detector"] not in get_args(ConceptKind):
            raise ValueError(f"no detector is called {document['detector']!r}")
        fields = {name: value for name, value in document.items() if name != "format"}
        return cls(**{**fields, "values": tuple(map(float, document["values"]))})


class Stream:
    """One detector that is fed after the test's values."""

    def __init__(self, kind: ConceptKind, level: float, known: Sequence[float]) -> None:
        self._kind: ConceptKind = kind
        self._level = level
        self._mean = float(np.mean(known))
        self._known = tuple(known) if FACTS[kind].begins == "Values" else (self._mean,) * len(known)
        self._scaled = FACTS[kind].takes == "Deviation"
        self._deviation = float(np.std(known)) or 1.0
        self._detector = self._begun()

    def is_worse_after(self, value: float) -> bool:
        """Whether one more value tells a rise of the losses above the test's."""
        self._detector.update(self._as_fed(value))
        if not self._detector.drift_detected:
            return False
        if self._kind == "ADWIN" and float(self._detector.estimation) <= 0:  # type: ignore[attr-defined]
            # It tells a fall too, and forgets what was before; what it is to compare with is the test.
            self._detector = self._begun()
            return False
        return True

    def _begun(self) -> ConceptDetector:
        detector = made(self._kind, self._level, len(self._known))
        for value in self._known:
            detector.update(self._as_fed(value))
            if detector.drift_detected:
                # The test's own values are what is normal, whatever happened among them.
                detector = made(self._kind, self._level, len(self._known))
        return detector

    def _as_fed(self, value: float) -> float:
        return (value - self._mean) / self._deviation if self._scaled else value


def watch_losses(
    reference: LossReference, before: Concept | None, losses: Floats, moments: NDArray[np.int64]
) -> Concept:
    """What one more window of losses tells; `before`: what the last window with labels told, None: it is the first.

    A rise is told until the mean loss of a whole window is no longer above the test's. Then watching begins anew.
    """
    mean = float(losses.mean())
    found = Concept(reference.detector, reference.metric, loss=mean, reference=reference.mean)
    if before is not None and before.since is not None:
        if mean > reference.mean:
            return replace(found, outcome=WindowOutcome.BREACH, since=before.since)
        return replace(found, outcome=WindowOutcome.FINE)
    stream = reference.begin()
    kept = before.kept if before is not None else ()
    for value in kept:
        stream.is_worse_after(value)
    # More traffic than at the test makes larger lots and not more: the level is calibrated on so many values a window.
    lot = max(reference.lot, math.ceil(len(losses) / LOTS))
    values = means_of_lots(losses, lot)
    for value, end in zip(values, ends_of_lots(moments, lot), strict=True):
        if stream.is_worse_after(value):
            since = datetime.fromtimestamp(int(end) / 1e6, UTC)
            return replace(found, outcome=WindowOutcome.BREACH, since=since)
    return replace(found, outcome=WindowOutcome.FINE, kept=(*kept, *values)[-MOST_KEPT:])


def load_loss_reference(model: Path) -> LossReference | None:
    """What a training left in the model folder; None: nothing. Raises InvalidDataError."""
    path = model / FILE
    if not path.exists():
        return None
    try:
        document = orjson.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} is not {FORMAT}")
        return LossReference.of(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{path}: cannot be read: {error}; train the model again") from error

"""What the monitor asks of a window, and all that follows from a question.

A question is one module and one line in `QUESTIONS`. From what it answers here follow its gauges, its alert and the
rule behind it, its place in the status, on the page and in the monitor's checkpoint, and which trigger of the file
heeds it.
`capstan.testing.check_question` holds a member to this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from capstan.monitoring.estimates.record import Record
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import Gap, WindowOutcome
from capstan.spec import MLSystem

if TYPE_CHECKING:
    # The operator writes the rules of questions, and its image has no DuckDB.
    from capstan.recording.reading import PayloadReader

Kind = Literal["Drift", "Quality", "Rows"]
"""What is asked: a window of `Drift` closes with its time, one of `Quality` once its labels are in; `Rows` are those
that online detectors saw so far."""


@dataclass(frozen=True)
class AlertFacts:
    """The alert of a question."""

    name: str
    """CamelCase; its runbook is the page of this name."""
    severity: Literal["warning", "critical"]
    trigger: str
    """The rule of `retraining.triggers` that heeds it, such as `drift`; empty: it only tells a person."""


@dataclass(frozen=True)
class Answer:
    """What one window says."""

    outcome: WindowOutcome
    gap: Gap | None = None
    """Why there is no answer; None: there is one, or another question tells why."""
    besides: str = ""
    """What is not as it was though nobody asked for an alert of it, in words; empty: nothing."""


@dataclass(frozen=True)
class Reading:
    """One value for Prometheus."""

    metric: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    """Besides system and version."""


@dataclass(frozen=True)
class StoredRows:
    """Where a question finds the requests of a window, if what all questions share does not do."""

    reader: PayloadReader
    system: MLSystem
    version: str
    start: datetime
    end: datetime


class WindowQuestion(ABC):
    """One thing that is asked of each window."""

    name: ClassVar[str]
    """In lower case, such as `drift`; for people, the status and the checkpoint."""
    kind: ClassVar[Kind] = "Drift"
    alert: ClassVar[AlertFacts]
    tells_gaps: ClassVar[bool] = True
    """False: it lacks evidence exactly where another question does, which tells so."""

    @abstractmethod
    def ask(self, window: Any) -> Answer:
        """The answer to a DriftWindow, QualityWindow or OnlineDrift, by what was measured; always the same."""

    @abstractmethod
    def summary(self, text: AlertText) -> str:
        """Why the alert fires, as a template of Prometheus."""

    def measure(self, rows: StoredRows) -> Mapping[str, float]:  # noqa: ARG002
        """What it measures by itself in a drift window with rows enough; kept in `window.numbers` under its name.

        Finite numbers; the same stored rows give the same ones. Raises UnavailableError.
        """
        return {}

    def readings(self, window: Any) -> Iterable[Reading]:
        """What Prometheus is shown of the last window."""
        for number, value in getattr(window, "numbers", {}).get(self.name, {}).items():
            yield Reading(
                "capstan_window_number",
                "What a question measured in the last window",
                value,
                {"question": self.name, "number": number},
            )

    def is_asked(self, window: Any) -> bool:  # noqa: ARG002
        """Whether it is asked of this window at all; of None: while there is no window yet."""
        return True

    def is_believed(self, record: Record) -> bool:  # noqa: ARG002
        """Whether its breaches are an alert, by how often estimates were right."""
        return True

    def windows_needed(self, consecutive: int) -> int:
        """Breaches in a row that are an alert; `consecutive` is what the file says of drift."""
        return consecutive

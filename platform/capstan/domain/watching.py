"""What the monitor can say about a version: nothing found, or nothing seen, which must never look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from capstan.domain.versions import VersionName


@dataclass(frozen=True)
class QuestionStanding:
    """Whether a question that the monitor asks of each window last had an answer."""

    name: str
    """Such as `drift`, `predictions` or `quality`."""
    unjudged: int
    """Windows in a row, up to the last, that could not be judged; 0: the last one was."""
    reason: str = ""
    """CamelCase, of the last window: `TooFewRows`, `CoverageTooLow`, `NoReference`, …; empty: it was judged."""
    message: str = ""
    """Why, in words with numbers."""
    end: datetime | None = None
    """End of the last window that was closed for this question; None: none yet."""
    trigger: str = ""
    """The rule of the file that heeds its alert, such as `drift`; empty: none."""


@dataclass(frozen=True)
class Standing:
    """All questions about the watched version."""

    version: VersionName | None
    """None: nothing is watched yet."""
    questions: tuple[QuestionStanding, ...] = ()


def blind_spots(questions: Sequence[QuestionStanding]) -> str:
    """What could not be judged, in words; empty if all was, or no window has closed yet.

    Questions that fail for one reason are told together.
    """
    by_cause: dict[tuple[int, str], list[str]] = {}
    for question in questions:
        if question.unjudged:
            by_cause.setdefault((question.unjudged, question.message), []).append(question.name)
    return "; ".join(
        f"{_listed(names)} not judged in the last {'window' if count == 1 else f'{count} windows'}: {message}"
        for (count, message), names in by_cause.items()
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

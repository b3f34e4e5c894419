"""The model of the best trial so far, kept by the trials themselves: whoever takes that trial need not fit it again."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from capstan.training.cost import FitCost, size_of
from capstan.training.families import Values
from capstan.training.fitting import FittedCandidate
from capstan.training.search.trial import Trial


@dataclass(frozen=True)
class Kept:
    """What a trial has fitted on all rows: a model, or one for each fold."""

    of: str
    """Name of the trial's candidate."""
    values: Values
    """Of its search space."""
    fitted: Sequence[FittedCandidate]
    costs: Sequence[FitCost]
    bytes: int = 0
    """Of the last pipeline as it is saved where it was fitted; 0 until it is kept."""


class BestModel:
    """One for all trials of a search, in a folder that nobody else uses."""

    def __init__(self, folder: Path) -> None:
        self._lock, self._score, self._model = folder / "lock", folder / "score", folder / "model"

    def offer(self, score: float, kept: Kept) -> None:
        """Keep it if it is the first or better than what is kept; a model that can't be pickled is not kept.

        Called in the process of a trial; several may be there at once.
        """
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._score.exists() and not score > float(self._score.read_text()):
                return
            try:
                content = pickle.dumps(replace(kept, bytes=size_of(kept.fitted[-1].pipeline)), protocol=5)
            except Exception:
                # Whatever a person's own model raises here; where it is chosen, saving it tells.
                content = b""
            self._model.write_bytes(content)
            self._score.write_text(repr(score))

    def of_trial(self, trial: Trial) -> Kept | None:
        """What this trial has kept; None where that is another's or nothing: then it is to be fitted again."""
        content = self._model.read_bytes() if self._model.exists() else b""
        try:
            kept: Kept | None = pickle.loads(content) if content else None  # noqa: S301 — a trial wrote it
        except Exception:
            return None
        if kept is None or (kept.of, dict(kept.values)) != (trial.of, dict(trial.values)):
            return None
        return kept

"""What the step `fit` does where a candidate is searched, and what it says and keeps of that."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstan.spec.search_rules import SEARCHED_SHARE
from capstan.spec.tasks import MetricFacts
from capstan.tasks import Metric, Predictions
from capstan.training.cases import Cases
from capstan.training.job import Job
from capstan_pipelines.steps.learning import candidate_named, reweigh_by
from capstan_pipelines.steps.progress import Telling

if TYPE_CHECKING:
    from capstan.training.search import Found, Progress, Trial
    from capstan.training.search.best_model import Kept

_LIBRARIES = ("capstan-mlops", "scikit-learn", "optuna", "torch", "imbalanced-learn")
"""Those of which another release may fit another model; some are extras."""
STUDIES = "studies"
"""Folder of the run with a journal for each search, so that a run that is started again goes on with its trials."""


def searched(
    job: Job, name: str, metric: Metric, pairs: Sequence[tuple[Cases, Cases]], say: Telling
) -> tuple[Found, Kept | None]:
    """What a search for the candidate of this name in runs finds; raises InvalidDataError if no trial finished.

    Beside it stands what the best trial fitted; None: it is to be fitted again, as where an earlier run tried it.
    """
    from capstan.training.search import budget_of
    from capstan.training.search.best_model import BestModel
    from capstan.training.search.on_validation import search_candidate

    spec, (model, candidate) = job.system.spec, candidate_named(job, name)

    def score(judged: Cases, predictions: Predictions) -> float:
        return metric.facts.sign * metric.value(judged.truth, predictions, judged.groups, judged.weights)

    seconds = SEARCHED_SHARE * spec.training.fit_deadline.total_seconds()
    with tempfile.TemporaryDirectory(prefix="capstan-study-") as passing:
        best = BestModel(Path(passing))
        found = search_candidate(
            candidate,
            model.features,
            *pairs[0],
            seed=job.seed,
            score=score,
            budget=budget_of(candidate, seconds=seconds),
            threads=spec.training.threads,
            reweigh_by=reweigh_by(job),
            balance=spec.training.balance,
            others=spec.training.candidates,
            journal=_journal(job, name, Path(passing)),
            scored_by=_scored_by(job, metric),
            further=pairs[1:],
            best=best,
            tell=telling(say, metric.facts, of=name),
        )
        return found, None if found.best is None else best.of_trial(found.best)


def _journal(job: Job, name: str, passing: Path) -> Path:
    """In the run's folder, or in one that passes with the step where the run's can't be written to.

    A new run begins with the newest journal of the runs beside it: a search of the same rows goes on, any other is not
    bound to it and begins anew.
    """
    file, folder = f"{name.replace('/', '.')}.journal", job.folder / STUDIES
    try:
        folder.mkdir(exist_ok=True)
        if not os.access(folder, os.W_OK):
            folder = passing
        journal = folder / file
        if not journal.exists():
            others = job.folder.parent.glob(f"*/{STUDIES}/{file}")
            newest = max(others, key=lambda other: other.stat().st_mtime_ns, default=None)
            if newest is not None:
                shutil.copyfile(newest, journal)
    except OSError:
        return passing / file
    return journal


def _scored_by(job: Job, metric: Metric) -> str:
    """What a trial's score depends on beside rows and settings: the metric, own code, and the libraries that fit."""
    code = hashlib.blake2b(digest_size=16)
    for file in sorted(job.factories.rglob("*.py")) if job.factories.is_dir() else ():
        code.update(str(file.relative_to(job.factories)).encode() + b"\0" + file.read_bytes())
    versions = [f"{library} {_version(library)}" for library in _LIBRARIES]
    return ", ".join([metric.name, *versions, code.hexdigest()])


def telling(say: Telling, facts: MetricFacts, *, of: str) -> Callable[[Progress], None]:
    """What whoever watches the run reads after each trial."""

    def tell(progress: Progress) -> None:
        from capstan.training.search import TrialState

        parts = [f"trial {len(progress.ended)} of {progress.most}"]
        if progress.best is not None and progress.best.score is not None:
            by = "" if progress.best.of == of.rpartition("/")[2] else f" by {progress.best.of}"
            parts.append(f"best {facts.name} {facts.sign * progress.best.score:.4f}{by}")
        parts += [
            f"{count} {state.value}"
            for state in (TrialState.PRUNED, TrialState.FAILED)
            if (count := progress.of_state(state))
        ]
        if progress.seconds_left is not None and progress.seconds_left < _SOON_SECONDS:
            parts.append(f"{progress.seconds_left:.0f} s left")
        say(", ".join(parts))

    return tell


_SOON_SECONDS = 3600
"""From here on it is said how much time is left."""


def counted(found: Found) -> str:
    """How many trials ended in which way, in words."""
    from capstan.training.search import TrialState

    parts = [
        f"{count} {state.value}"
        for state in (TrialState.PRUNED, TrialState.FAILED, TrialState.CUT)
        if (count := len(found.of_state(state)))
    ]
    trials = len(found.trials)
    return f"{trials} trial{'s' * (trials != 1)}" + (f" ({', '.join(parts)})" if parts else "")


def search_document(found: Found, facts: MetricFacts) -> dict[str, Any]:
    """What the run keeps of a search, as JSON."""
    from capstan.training.search import TrialState

    best = found.best
    return {
        "trials": [_trial(trial, facts) for trial in found.trials],
        "best": None if best is None else best.number,
        "seconds": round(found.seconds, 3),
        "ended_by": found.ended_by,
        "repeated": found.repeated,
        "counts": {state.name.lower(): len(found.of_state(state)) for state in TrialState},
    }


def _trial(trial: Trial, facts: MetricFacts) -> Mapping[str, Any]:
    return {
        "number": trial.number,
        "written": trial.is_written,
        "of": trial.of,
        "settings": dict(trial.values),
        "state": trial.state.name.lower(),
        facts.name: None if trial.score is None else facts.sign * trial.score,
        "seconds": round(trial.seconds, 3),
        "why": trial.why,
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"

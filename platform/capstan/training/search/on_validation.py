"""A search as a training makes it: trials learn from the training rows and are judged on the validation rows."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.balance import Balance
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.tasks import Predictions
from capstan.tasks.metric import Floats
from capstan.training.cases import Cases
from capstan.training.cost import fit_cost
from capstan.training.families import Values, fit_model
from capstan.training.fitting import fitted_candidate
from capstan.training.lesson import Lesson
from capstan.training.preparing import prepare
from capstan.training.search.best_model import BestModel, Kept
from capstan.training.search.searching import Progress, search
from capstan.training.search.space import Budget, Searched, searched_of, values_of
from capstan.training.search.trial import Found, TrialState

Score = Callable[[Cases, Predictions], float]
"""Labelled rows and what a model says of them -> a number; higher is better."""
_MOST_REASONS = 3


def search_candidate(
    candidate: Candidate,
    features: Sequence[Feature],
    train: Cases,
    validation: Cases,
    *,
    seed: int,
    score: Score,
    budget: Budget,
    threads: int = 1,
    reweigh_by: Sequence[str] = (),
    others: Sequence[Candidate] = (),
    balance: Balance | None = None,
    journal: Path | None = None,
    scored_by: str = "",
    best: BestModel | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
    further: Sequence[tuple[Cases, Cases]] = (),
) -> Found:
    """Find the settings of the candidate that `score` best on `validation`.

    `further`: other rows to learn from and to judge on, as the folds of a cross-validation are; then the mean decides.
    `journal`: where trials are kept for a process that goes on after this one was ended, as long as rows, candidates,
    seed and `scored_by` (the name of what `score` computes) are the same; None: nowhere. `best` gets what the
    best trial fitted here; None: it is not kept. Raises InvalidDataError if no trial finished.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    searched = searched_of(candidate, others)
    with threadpool_limits(threads):
        task = train.task
        known, written = [], []
        for learns, judges in ((train, validation), *further):
            with fit_cost() as cost, warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                prepared = prepare(
                    features, learns, seed=seed, reweigh_by=reweigh_by, others=others, balance=balance
                )
            judged = prepared.transform.transform(judges.table)
            known.append((prepared.lesson, judged, judges))
            written.append((prepared, cost, raised))

        def attempt(one: Candidate, values: Values, share: float) -> float:
            scores, fitted, costs = [], [], []
            for (lesson, judged, judges), (prepared, of_rows, told_of_rows) in zip(
                known, written, strict=True
            ):
                with fit_cost() as of_fit, warnings.catch_warnings(record=True) as told_of_fit:
                    warnings.simplefilter("always")
                    model = fit_model(one, values, spread(lesson, share))
                said = task.predictions(task.scores(model, judged, rows=None), task.learnt(model))
                scores.append(score(judges, said))
                raised = [*told_of_rows, *told_of_fit]
                settings = values_of(candidate, one.name, values)
                fitted.append(
                    fitted_candidate(candidate.name, prepared, model, settings=settings, raised=raised)
                )
                costs.append(of_rows + of_fit)
            found = float(np.mean(scores))
            if best is not None and share == 1 and math.isfinite(found):
                best.offer(found, Kept(one.name, values, fitted, costs))
            return found

        found = search(
            searched,
            attempt,
            budget,
            seed=seed,
            journal=journal,
            bound_to=_fingerprint(known, searched, others, budget, scored_by),
            tell=tell,
        )
    if found.best is None:
        failed = found.of_state(TrialState.FAILED)
        reasons = list(dict.fromkeys(f"{trial.of}: {trial.why}" for trial in failed))
        more = (
            "" if len(reasons) <= _MOST_REASONS else f"\n  and {len(reasons) - _MOST_REASONS} other reasons"
        )
        listed = "".join(f"\n  {reason}" for reason in reasons[:_MOST_REASONS])
        raise InvalidDataError(f"none of the {len(found.trials)} trials finished:{listed}{more}")
    return found


def spread(lesson: Lesson, share: float) -> Lesson:
    """So large a share of the rows, evenly spread over all and so over time; of rankings whole groups."""
    if share >= 1:
        return lesson
    step = max(1, round(1 / share))
    if lesson.groups is not None:
        return lesson.chosen(lesson.groups % step == 0)
    return lesson.chosen(slice(None, None, step))


def _fingerprint(
    known: Sequence[tuple[Lesson, Floats, Cases]],
    searched: Sequence[Searched],
    others: Sequence[Candidate],
    budget: Budget,
    scored_by: str,
) -> str:
    """Equal where trials of another process are worth the same."""
    found = hashlib.blake2b(digest_size=16)
    arrays = (
        array
        for lesson, judged, judges in known
        for array in (
            *(lesson.matrix, lesson.truth, lesson.weights, lesson.groups, lesson.categorical, lesson.coded),
            *(judged, judges.truth, judges.weights),
        )
    )
    for array in arrays:
        if array is not None:
            plain = array.astype(str) if array.dtype == object else np.ascontiguousarray(array)
            found.update(repr((plain.shape, plain.dtype.str)).encode())
            found.update(plain.data if plain.size else b"")
        else:
            found.update(b"none")
    for one in searched:
        found.update(one.candidate.model_dump_json(by_alias=True).encode())
        found.update(repr(one.space.dimensions).encode())
    for member in _members(searched, others):
        found.update(member.model_dump_json(by_alias=True).encode())
    lesson = known[0][0]
    found.update(
        repr((lesson.seed, lesson.balance, lesson.flagged_share, budget.halving, scored_by)).encode()
    )
    return found.hexdigest()


def _members(searched: Sequence[Searched], others: Sequence[Candidate]) -> list[Candidate]:
    """Those that the searched ones are made of, and what these are made of."""
    names, found = [name for one in searched for name in one.candidate.chosen.made_of], []
    by_name = {one.name: one for one in others}
    while names:
        member = by_name.get(names.pop())
        if member is not None and member not in found:
            found.append(member)
            names += member.chosen.made_of
    return found

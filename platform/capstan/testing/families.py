"""The suite of families of models."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic.alias_generators import to_camel
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from capstan.spec.families import (
    ANOMALIES,
    CLUSTERS,
    LEARNT_WITHOUT_LABELS,
    Candidate,
    Custom,
    FamilySettings,
)
from capstan.spec.tasks import TASK_FACTS, LabelKind
from capstan.tasks.metric import Floats
from capstan.testing.conformance import Suite
from capstan.testing.lessons import chance_loss, lesson, loss
from capstan.training.families import (
    Choice,
    Dimension,
    Family,
    Fitted,
    Value,
    Values,
    fits_of,
    with_values,
)
from capstan.training.families.custom import CustomFamily
from capstan.training.lesson import Lesson, Rows

_DRAWN_SETTINGS, _DRAWN_BY = 3, 5
"""How many settings are drawn from the whole search space, and by which seed."""


def check_family(
    family: Family[Any] | str,
    settings: FamilySettings | None = None,
    *,
    task: str = "BinaryClassification",
    others: Mapping[LabelKind, Sequence[Candidate]] | None = None,
) -> None:
    """Fit the family to toy lessons of every label that it learns; raises NotConformingError with all broken rules.

    `family` may be `module:name` of a factory of your own, which is tried on labels of `task` alone. `settings`: one
    valid example; the grammar's defaults if left out. `others`: of each label what an ensemble is made of.
    """
    labels: Collection[LabelKind] | None = None
    if isinstance(family, str):
        labels = (TASK_FACTS[task].label,)
        family, settings = CustomFamily(), Custom(factory=family)
    if settings is None:
        settings = family.settings.model_validate({})
    suite = Suite(type(family).__name__ if not isinstance(settings, Custom) else settings.factory)
    with suite.rule("it learns some kind of label"):
        assert settings.learns, "`learns` of its settings is empty"
    # One thread as in training, and because those of a busy machine wait for each other.
    with threadpool_limits(1):
        for label in sorted(settings.learns if labels is None else labels):
            if not settings.means_something_for(label):
                continue
            given = replace(lesson(label, seed=7), candidates=fits_of((others or {}).get(label, ())))
            _check_label(suite, family, settings, given)
    suite.require()


def _check_label(suite: Suite, family: Family[Any], settings: FamilySettings, given: Lesson) -> None:
    label = given.label
    assert given.validation is not None
    before = given.matrix.copy(), given.truth.copy()
    answers: Floats | None = None
    with suite.rule(f"{label}: fit gives a model whose answers are sound"):
        fitted = family.fit(settings, given)
        answers = _answers(fitted, given.validation, label)
    if answers is None:
        return
    with suite.rule(f"{label}: fit leaves the lesson as it was"):
        assert np.array_equal(before[0], given.matrix), "the matrix is another afterwards"
        assert np.array_equal(before[1], given.truth), "the truth is another afterwards"
    with suite.rule(f"{label}: the same lesson gives the same bytes"):
        assert pickle.dumps(fitted) == pickle.dumps(family.fit(settings, given)), (
            "two fits differ; pass `lesson.seed` on"
        )
    with suite.rule(f"{label}: a model that was saved and loaded answers the same"):
        loaded = pickle.loads(pickle.dumps(fitted))  # noqa: S301 — our own bytes
        assert np.allclose(_answers(loaded, given.validation, label), answers), "it answers otherwise"
    if settings.is_baseline:
        with suite.rule(f"{label}: a baseline says the same of every row"):
            assert np.ptp(answers, axis=0).max() == 0, "its answers differ"
    else:
        with suite.rule(f"{label}: it learns more than labels tell without a column"):
            found = loss(given.validation, label, answers)
            chance = chance_loss(given.validation, label, given)
            assert found < 0.95 * chance, (
                f"its loss on later rows is {found:.3f}, by chance it is {chance:.3f}"
            )
    _check_parts(suite, family, settings, given, answers)
    _check_search(suite, family, settings, given)


def _check_parts(
    suite: Suite, family: Family[Any], settings: FamilySettings, given: Lesson, answers: Floats
) -> None:
    """What a family says that it uses makes a difference."""
    assert given.validation is not None
    label = given.label
    looks_at_nothing = settings.is_baseline and label in LEARNT_WITHOUT_LABELS
    if "weights" in family.uses and not looks_at_nothing:
        with suite.rule(f"{label}: `uses` says weights, so they make a difference"):
            weights = np.where(given.matrix[:, 0] > 0, 5.0, 0.2)
            weighted = _answers(
                family.fit(settings, replace(given, weights=weights)), given.validation, label
            )
            assert not np.allclose(weighted, answers), "rows of weight 5 and 0.2 give the model of equal rows"
    if label == "Relevance" and "groups" in family.uses:
        with suite.rule("Relevance: `uses` says groups, so they make a difference"):
            regrouped = replace(given, groups=np.arange(len(given.truth)) % 7)
            assert not np.allclose(
                _answers(family.fit(settings, regrouped), given.validation, label), answers
            ), "rows in other groups give the same model"
    if "parent" in family.uses and not settings.anew:
        _check_parent(suite, family, settings, given, answers)


def _check_parent(
    suite: Suite, family: Family[Any], settings: FamilySettings, given: Lesson, answers: Floats
) -> None:
    assert given.validation is not None
    label = given.label
    parent: Fitted | None = None
    with suite.rule(f"{label}: `uses` says parent, so it makes a difference"):
        # The labels of other rows: what it learnt before differs from what the lesson says.
        parent = family.fit(settings, replace(given, truth=given.truth[::-1].copy()))
        before, going_on = pickle.dumps(parent), replace(given, parent=parent)
        child = _answers(family.fit(settings, going_on), given.validation, label)
        assert not np.allclose(child, answers), "a model that starts from another is that of none"
        assert not np.allclose(child, _answers(parent, given.validation, label)), (
            "a model that goes on is the one that it starts from"
        )
        assert loss(given.validation, label, child) < loss(
            given.validation, label, _answers(parent, given.validation, label)
        ), "a model that goes on has not learnt from the new rows"
    if parent is None:
        return
    with suite.rule(f"{label}: a parent stays as it was, and the same parent and lesson give the same bytes"):
        first, second = family.fit(settings, going_on), family.fit(settings, going_on)
        assert pickle.dumps(parent) == before, "the parent is another afterwards"
        assert pickle.dumps(first) == pickle.dumps(second), "two fits differ; pass `lesson.seed` on"
        loaded = pickle.loads(pickle.dumps(first))  # noqa: S301 — our own bytes
        assert np.allclose(
            _answers(loaded, given.validation, label), _answers(first, given.validation, label)
        ), "it answers otherwise after it was saved"


def _check_search(suite: Suite, family: Family[Any], settings: FamilySettings, given: Lesson) -> None:
    assert given.validation is not None
    dimensions: Sequence[Dimension | Choice] = ()
    with suite.rule("search_space lies around what is written"):
        dimensions = family.search_space(settings).dimensions
        names = {field.alias or name for name, field in type(settings).model_fields.items()}
        for dimension in dimensions:
            assert dimension.name in names, f"{dimension.name!r} is no setting; settings are {sorted(names)}"
            assert dimension.has(dimension.written), (
                f"{dimension.name}: {dimension.written!r} is outside {dimension.ends[0]} to {dimension.ends[1]}"
            )
    with suite.rule("`searched` of its settings names what search_space changes"):
        told = {to_camel(name) for name in settings.searched}
        changed = {dimension.name for dimension in dimensions}
        assert changed <= told, (
            f"search_space changes {sorted(changed - told)}, which `searched` does not name"
        )
        assert bool(changed) == bool(told), (
            f"search_space changes nothing, and `searched` names {sorted(told)}"
        )
    for dimension in dimensions:
        with suite.rule(f"{given.label}: a search of {dimension.name} tries different models"):
            first, second = (
                _tried(family, settings, {dimension.name: value}, given) for value in dimension.ends
            )
            assert first.shape != second.shape or not np.allclose(first, second), (
                f"{dimension.ends[0]} and {dimension.ends[1]} give the same model"
            )
    if not dimensions:
        return
    rng = np.random.default_rng(_DRAWN_BY)
    for _ in range(_DRAWN_SETTINGS):
        values = {dimension.name: _drawn(dimension, rng) for dimension in dimensions}
        told_values = ", ".join(f"{name} {value}" for name, value in values.items())
        with suite.rule(f"{given.label}: what a search may draw can be fitted: {told_values}"):
            _tried(family, settings, values, given)


def _tried(family: Family[Any], settings: FamilySettings, values: Values, given: Lesson) -> Floats:
    """Sound answers of a model with these values, which the grammar of the family takes."""
    assert given.validation is not None
    changed = with_values(settings, values)
    type(settings).model_validate(changed.model_dump(mode="json"))
    return _answers(family.fit(changed, given), given.validation, given.label)


def _drawn(dimension: Dimension | Choice, rng: np.random.Generator) -> Value:
    """Any value of the dimension."""
    if isinstance(dimension, Choice):
        return str(rng.choice(dimension.choices))
    low, high = float(dimension.low), float(dimension.high)
    if dimension.is_logarithmic:
        drawn = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    else:
        drawn = float(rng.uniform(low, high))
    drawn = min(max(drawn, low), high)
    return round(drawn) if dimension.is_whole else drawn


def _answers(fitted: Fitted, rows: Rows, label: LabelKind) -> Floats:
    """Probabilities, (n, classes), of a classifier; else (n,) numbers."""
    model: Any = fitted
    if label in ("Boolean", "Category"):
        classes = np.unique(rows.truth).tolist()
        assert [type(classes[0])(one) for one in model.classes_] == classes, (
            f"classes_ is {model.classes_!r}, the labels are {classes}"
        )
        answers = np.asarray(model.predict_proba(rows.matrix), dtype=np.float64)
        assert answers.shape == (len(rows.truth), len(classes)), f"predict_proba gave shape {answers.shape}"
        assert ((answers >= 0) & (answers <= 1)).all(), "a probability is not between 0 and 1"
        assert np.allclose(answers.sum(axis=1), 1, atol=1e-3), "probabilities of a row do not make 1"
        return answers
    if label in CLUSTERS:
        distances = np.asarray(model.transform(rows.matrix), dtype=np.float64)
        assert distances.shape == (len(rows.truth), len(model.cluster_centers_)), (
            f"transform gave shape {distances.shape} for {len(model.cluster_centers_)} centres"
        )
        assert (np.isfinite(distances) & (distances >= 0)).all(), (
            "a distance is not a finite number of at least 0"
        )
        return distances
    asked = model.score_samples if label in ANOMALIES else model.predict
    answers = np.asarray(asked(rows.matrix), dtype=np.float64)
    assert answers.shape == (len(rows.truth),), f"predict gave shape {answers.shape}"
    assert np.isfinite(answers).all(), "an answer is not finite"
    return answers

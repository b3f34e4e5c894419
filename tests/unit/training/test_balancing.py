"""Balanced rows are those of imbalanced-learn, only what learns is touched, and probabilities are brought back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from imblearn.over_sampling import SMOTE, SMOTENC, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.balance import Balance
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.tasks import task_named
from capstan.training import balancing
from capstan.training.balancing import balanced, planned
from capstan.training.cases import Cases
from capstan.training.families import fit_model, fits_of
from capstan.training.fitting import fit_candidate
from capstan.training.lesson import Lesson


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of several tests would wait for each other."""
    with threadpool_limits(1):
        yield


RNG = np.random.default_rng(4)
ROWS = 3000
MATRIX = np.column_stack([RNG.normal(size=(ROWS, 3)), RNG.integers(0, 4, ROWS)]).astype(np.float64)
ODDS = np.exp(-3.4 + 1.2 * MATRIX[:, 0] - 0.8 * MATRIX[:, 1])
CHANCE = ODDS / (1 + ODDS)
TRUTH = RNG.random(ROWS) < CHANCE


def lesson(method: str = "Oversample", **given: Any) -> Lesson:
    return Lesson(MATRIX, TRUTH, seed=3, balance=Balance(method=method, **given))  # type: ignore[arg-type]


SMALL = {"randomForest": {"trees": 10}, "gradientBoosting": {"iterations": 15}}


def candidate(family: str, **settings: Any) -> Candidate:
    return Candidate.model_validate({"name": "one", family: SMALL.get(family, {}) | settings})


def rows(matrix: Any, truth: Any) -> list[tuple[float, ...]]:
    return sorted(map(tuple, np.column_stack([matrix, truth]).tolist()))


@pytest.mark.parametrize("ratio", [1.0, 0.4])
@pytest.mark.parametrize("method", ["Undersample", "Oversample", "SMOTE"])
def test_rows_are_those_of_imbalanced_learn(method: str, ratio: float) -> None:
    theirs = {"Undersample": RandomUnderSampler, "Oversample": RandomOverSampler, "SMOTE": SMOTE}[method]
    expected, labels = theirs(sampling_strategy=ratio, random_state=3).fit_resample(MATRIX, TRUTH)
    found = balanced(lesson(method, ratio=ratio))
    assert rows(found.matrix, found.truth) == rows(expected, labels)
    assert (
        np.bincount(found.truth).tolist()
        == planned(TRUTH, Balance(method=method, ratio=ratio)).after.tolist()
    )  # type: ignore[arg-type]


def test_codes_of_categories_are_taken_from_neighbours_as_imbalanced_learn_does() -> None:
    coded = np.array([False, False, False, True])
    found = balanced(replace(lesson("SMOTE"), categorical=coded))
    expected, labels = SMOTENC([3], random_state=3).fit_resample(MATRIX, TRUTH)
    assert rows(found.matrix, found.truth) == rows(expected, labels)
    assert set(found.matrix[:, 3]) == {0, 1, 2, 3}


def test_each_rarer_class_of_several_is_raised() -> None:
    bands = np.repeat(["a", "b", "c"], [60, 30, 10])
    given = Lesson(MATRIX[:100], bands, label="Category", balance=Balance(method="Oversample", ratio=0.5))
    assert np.unique(balanced(given).truth, return_counts=True)[1].tolist() == [60, 30, 30]
    fewer = replace(given, balance=Balance(method="Undersample", ratio=0.5))
    assert np.unique(balanced(fewer).truth, return_counts=True)[1].tolist() == [20, 20, 10]


def elkan(said: np.ndarray, learnt: float, true: float) -> np.ndarray:
    """Theorem 2 of Elkan 2001, as it stands there."""
    return np.asarray(true * (said - said * learnt) / (learnt - said * learnt + true * said - true * learnt))


@pytest.mark.parametrize(
    "family", ["logisticRegression", "gradientBoosting", "randomForest", "naiveBayes", "decisionTree"]
)
@pytest.mark.parametrize("method", ["Undersample", "Oversample", "SMOTE"])
def test_probabilities_are_brought_back_by_elkans_formula(family: str, method: str) -> None:
    raw = fit_model(candidate(family), {}, lesson(method, correct=False)).predict_proba(MATRIX)[:, 1]  # type: ignore[attr-defined]
    mended = fit_model(candidate(family), {}, lesson(method)).predict_proba(MATRIX)[:, 1]  # type: ignore[attr-defined]
    learnt = balanced(lesson(method)).truth.mean()
    assert mended == pytest.approx(elkan(raw, learnt, TRUTH.mean()), abs=1e-9)
    assert raw.mean() > 2 * TRUTH.mean(), "far above the share of the rare class"
    if family == "logisticRegression":
        assert mended.mean() == pytest.approx(TRUTH.mean(), abs=0.02)
        assert log_loss(TRUTH, mended) < log_loss(TRUTH, raw)
        assert roc_auc_score(TRUTH, mended) == pytest.approx(roc_auc_score(TRUTH, raw))


def test_probabilities_of_several_classes_are_brought_back_too() -> None:
    bands = np.where(TRUTH, "rare", np.where(MATRIX[:, 2] > 0, "high", "low"))
    given = Lesson(MATRIX, bands, label="Category", balance=Balance(method="Oversample"))
    for family in ("logisticRegression", "gradientBoosting", "randomForest"):
        raw = fit_model(
            candidate(family), {}, replace(given, balance=Balance(method="Oversample", correct=False))
        ).predict_proba(MATRIX)  # type: ignore[attr-defined]
        expected = raw * planned(bands, Balance(method="Oversample")).factors
        found = fit_model(candidate(family), {}, given).predict_proba(MATRIX)  # type: ignore[attr-defined]
        assert found == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-9)


def test_rows_that_stop_early_are_as_they_came_and_no_copy_of_one_is_learnt_from() -> None:
    older, newest = balanced(lesson("Oversample")).without_newest(0.2)
    expected = lesson().without_newest(0.2)[1]
    assert np.array_equal(newest.matrix, expected.matrix)
    assert not set(map(tuple, older.matrix)) & set(map(tuple, newest.matrix))
    assert older.truth.mean() == 0.5
    assert newest.weights is not None
    of_rare = newest.weights[newest.truth][0] / newest.weights[~newest.truth][0]
    share = lesson().without_newest(0.2)[0].truth.mean()
    assert of_rare == pytest.approx((1 - share) / share), (
        "as many as of the others, as in the rows that it learns from"
    )


def test_members_of_an_ensemble_balance_their_own_rows() -> None:
    """A copy that one part of the rows has and another too would tell a last model what its members know by heart."""
    seen: list[Lesson] = []

    def member(one: Lesson) -> Any:
        seen.append(one)
        return fit_model(candidate("logisticRegression"), {}, one)

    whole = replace(lesson("Oversample"), candidates={"line": member, "other": member})
    fit_model(
        Candidate.model_validate({"name": "stack", "stacking": {"of": ["line", "other"], "folds": 2}}),
        {},
        whole,
    )
    assert [len(one.truth) for one in seen] == [1000, 1000, 2000, 2000, 3000, 3000]
    assert all(one.unbalanced is None for one in seen)
    assert fits_of(()) == {}


FEATURE = Feature.model_validate({"name": "size", "numeric": {}})


def cases() -> Cases:
    return Cases(task_named("BinaryClassification"), pa.table({"size": MATRIX[:, 0]}), TRUTH)


def test_a_fit_tells_rows_before_and_after_and_what_its_probabilities_are() -> None:
    rare = int(TRUTH.sum())
    said = fit_candidate(
        candidate("logisticRegression"), [FEATURE], cases(), seed=0, balance=Balance(method="Undersample")
    ).warnings
    assert said[0] == (
        f"training.balance: Undersample: 3,000 rows become {2 * rare:,} (False {3000 - rare:,} -> {rare:,}, True "
        f"{rare:,} -> {rare:,}); probabilities are brought back to the classes' own shares (Elkan 2001)"
    )
    raw = Balance(method="Oversample", correct=False)
    said = fit_candidate(candidate("logisticRegression"), [FEATURE], cases(), seed=0, balance=raw).warnings
    assert said[0].endswith("too high for a rare one (`correct: false`)")


def test_too_few_rows_for_smote_are_refused_with_the_way_out() -> None:
    few = np.zeros(100, dtype=np.bool_)
    few[:4] = True
    with pytest.raises(
        InvalidDataError, match=r"balance.neighbors: SMOTE looks for 5 .* True has 4 rows .* fewer than 4"
    ):
        balanced(Lesson(MATRIX[:100], few, balance=Balance(method="SMOTE")))
    with pytest.raises(InvalidDataError, match="no feature is a number; write Oversample"):
        balanced(replace(lesson("SMOTE"), categorical=np.ones(4, dtype=np.bool_)))


def test_without_imbalanced_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancing, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"training.balance needs the extra 'balance'"):
        balanced(lesson())


def test_effective_numbers_are_those_of_the_paper() -> None:
    weights: list[Any] = []
    given = replace(lesson(), balance=None)
    for word in ("Balanced", "EffectiveNumber"):
        fitted = fit_model(candidate("logisticRegression", classWeights=word), {}, given)
        weights.append(fitted.predict_proba(MATRIX)[:, 1].mean())  # type: ignore[attr-defined]
    plain = fit_model(candidate("logisticRegression"), {}, given).predict_proba(MATRIX)[:, 1].mean()  # type: ignore[attr-defined]
    from capstan.training.families import _weighed

    found = _weighed(candidate("logisticRegression", classWeights="EffectiveNumber").chosen, given).weights
    assert found is not None
    counts = np.bincount(TRUTH)
    expected = (1 - 0.999) / (1 - 0.999**counts)
    assert found[TRUTH][0] / found[~TRUTH][0] == pytest.approx(expected[1] / expected[0])
    assert plain < weights[1] < weights[0], "it counts rare rows more, and less than Balanced"


def test_codes_of_very_many_categories_are_taken_from_neighbours_too() -> None:
    many = np.column_stack([MATRIX[:, 0], RNG.integers(0, 300, ROWS)]).astype(np.float64)
    coded = np.array([False, True])
    made = balanced(replace(lesson("SMOTE"), matrix=many, categorical=np.array([False, False]), coded=coded))
    assert set(made.matrix[:, 1]) <= set(many[:, 1])


@pytest.mark.parametrize("method", ["SMOTE", "Oversample", "Undersample"])
def test_a_machine_finds_its_probabilities_on_rows_as_they_came(method: str) -> None:
    fitted = fit_model(candidate("supportVectorMachine", kernel="Linear"), {}, lesson(method))
    assert fitted.predict_proba(MATRIX)[:, 1].mean() == pytest.approx(TRUTH.mean(), abs=0.015)


def test_a_perceptron_counts_its_passes_on_columns_made_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    from capstan.training.families import multilayer_perceptron

    def loss(model: Any, newest: Lesson) -> float:
        seen.append(newest.matrix.mean(axis=0))
        return 1.0 / len(seen)

    monkeypatch.setattr(multilayer_perceptron, "_loss", loss)
    shifted = replace(lesson(), matrix=MATRIX + 5000.0)
    settings = {"epochs": 2, "layers": [2], "earlyStopping": {}}
    fit_model(candidate("multilayerPerceptron", **settings), {}, shifted)
    assert np.abs(seen[0]).max() < 1

"""Trees, forests and boosted trees: each setting changes the model in the way that it says."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import ndcg_score
from threadpoolctl import threadpool_limits

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.tasks import LabelKind
from capstan.testing.lessons import lesson, loss
from capstan.training.families import fit_model
from capstan.training.families.boosting_losses import Focal, Huber, Order
from capstan.training.lesson import Lesson


def fitted(given: Lesson, family: str, **settings: Any) -> Any:
    candidate = Candidate.model_validate({"name": "one", family: settings})
    with threadpool_limits(1):
        return fit_model(candidate, {}, given)


@pytest.mark.parametrize("family", ["decisionTree", "randomForest"])
@pytest.mark.parametrize("label", ["Boolean", "Category", "Number", "Relevance"])
def test_one_row_through_the_trees_has_the_bits_of_the_table(family: str, label: LabelKind) -> None:
    given = lesson(label)
    assert given.validation is not None
    model = fitted(given, family, leafRows=3, **({"trees": 13} if family == "randomForest" else {}))
    rows = np.vstack([given.validation.matrix, np.full((1, 4), 1e300), np.full((1, 4), -1e300)])
    # Floats of 64 bits that lie between two of 32, next to a threshold.
    near = np.clip(given.matrix.astype(np.float32), -1e30, 1e30) * (1 + 2.0**-25)
    rows = np.vstack([rows, np.nextafter(rows, np.inf), near])
    saved = pickle.dumps(model)
    table = model.predict_proba(rows) if label in ("Boolean", "Category") else model.predict(rows)
    assert np.array_equal([model.answer_one(row) for row in rows], table)
    assert pickle.dumps(model) == saved, "what is kept for single rows is not saved"
    assert pickle.loads(saved).answer_one(rows[0]) == model.answer_one(rows[0])


def test_the_depth_of_a_tree_is_at_most_what_is_written_and_small_leaves_are_not_made() -> None:
    given = lesson("Boolean")
    for depth in (1, 3):
        assert fitted(given, "decisionTree", maxDepth=depth, leafRows=1).model.get_depth() == depth
        forest = fitted(given, "randomForest", maxDepth=depth, leafRows=1, trees=5).model
        assert [tree.get_depth() for tree in forest.estimators_] == [depth] * 5
    tree = fitted(given, "decisionTree", maxDepth=20, leafRows=100).model.tree_
    assert tree.n_node_samples[tree.children_left < 0].min() >= 100


def test_pruning_cuts_branches_off() -> None:
    given = lesson("Boolean")
    leaves = [fitted(given, "decisionTree", pruning=cut).model.get_n_leaves() for cut in (0, 0.005, 1)]
    assert leaves[0] > leaves[1] > leaves[2] == 1


@pytest.mark.parametrize(("label", "cut"), [("Boolean", 0.005), ("Number", 0.05)])
def test_a_pruned_forest_is_scikit_learns_and_smaller_when_saved(label: LabelKind, cut: float) -> None:
    given = lesson(label)
    whole = fitted(given, "randomForest", trees=10)
    pruned = fitted(given, "randomForest", trees=10, pruning=cut)
    assert len(pickle.dumps(pruned)) < 0.7 * len(pickle.dumps(whole))
    make = RandomForestClassifier if label == "Boolean" else RandomForestRegressor
    by_hand: Any = make(
        10, max_depth=16, min_samples_leaf=5, max_features=0.33, ccp_alpha=cut, random_state=given.seed
    ).fit(given.matrix, given.truth)
    answers = "predict_proba" if label == "Boolean" else "predict"
    said = getattr(pruned, answers)(given.matrix)
    np.testing.assert_array_equal(said, getattr(by_hand, answers)(given.matrix))
    assert np.array_equal([pruned.answer_one(row) for row in given.matrix], said)


def test_trees_that_are_added_to_a_pruned_forest_are_pruned_too() -> None:
    given = lesson("Boolean")
    parent = fitted(given, "randomForest", trees=5)
    leaves = []
    for pruning in (0.0, 0.01):
        more = fitted(replace(given, parent=parent), "randomForest", trees=25, pruning=pruning).model
        leaves.append(np.mean([tree.get_n_leaves() for tree in more.estimators_[5:]]))
    assert leaves[1] < 0.5 * leaves[0]


def test_a_forest_chooses_from_its_share_of_columns_and_rows() -> None:
    given = lesson("Number")
    one = fitted(given, "randomForest", trees=60, maxDepth=1, columnShare="25%").model
    assert {int(tree.tree_.feature[0]) for tree in one.estimators_} > {0, 1}
    every = fitted(given, "randomForest", trees=60, maxDepth=1, columnShare="100%").model
    assert {int(tree.tree_.feature[0]) for tree in every.estimators_} == {0}, "the best column, always"
    few = fitted(given, "randomForest", trees=2, rowShare="10%").model
    assert few.estimators_[0].tree_.weighted_n_node_samples[0] == 60


def test_balanced_classes_count_alike() -> None:
    given = lesson("Boolean")
    rare = replace(given, truth=given.matrix[:, 0] + given.matrix[:, 3] > 2.0)
    share = rare.truth.mean()
    assert share < 0.1
    for family in ("logisticRegression", "decisionTree"):
        plain = fitted(rare, family).predict_proba(rare.matrix)[:, 1].mean()
        balanced = fitted(rare, family, classWeights="Balanced").predict_proba(rare.matrix)[:, 1]
        assert plain == pytest.approx(share, abs=0.01)
        weights = np.where(rare.truth, 0.5 / share, 0.5 / (1 - share))
        assert np.average(balanced, weights=weights) == pytest.approx(0.5, abs=0.05)


def test_weights_of_rows_and_of_classes_are_multiplied() -> None:
    given = lesson("Boolean")
    weights = np.where(given.matrix[:, 0] > 0, 5.0, 0.2)
    classes = np.array([weights[given.truth == one].sum() for one in (False, True)])
    by_hand = weights * (weights.sum() / (2 * classes))[given.truth.astype(int)]
    expected = fitted(replace(given, weights=by_hand), "logisticRegression")
    found = fitted(replace(given, weights=weights), "logisticRegression", classWeights="Balanced")
    np.testing.assert_allclose(found.coef_, expected.coef_)


def test_the_newest_rows_say_after_how_many_trees_to_stop() -> None:
    given = lesson("Boolean")
    rng = np.random.default_rng(5)
    noisy = replace(given, truth=given.truth ^ (rng.random(600) < 0.25))
    stopping = {"share": "30%", "patience": 5}
    many = {"iterations": 300, "learningRate": 0.3}
    stopped = fitted(noisy, "gradientBoosting", **many, earlyStopping=stopping)
    assert 1 <= stopped.n_iter_ < 60
    # The last rows decide: with others there, another number of trees is right.
    turned = replace(noisy, truth=np.r_[noisy.truth[:420], ~noisy.truth[420:]])
    assert fitted(turned, "gradientBoosting", **many, earlyStopping=stopping).n_iter_ == 1
    # All rows are learnt from in the end.
    same = fitted(noisy, "gradientBoosting", iterations=stopped.n_iter_, learningRate=0.3)
    assert np.array_equal(same.predict_proba(noisy.matrix), stopped.predict_proba(noisy.matrix))


def test_early_stopping_without_a_class_among_the_older_rows_says_so() -> None:
    given = lesson("Category")
    late = replace(given, truth=np.r_[np.where(np.arange(590) % 2, "low", "high"), ["between"] * 10])
    with pytest.raises(InvalidDataError, match="none has the class 'between'; take a smaller share"):
        fitted(late, "gradientBoosting", earlyStopping={})


def test_large_leaves_and_penalties_make_flat_trees() -> None:
    given = lesson("Number")
    spread = [
        float(np.ptp(fitted(given, "gradientBoosting", iterations=5, **one).predict(given.matrix)))
        for one in ({}, {"l2": 500}, {"leafRows": 250})
    ]
    assert spread[1] < 0.8 * spread[0]
    assert spread[2] < 0.8 * spread[0]


def test_absolute_and_huber_losses_are_not_led_astray_by_wild_labels() -> None:
    given = lesson("Number")
    assert given.validation is not None
    wild = np.random.default_rng(1).random(600) < 0.05
    spoilt = replace(given, truth=np.where(wild, 1000.0, given.truth))
    errors = {
        name: loss(
            given.validation,
            "Number",
            fitted(spoilt, "gradientBoosting", iterations=60, leaves=5, **settings).predict(
                given.validation.matrix
            ),
        )
        for name, settings in {
            "squares": {},
            "absolute": {"loss": "Absolute"},
            "huber": {"loss": "Huber"},
        }.items()
    }
    assert errors["absolute"] < 6 < errors["squares"]
    assert errors["huber"] < errors["squares"] / 10
    line = {
        loss_name: fitted(spoilt, "linearRegression", **({"loss": "Huber"} if loss_name else {}))
        for loss_name in ("", "Huber")
    }
    found = {
        name: loss(given.validation, "Number", one.predict(given.validation.matrix))
        for name, one in line.items()
    }
    assert found["Huber"] < 8 < found[""]


def _numeric(function: Any, at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    step = 1e-5
    return np.array(
        [(function(at + step * unit) - function(at - step * unit)) / (2 * step) for unit in np.eye(len(at))]
    )


def test_the_gradient_of_the_focal_loss_is_its_slope_and_focus_0_would_be_cross_entropy() -> None:
    truth = np.array([1.0, 0.0, 1.0, 0.0])
    raw = np.array([-2.0, -1.0, 0.5, 3.0])
    focal = Focal(2.0)
    gradient, hessian = focal.gradient_hessian(truth, raw, gradient_out=np.empty(4), hessian_out=np.empty(4))
    np.testing.assert_allclose(gradient, _numeric(lambda at: 4 * focal(truth, at), raw), rtol=1e-6)
    assert (hessian > 0).all()
    plain, bend = Focal(1e-12).gradient_hessian(truth, raw, gradient_out=np.empty(4), hessian_out=np.empty(4))
    chance = 1 / (1 + np.exp(-raw))
    np.testing.assert_allclose(plain, chance - truth, rtol=1e-6)
    np.testing.assert_allclose(bend, chance * (1 - chance), rtol=1e-6)


def test_the_focal_loss_is_less_sure_of_easy_rows_and_is_saved_without_our_code() -> None:
    given = lesson("Boolean")
    plain, focal = (
        fitted(given, "gradientBoosting", iterations=40, leaves=5, **one) for one in ({}, {"focus": 3})
    )
    sure = [np.abs(one.predict_proba(given.matrix)[:, 1] - 0.5).mean() for one in (plain, focal)]
    assert sure[1] < 0.8 * sure[0]
    assert b"capstan" not in pickle.dumps(focal)


def test_the_gradient_of_hubers_loss_is_cut() -> None:
    errors = np.arange(-50.0, 51.0)
    gradient, hessian = Huber().gradient_hessian(
        np.zeros(101), errors, gradient_out=np.empty(101), hessian_out=np.empty(101)
    )
    assert np.abs(gradient).max() == pytest.approx(np.quantile(np.abs(errors), 0.9))
    assert gradient[50 - 10] == -10
    assert (hessian == 1).all()


def _by_hand(groups: Any, relevance: Any, scores: Any, depth: int) -> tuple[Any, Any]:
    """Pair by pair, as in the paper."""
    gradient, hessian = np.zeros(len(scores)), np.zeros(len(scores))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order = rows[np.argsort(-scores[rows], kind="stable")]
        discount = {row: 1 / np.log2(rank + 2) if rank < depth else 0.0 for rank, row in enumerate(order)}
        front = set(order[:depth])
        gain = relevance.astype(float)
        ideal = sum(one / np.log2(rank + 2) for rank, one in enumerate(sorted(gain[rows])[::-1][:depth]))
        for better in rows:
            for worse in rows:
                if relevance[better] <= relevance[worse] or not front & {better, worse}:
                    continue
                change = abs((gain[better] - gain[worse]) * (discount[better] - discount[worse])) / ideal
                wrong = 1 / (1 + np.exp(scores[better] - scores[worse]))
                gradient[better] -= wrong * change
                gradient[worse] += wrong * change
                for row in (better, worse):
                    hessian[row] += wrong * (1 - wrong) * change
    return gradient, hessian


@pytest.mark.parametrize("depth", [1, 3, 30])
def test_the_gradient_of_an_order_is_that_of_burges_pair_by_pair(depth: int) -> None:
    rng = np.random.default_rng(depth)
    groups = np.sort(rng.integers(0, 9, 60))[rng.permutation(60)]
    relevance, scores = rng.integers(0, 4, 60), rng.normal(size=60)
    found = Order(groups, relevance, depth).gradient_hessian(
        relevance, scores.reshape(-1, 1), gradient_out=np.empty(60), hessian_out=np.empty(60)
    )
    for one, expected in zip(found, _by_hand(groups, relevance, scores, depth), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-9, atol=1e-12)


def _misleading() -> tuple[Lesson, Any]:
    """Groups whose level of relevance a column tells, which says nothing of the order within one."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(150), 8)
    level = rng.integers(0, 2, 150)[groups]
    within = rng.normal(size=1200)
    relevance = np.clip(np.round(2 * level + 0.6 * within + rng.normal(0, 0.4, 1200)), 0, 4).astype(np.int64)
    matrix = np.column_stack([level + rng.normal(0, 0.05, 1200), within, rng.normal(size=1200)])
    return Lesson(matrix, relevance, groups, label="Relevance"), relevance


def test_lambda_mart_orders_within_groups_where_item_by_item_learns_the_groups() -> None:
    given, relevance = _misleading()
    small = {"iterations": 2, "leaves": 2, "learningRate": 0.5}
    found, columns = {}, {}
    for family in ("lambdaMart", "gradientBoosting"):
        model = fitted(given, family, **small)
        columns[family] = int(model._predictors[0][0].nodes["feature_idx"][0])
        scores = model.predict(given.matrix).reshape(150, 8)
        found[family] = np.mean(
            [ndcg_score([r], [s]) for r, s in zip(relevance.reshape(150, 8), scores, strict=True)]
        )
    assert columns == {"lambdaMart": 1, "gradientBoosting": 0}
    assert found["lambdaMart"] > found["gradientBoosting"] + 0.02
    model = fitted(given, "lambdaMart", iterations=3)
    assert type(model) is HistGradientBoostingRegressor
    assert b"capstan" not in pickle.dumps(model)


def test_lambda_mart_without_groups_says_what_to_name() -> None:
    with pytest.raises(InvalidDataError, match=r"name the column of the groups in data\.keys\.group"):
        fitted(replace(lesson("Relevance"), groups=None), "lambdaMart")


def test_absolute_weights_make_useless_columns_zero() -> None:
    for label, family, strong in (("Number", "linearRegression", 600), ("Boolean", "logisticRegression", 40)):
        given = lesson(label)  # type: ignore[arg-type]
        none, some = (np.atleast_2d(fitted(given, family, l1=l1, l2=0).coef_)[0] for l1 in (0, strong))
        assert none[3] != 0
        assert some[3] == 0, "the column of noise"
        assert some[0] != 0
        mixed = np.atleast_2d(fitted(given, family, l1=strong, l2=strong * 3).coef_)[0]
        assert abs(mixed[0]) < abs(some[0])


def test_penalties_of_a_line_are_those_of_the_sum_that_is_minimised() -> None:
    given = lesson("Number")
    weights = np.random.default_rng(0).uniform(0.5, 2, 600)
    spread = given.matrix.std(axis=0)

    def value(line: Any, shift: int, by: float) -> float:
        slopes = line.coef_ * spread
        slopes = slopes + by * np.eye(4)[shift]
        residuals = given.truth - line.intercept_ - given.matrix @ (slopes / spread)
        residuals = residuals - np.average(residuals, weights=weights)
        return float((weights * residuals**2).sum() + 70 * (slopes**2).sum() + 50 * np.abs(slopes).sum())

    line = fitted(replace(given, weights=weights), "linearRegression", l1=50, l2=70)
    for shift in range(4):
        assert value(line, shift, 0) <= min(value(line, shift, by) for by in (-1e-3, 1e-3)) + 1e-6

"""Every family answers in ONNX as it does in service, or is refused by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from unit.exporting.fitted_tables import (
    compared,
    exported,
    fitted,
    later_rows,
    manifest_of,
    table,
    truth_of,
)

from capstan.errors import InvalidDataError
from capstan.exporting.models import NOT_WRITTEN
from capstan.exporting.version import compare_graph, export_graph
from capstan.features.imported import ImportedModel
from capstan.features.kinds.custom import CustomSettings, FittedCustom
from capstan.features.rowwise import compile_predict
from capstan.features.several_models import in_one_pipeline
from capstan.features.values import ColumnType
from capstan.serving.manifest import Manifest
from capstan.spec.families import Candidate
from capstan.spec.tasks import LabelKind
from capstan.tasks import task_with
from capstan.training.fitted.prior import with_prior

PAIRS = [
    pytest.param(family, label, id=f"{family}-{label}")
    for family, settings in Candidate.families().items()
    for label in sorted(settings.learns)
    if family not in ("custom", "search", "fineTune", "distil") and not settings.extra
]


@pytest.mark.parametrize(("family", "label"), PAIRS)
def test_a_graph_answers_as_the_service_does_or_its_family_is_refused(family: str, label: LabelKind) -> None:
    pipeline, task = fitted(family, label), task_with(label)
    if family in NOT_WRITTEN:
        with pytest.raises(
            InvalidDataError, match=rf"^{family} can't be exported to ONNX: .*families can: mostF"
        ):
            exported(pipeline, task)
        return
    rows = later_rows()
    told = compared(pipeline, rows, task)
    assert (told.rows, told.other_labels) == (len(rows), 0)
    # Rows a billion deviations away have answers of their own size, and differences of it.
    usual = compared(pipeline, rows[:250], task)
    assert usual.difference < 1e-11


def test_each_reason_is_of_a_family() -> None:
    assert set(NOT_WRITTEN) <= set(Candidate.families())


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("supportVectorMachine", {"kernel": "Linear"}),
        ("supportVectorMachine", {"kernel": "Polynomial", "degree": 3}),
        ("multilayerPerceptron", {"activation": "Tanh"}),
        ("multilayerPerceptron", {"activation": "Logistic"}),
        ("linearRegression", {"loss": "Huber"}),
        ("gradientBoosting", {"loss": "Huber"}),
        ("gradientBoosting", {"quantile": 0.9}),
        ("stacking", {"of": ["line", "trees"], "final": "trees"}),
    ],
    ids=lambda value: str(value),
)
def test_settings_that_change_what_is_computed_are_exported_too(
    family: str, settings: dict[str, Any]
) -> None:
    assert compared(fitted(family, "Number", settings), later_rows(), task_with("Number")).other_labels == 0


@pytest.mark.parametrize("family", ["naiveBayes", "randomForest", "voting"])
@pytest.mark.parametrize("label", ["Boolean", "Category"])
def test_probabilities_of_balanced_rows_are_brought_back_in_the_graph_and_for_single_rows(
    family: str, label: LabelKind
) -> None:
    pipeline, task = fitted(family, label), task_with(label)
    transform, model = pipeline.steps[0][1], pipeline.steps[1][1]
    factors = np.arange(1, len(model.classes_) + 1) / 3
    rows = table(2)[0]
    said = model.predict_proba(transform.transform(rows)) * factors
    pipeline.steps[1] = ("model", with_prior(model, factors))
    assert type(pipeline.steps[1][1]).__name__ == "OtherPrior"
    found = pipeline.predict_proba(rows)
    assert found == pytest.approx(said / said.sum(axis=1, keepdims=True))
    assert compared(pipeline, later_rows(), task).other_labels == 0


def test_an_ensemble_with_a_member_that_has_no_graph_is_refused_by_the_members_name() -> None:
    pipeline = fitted("voting", "Boolean", {"of": ["line", "near"]})
    with pytest.raises(InvalidDataError, match="nearestNeighbors can't be exported"):
        exported(pipeline, task_with("Boolean"))


def test_a_model_of_your_own_is_exported_where_its_form_is_known_and_else_refused() -> None:
    pipeline = fitted("logisticRegression", "Boolean")
    learnt, score = table(1)
    matrix, truth = pipeline.steps[0][1].transform(learnt) / 1e3, truth_of("Boolean", score)
    pipeline.steps[1] = ("model", LogisticRegression(C=0.01).fit(matrix, truth))
    assert compared(pipeline, later_rows(), task_with("Boolean")).other_labels == 0
    pipeline.steps[1] = ("model", ExtraTreesClassifier(3).fit(matrix, truth))
    with pytest.raises(
        InvalidDataError,
        match=r"custom can't be exported to ONNX with a fitted ExtraTreesClassifier, of sklearn\.",
    ):
        exported(pipeline, task_with("Boolean"))
    own = type("Ridge", (LinearRegression,), {})()
    pipeline.steps[1] = ("model", own.fit(matrix, score))
    with pytest.raises(InvalidDataError, match="custom can't be exported to ONNX with a fitted Ridge"):
        exported(pipeline, task_with("Number"))


def test_several_models_and_a_model_that_was_handed_over_are_refused() -> None:
    one, task, manifest = fitted("mostFrequent", "Number"), task_with("Number"), Manifest("toy", "t", "y", ())
    with pytest.raises(
        InvalidDataError, match="several models can't be exported to ONNX, and this one has a, b"
    ):
        export_graph(in_one_pipeline({"a": one, "b": one}), manifest, task, {}, "")
    other = ImportedModel(LinearRegression(), ["x"], ["x"], None, takes_names=True)
    with pytest.raises(InvalidDataError, match=r"handed over \(LinearRegression\) can't be exported to ONNX"):
        export_graph(other, manifest, task, {}, "")


def test_a_feature_of_your_own_is_refused_by_its_name() -> None:
    pipeline = fitted("mostFrequent", "Number")
    transform = pipeline.steps[0][1]
    own = FittedCustom(CustomSettings("own", "x", "mine:make", {}, True), ColumnType.NUMBER, None, 1)
    transform.features_ = (*transform.features_, own)
    with pytest.raises(
        InvalidDataError, match=r"feature 'own': is of your own code, .* numeric and categorical"
    ):
        exported(pipeline, task_with("Number"))


def test_categories_in_an_order_or_by_their_labels_are_exported_and_hashed_ones_refused_by_name() -> None:
    for column in ("kind", "rate"):
        order = ["b", "a"] if column == "kind" else ["1", "2", "2.5"]
        ordered = {"name": column, "categorical": {"encode": "Integer", "order": order}}
        pipeline = fitted("decisionTree", "Number", features=[{"name": "x", "numeric": {}}, ordered])
        assert compared(pipeline, later_rows(), task_with("Number")).other_labels == 0
    for label in ("Number", "Boolean", "Category"):
        mean = {"name": "kind", "categorical": {"encode": "Target", "minFrequency": 20}}
        pipeline = fitted(
            "decisionTree", label, features=[mean, {**mean, "name": "day"}, {**mean, "name": "rate"}]
        )
        assert compared(pipeline, later_rows(), task_with(label)).other_labels == 0
    hashed = {"name": "kind", "categorical": {"encode": "Hashing"}}
    with pytest.raises(
        InvalidDataError, match=r"feature 'kind': `encode: Hashing` .* write `encode: OneHot`"
    ):
        exported(fitted("mostFrequent", "Number", features=[hashed]), task_with("Number"))


def test_a_graph_that_says_something_else_is_found_out_by_its_row() -> None:
    pipeline, task, rows = fitted("linearRegression", "Number"), task_with("Number"), later_rows()[:50]
    predict = compile_predict(pipeline)
    said = np.array([predict(row) for row in rows])
    said[7] += 1e-6
    with pytest.raises(
        InvalidDataError, match=r"says \S+ where the version says .*; 1 of 50 example rows differ"
    ):
        compare_graph(exported(pipeline, task), rows, said, task, manifest_of(pipeline, task).learnt)

"""One class out of several: metrics as scikit-learn has them, classes that nobody saw, and names that are anything."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from capstan.errors import InvalidDataError
from capstan.recording.tensors import answered
from capstan.tasks import TASKS, Learnt, Predictions
from capstan.tasks.labels import LABELS, LONGEST_CLASS, MOST_CLASSES
from capstan.tasks.probabilities import CLIP
from capstan.tasks.tensors import Tensor

TASK = TASKS["MulticlassClassification"]
LABEL = LABELS["Category"]
BANDS = ("early", "late", "onTime", "veryLate")
WORST = -math.log(CLIP)

class_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, [*range(32), 127]))),
    min_size=1,
    max_size=12,
) | st.sampled_from(["a.b", "probability.x", "label", "1", "1.0", "-7", "true", "null", "é'\"%", " ", "x y"])
classes = st.lists(class_names, min_size=2, max_size=5, unique_by=lambda name: name.encode().lower()).map(
    lambda names: tuple(sorted(names))
)


def told(rows: int = 400, seed: int = 1) -> tuple[np.ndarray[Any, Any], Predictions, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    truth = np.array(BANDS)[rng.choice(4, rows, p=[0.3, 0.2, 0.45, 0.05])]
    scores = rng.dirichlet([1, 1, 1, 0.3], rows) + 0.4 * (truth[:, None] == np.array(BANDS))
    scores /= scores.sum(axis=1, keepdims=True)
    return truth, TASK.predictions(scores, Learnt(BANDS)), scores


def test_metrics_are_those_of_scikit_learn() -> None:
    truth, predictions, scores = told()
    said = predictions["label"]
    found = {name: metric.value(truth, predictions) for name, metric in TASK.metrics.items()}
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["microF1"] == pytest.approx(f1_score(truth, said, average="micro"))
    assert found["macroF1"] == pytest.approx(f1_score(truth, said, average="macro"))
    area = roc_auc_score(truth, scores, multi_class="ovr", average="macro", labels=list(BANDS))
    assert found["rocAuc"] == pytest.approx(area)
    bounded = np.clip(scores[np.arange(len(truth)), np.searchsorted(BANDS, truth)], CLIP, 1 - CLIP)
    assert found["logLoss"] == pytest.approx(-np.log(bounded).mean())
    assert found["logLoss"] == pytest.approx(log_loss(truth, scores, labels=list(BANDS)), rel=0.02)
    assert 0 < found["calibrationError"] < 1


def test_a_class_that_nobody_answers_and_no_row_is_counts_for_no_f1() -> None:
    truth = np.array(["a", "a", "b"])
    predictions = TASK.predictions(
        np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.1, 0.9, 0]]), Learnt(("a", "b", "c"))
    )
    assert TASK.metrics["macroF1"].value(truth, predictions) == pytest.approx(2 / 3)


def test_a_class_that_the_model_never_saw_costs_no_more_than_the_bound_and_is_counted() -> None:
    truth, _, scores = told()
    strange = np.where(np.arange(len(truth)) % 10 == 0, "never seen", truth)
    predictions = TASK.predictions(scores, Learnt(BANDS))
    rows = strange == "never seen"
    log_losses = TASK.metrics["logLoss"].losses(strange, predictions)  # type: ignore[misc]
    assert np.isfinite(log_losses).all()
    assert log_losses[rows] == pytest.approx(WORST)
    assert TASK.metrics["logLoss"].clipped(strange, predictions)[rows].all()  # type: ignore[misc]
    assert TASK.metrics["accuracy"].losses(strange, predictions)[rows].tolist() == [1.0] * 40  # type: ignore[misc]
    assert all(math.isfinite(metric.value(strange, predictions)) for metric in TASK.metrics.values())
    found = TASK.details(strange, predictions)
    assert found["unknown"] == {"never seen": 40}
    assert found["notes"] == [
        "40 labels are of classes that the model does not know ('never seen' 40): a miss each, with the largest loss"
    ]
    assert TASK.details(truth, predictions)["notes"] == []


def test_swapped_classes_lose_in_every_metric() -> None:
    truth, predictions, scores = told()
    swapped = TASK.predictions(scores[:, [1, 0, 2, 3]], Learnt(BANDS))
    for name, metric in TASK.metrics.items():
        if name != "calibrationError":
            worse = metric.value(truth, predictions) - metric.value(truth, swapped)
            assert metric.facts.sign * worse > 0.02, name


def test_the_confusion_matrix_counts_each_row_once_and_says_what_it_leaves_out() -> None:
    truth, predictions, _ = told()
    (found,) = TASK.details(truth, predictions)["tables"]
    assert found["rows"] == found["columns"] == list(BANDS)
    assert sum(map(sum, found["cells"])) == len(truth)
    assert found["notes"] == []
    assert [row[at] for at, row in enumerate(found["cells"])] == [
        int(((truth == name) & (predictions["label"] == name)).sum()) for name in BANDS
    ]
    many = np.array([f"c{index:03d}" for index in range(60)])
    scattered = np.concatenate([many, np.repeat("c000", 40)])
    wide = TASK.predictions(np.eye(60)[np.arange(100) % 60], Learnt(tuple(many.tolist())))
    (short,) = TASK.details(scattered, wide)["tables"]
    assert len(short["rows"]) == len(short["columns"]) == 20
    left_out = 100 - sum(map(sum, short["cells"]))
    assert left_out > 0
    assert short["notes"] == [f"the 20 most frequent of 60 classes; {left_out} of 100 rows are not in it"]


@settings(max_examples=200, deadline=None)
@given(names=classes, draw=st.integers(0, 2**32 - 1))
def test_any_class_names_survive_answers_tensors_and_json(names: tuple[str, ...], draw: int) -> None:
    learnt = Learnt(names)
    scores = np.random.default_rng(draw).dirichlet(np.ones(len(names)), 3)
    predictions = TASK.predictions(scores, learnt)
    outputs = TASK.outputs(predictions)
    short = TASK.row_outputs(learnt)
    assert short is not None
    assert [short(tuple(row)) for row in scores.tolist()] == outputs
    answers = orjson.loads(orjson.dumps(TASK.answers(outputs, learnt)))
    for answer, row in zip(answers, scores.tolist(), strict=True):
        assert list(answer["probabilities"]) == list(names)
        assert list(answer["probabilities"].values()) == row
        assert answer["label"] == names[row.index(max(row))]
    tensors = TASK.tensors(outputs, learnt)
    assert tensors[0].shape == (3, len(names))
    body = orjson.loads(orjson.dumps({"outputs": [tensor.document() for tensor in tensors]}))
    assert TASK.of_tensors(answered(body)) == outputs


@settings(max_examples=300, deadline=None)
@given(names=classes, strange=class_names, draw=st.integers(0, 2**32 - 1))
def test_every_loss_is_finite_and_bounded_whatever_label_comes(
    names: tuple[str, ...], strange: str, draw: int
) -> None:
    rng = np.random.default_rng(draw)
    truth = LABEL.truth(
        np.array([*names, strange, strange], dtype=object)[rng.integers(0, len(names) + 2, 30)]
    )
    scores = np.eye(len(names))[rng.integers(0, len(names), 30)]
    predictions = TASK.predictions(scores, Learnt(names))
    for name, most in (("logLoss", WORST), ("accuracy", 1.0)):
        losses = TASK.metrics[name].losses(truth, predictions)  # type: ignore[misc]
        assert ((losses >= 0) & (losses <= most + 1e-12)).all()


def test_probabilities_of_classes_that_nobody_named_are_no_answer() -> None:
    foreign = [Tensor("predict_proba", "FP64", (1, 3), [0.2, 0.3, 0.5])]
    assert TASK.of_tensors(foreign) is None
    assert TASK.of_tensors([foreign[0]._replace(parameters={"classes": '["a", "b"]'})]) == [None]
    assert TASK.of_tensors([foreign[0]._replace(parameters={"classes": "a,b,c"})]) == [None]


@pytest.mark.parametrize(
    "classes_",
    [None, np.array([0, 1, 2]), np.array(["one"]), np.array(["a", "a"]), np.array([True, False])],
    ids=["none", "numbers", "one", "twice", "booleans"],
)
def test_a_model_must_name_its_classes_as_the_labels_do(classes_: Any) -> None:
    model = LogisticRegression()
    model.classes_ = classes_
    with pytest.raises(InvalidDataError, match="classes_ of the fitted LogisticRegression is"):
        TASK.learnt(model)


@pytest.mark.parametrize(
    ("scores", "sound"),
    [
        ([0.2, 0.3, 0.5], True),
        ([0.2, 0.3, 0.5005], True),
        ([0.0, 0.0, 1.0], True),
        ([0.2, 0.3, 0.6], False),
        ([0.0, 0.0, 0.0], False),
        ([-0.1, 0.6, 0.5], False),
        ([math.nan, 0.5, 0.5], False),
    ],
)
def test_probabilities_that_do_not_make_one_are_unsound_alone_and_in_a_batch(
    scores: list[float], sound: bool
) -> None:
    learnt = Learnt(("a", "b", "c"))
    short = TASK.row_outputs(learnt)
    assert short is not None
    assert (short(tuple(scores)) is not None) == sound
    assert (not TASK.unsound(TASK.predictions(np.array([scores]), learnt))[0]) == sound


def test_a_tie_of_two_classes_is_no_disagreement_and_another_class_is_one() -> None:
    learnt = Learnt(("a", "b"))
    first = TASK.predictions(np.array([[0.5, 0.5], [0.5 + 1e-9, 0.5 - 1e-9], [0.6, 0.4]]), learnt)
    second = TASK.predictions(np.array([[0.5 - 1e-9, 0.5 + 1e-9], [0.5, 0.5], [0.4, 0.6]]), learnt)
    assert TASK.disagree(first, second).tolist() == [False, False, True]
    other = TASK.predictions(np.array([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]]), Learnt(("a", "c")))
    assert TASK.disagree(first, other).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "wrong", ["", "a" * (LONGEST_CLASS + 1), "two\nlines", "\x00", "\ud800", 1e400, [], None]
)
def test_what_is_no_name_of_a_class_is_no_label(wrong: object) -> None:
    assert LABEL.parse(wrong) is None


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("1.10", "1.10"),
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (True, "true"),
        ("NA", "NA"),
        (" late ", " late "),
    ],
)
def test_a_label_is_the_text_of_its_class(value: object, label: str) -> None:
    assert LABEL.parse(value) == label


def test_classes_that_only_capitals_tell_apart_are_refused_and_accents_are_not() -> None:
    assert (
        "'LATE' and 'late', which only capitals tell apart"
        in LABEL.tally(np.array(["late", "LATE", "x"])).wrong
    )
    assert LABEL.tally(np.array(["é", "É", "e"])).wrong == ""


def test_a_column_of_ids_is_no_column_of_classes() -> None:
    ids = np.array([f"id-{index}" for index in range(MOST_CLASSES + 1)])
    assert "201 classes, and at most 200 can be learnt" in LABEL.tally(ids).wrong
    assert LABEL.tally(ids[1:]).wrong == ""


@pytest.mark.parametrize("edges", [[-25.0, 15.0, 60.0], [0.0, 1.0, 2.0]])
def test_the_number_that_a_band_was_cut_out_of_gives_the_label_away(edges: list[float]) -> None:
    rng = np.random.default_rng(4)
    minutes = rng.normal(10, 40, 2000)
    truth = np.array(BANDS)[np.digitize(minutes, edges)]
    groups = np.searchsorted(np.quantile(minutes, np.linspace(0, 1, 65)[1:-1]), minutes)
    assert TASK.disclosed(truth, groups, minutes) == 1.0
    noisy = minutes + rng.normal(0, 40, 2000)
    coarse = np.searchsorted(np.quantile(noisy, np.linspace(0, 1, 65)[1:-1]), noisy)
    assert TASK.disclosed(truth, coarse, noisy) < 0.9

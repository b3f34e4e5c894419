"""Several models as one task: what is asked of a task, asked of two models that answer together."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from capstan.errors import InvalidDataError
from capstan.features.several_models import PartModel, SeveralModels
from capstan.spec.combination import RULES_OF_LABEL, Combination
from capstan.spec.tasks import TASK_FACTS
from capstan.tasks import Learnt, complaint, task_named, task_together
from capstan.tasks.tensors import Tensor
from capstan.testing import check_task
from capstan.testing.toy_rows import ToyModel

HARM = Combination("Any", ("violence", "nudity"))
TASK = task_together("BinaryClassification", HARM)
BINARY = Learnt((False, True))
LEARNT = Learnt((False, True), parts={"violence": BINARY, "nudity": BINARY})
SCORES = np.array([[0.9, 0.2], [0.4, 0.3], [0.1, 0.7]])


class TwoModels(ToyModel):
    """Each of two linear models reads one half of the columns."""

    def fit(self, matrix: Any, truth: Any) -> Any:
        half = matrix.shape[1] // 2
        parts, begin = [], 0
        for name, end in zip(HARM.models, (half, matrix.shape[1]), strict=True):
            model = super().fit(matrix[:, begin:end], truth)
            parts.append(PartModel(name, model, (begin, end), (begin, end)))
            begin = end
        return SeveralModels(tuple(parts))

    def opposite(self, scores: Any) -> Any:
        parts = [super(TwoModels, self).opposite(one) for one in self._apart(scores)]
        return np.concatenate([one.reshape(len(scores), -1) for one in parts], axis=1)

    def saying(self, scores: Any, model: Any) -> Any:
        said = zip(model.parts, self._apart(scores), strict=True)
        return SeveralModels(
            tuple(
                PartModel(part.name, super(TwoModels, self).saying(one, part.model), *(2 * [part.columns]))
                for part, one in said
            )
        )

    def _apart(self, scores: Any) -> Any:
        parts = np.split(scores, 2, axis=1)
        return [one[:, 0] if one.shape[1] == 1 else one for one in parts]


RULES_OF_TASKS = [
    (name, rule) for name, facts in TASK_FACTS.items() for rule in RULES_OF_LABEL.get(facts.label, ())
]


@pytest.mark.parametrize(("name", "rule"), RULES_OF_TASKS, ids=[" ".join(pair) for pair in RULES_OF_TASKS])
def test_two_models_together_keep_the_suite_of_a_task(name: str, rule: Any) -> None:
    weights = (2.0, 1.0) if rule == "Weighted" else ()
    keep = 2 if rule == "Sequence" else 0
    task = task_together(name, Combination(rule, HARM.models, weights, keep))
    check_task(task, TwoModels(task))


def test_every_task_that_learns_from_labels_can_be_answered_by_several_models() -> None:
    learnt = {name for name, facts in TASK_FACTS.items() if facts.needs_labels}
    assert {name for name, _ in RULES_OF_TASKS} == learnt


def test_a_sequence_orders_the_items_of_a_request_as_its_answer_says() -> None:
    task = task_together("Ranking", Combination("Sequence", ("found", "ranked"), keep=2))
    learnt = Learnt(parts={"found": Learnt(), "ranked": Learnt()})
    scores = np.array([[0.1, 9.0], [0.9, 1.0], [0.8, 2.0], [0.5, 8.0]])
    answers = task.answers(task.outputs(task.predictions(scores, learnt)), learnt)
    assert [answer["rank"] for answer in answers] == [4, 2, 1, 3]
    assert [answer["models"]["found"]["rank"] for answer in answers] == [4, 1, 2, 3]
    assert [answer["models"]["ranked"]["rank"] for answer in answers] == [1, 4, 3, 2]


def test_a_sequence_of_several_requests_keeps_the_best_of_each() -> None:
    task = task_together("Ranking", Combination("Sequence", ("found", "ranked"), keep=1))
    learnt = Learnt(parts={"found": Learnt(), "ranked": Learnt()})
    scores = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 5.0], [9.0, 4.0]])
    groups = np.array([0, 0, 1, 1])
    together = task.predictions(scores, learnt, groups)["score"]
    apart = [task.predictions(scores[groups == group], learnt)["score"] for group in (0, 1)]
    assert together.tolist() == np.concatenate(apart).tolist()
    assert together.tolist() != task.predictions(scores, learnt)["score"].tolist()


def test_drift_of_a_sequence_is_watched_by_what_each_model_says() -> None:
    task = task_together("Ranking", Combination("Sequence", ("found", "ranked"), keep=1))
    watched = [output.name for output in task.facts.outputs if output.is_watched]
    assert watched == ["found.score", "ranked.score"]


def test_probabilities_of_classes_are_averaged_class_by_class_whatever_their_order() -> None:
    task = task_together("MulticlassClassification", Combination("Mean", ("one", "two")))
    learnt = Learnt(
        ("early", "late", "never"),
        parts={"one": Learnt(("early", "late")), "two": Learnt(("late", "early", "never"))},
    )
    scores = np.array([[0.9, 0.1, 0.2, 0.3, 0.5]])
    (answer,) = task.answers(task.outputs(task.predictions(scores, learnt)), learnt)
    assert answer["probabilities"] == pytest.approx({"early": 0.6, "late": 0.15, "never": 0.25})
    assert (answer["label"], answer["models"]["two"]["label"]) == ("early", "never")


def outputs() -> list[dict[str, Any]]:
    return TASK.outputs(TASK.predictions(SCORES, LEARNT))


def test_payload_columns_of_each_model_stand_beside_those_of_the_combined_answer() -> None:
    assert outputs()[0] == {"probability": 0.9, "violence.probability": 0.9, "nudity.probability": 0.2}
    assert [output.name for output in TASK.facts.outputs] == list(outputs()[0])


def test_an_answer_holds_what_each_model_says() -> None:
    answers = TASK.answers(outputs(), LEARNT)
    assert answers[2] == {
        "probability": 0.7,
        "label": True,
        "models": {
            "violence": {"probability": 0.1, "label": False},
            "nudity": {"probability": 0.7, "label": True},
        },
    }
    assert orjson.loads(orjson.dumps(answers)) == answers


def test_the_combined_label_never_contradicts_those_of_the_models() -> None:
    for rule, of_all in (("Any", any), ("All", all)):
        task = task_together("BinaryClassification", Combination(rule, HARM.models))  # type: ignore[arg-type]
        for answer in task.answers(task.outputs(task.predictions(SCORES, LEARNT)), LEARNT):
            assert answer["label"] is of_all(part["label"] for part in answer["models"].values())


def test_v2_has_tensors_of_each_model_after_the_combined_ones() -> None:
    tensors = TASK.tensors(outputs(), LEARNT)
    assert [tensor.name for tensor in tensors] == [
        "probability",
        "label",
        "violence.probability",
        "violence.label",
        "nudity.probability",
        "nudity.label",
    ]
    assert tensors[4].data == [0.2, 0.3, 0.7]
    assert [tensor.name for tensor in TASK.described(LEARNT)] == [tensor.name for tensor in tensors]


def test_a_logged_answer_without_one_of_the_models_is_none() -> None:
    tensors = [tensor for tensor in TASK.tensors(outputs(), LEARNT) if not tensor.name.startswith("nudity")]
    assert TASK.of_tensors(tensors) == [None, None, None]
    assert TASK.of_tensors([Tensor("words", "BYTES", (1,), ["none"])]) is None


@pytest.mark.parametrize("rule", ["Any", "All", "Mean"])
@pytest.mark.parametrize("said", [np.nan, np.inf, -0.5, 1.5])
def test_one_model_that_says_no_probability_spoils_the_whole_answer_and_is_named(
    rule: Any, said: float
) -> None:
    task = task_together("BinaryClassification", Combination(rule, HARM.models))
    scores = SCORES.copy()
    scores[1, 1] = said
    assert task.unsound(task.predictions(scores, LEARNT)).tolist() == [False, True, False]
    short = task.row_outputs(LEARNT)
    assert short is not None
    assert short(tuple(scores[1].tolist())) is None
    told = complaint(task, scores, LEARNT)
    assert told == "the answer of model nudity is not a number from 0 to 1"
    assert complaint(task_named("BinaryClassification"), [said], BINARY).startswith(
        "the model's answer is not"
    )


def test_a_version_of_one_model_is_no_unsound_answer_of_several() -> None:
    before = task_named("BinaryClassification").predictions(SCORES[:, 0], BINARY)
    together = TASK.predictions(SCORES, LEARNT)
    assert not TASK.unsound(before).any()
    assert TASK.disagree(before, together).tolist() == [False, False, True]


def test_metrics_judge_the_combined_answer() -> None:
    truth = np.array([True, False, True])
    found = TASK.metrics["logLoss"].value(truth, TASK.predictions(SCORES, LEARNT))
    assert found == pytest.approx(-(np.log(0.9) + np.log(0.6) + np.log(0.7)) / 3)


def test_what_is_wrong_with_one_of_the_fitted_models_is_told_by_its_name() -> None:
    other = type("Clusters", (), {})()
    several = SeveralModels((PartModel("violence", other, (0, 1), (0, 1)),))
    with pytest.raises(InvalidDataError, match="model violence: classes_ of the fitted Clusters is None"):
        TASK.learnt(several)


def test_one_model_is_no_answer_of_several() -> None:
    with pytest.raises(InvalidDataError, match="not 2 models; train again"):
        TASK.scores(object(), SCORES)
    binary = type("Binary", (), {"classes_": [False, True]})()
    other = SeveralModels((PartModel("violence", binary, (0, 1), (0, 1)),))
    with pytest.raises(InvalidDataError, match="the fitted models are violence, not violence, nudity"):
        TASK.learnt(other)

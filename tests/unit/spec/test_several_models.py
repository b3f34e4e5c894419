# ruff: noqa: E501 - tables of cases are read line by line
"""A file of several models: what may stand together, and what is refused at which field with which way out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from contract.two_models_system import two_models_document

from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse
from capstan.spec.combination import Combination

ONE, TWO = {"name": "leaves"}, {"name": "travels"}
FEATURES = two_models_document()["spec"]["features"]
MODELS = two_models_document()["spec"]["models"]


def with_model(**changes: Any) -> list[dict[str, Any]]:
    return [{**copy.deepcopy(MODELS[0]), **changes}, copy.deepcopy(MODELS[1])]


def system(**parts: Any) -> MLSystem:
    document = two_models_document(**parts)
    document["spec"] = {name: part for name, part in document["spec"].items() if part is not None}
    return parse(document, base_dir=Path())


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "one model": ({"models": [ONE]}, "models", "has one model; list two or more, or drop `models` and `combine`"),
    "no rule": ({"combine": None}, "combine", "is missing beside 2 models; add `combine: {rule: ...}`"),
    "a rule of nothing": ({"models": None}, "combine", "combines models, and there are none"),
    "a name twice": ({"models": [ONE, ONE]}, "models[1].name", "'leaves' is written twice"),
    "an output's name": ({"models": [{"name": "probability"}, TWO]}, "models[0].name", "'probability' is an output of BinaryClassification; rename the model"),
    "no such feature": ({"models": with_model(features=["rain", "depott", "traffic"])}, "models[0].features[1]", "'depott' is no feature; the features are rain, traffic, depot"),
    "a feature twice": ({"models": with_model(features=["rain", "rain"])}, "models[0].features[1]", "'rain' is written twice; keep one"),
    "no such candidate": ({"models": with_model(candidates=["forest"])}, "models[0].candidates[0]", "'forest' is no candidate; the candidates are logistic, trees"),
    "a feature of nobody": ({"features": [*FEATURES, {"name": "moon", "numeric": {}}]}, "features[3].name", "'moon' is used by no model; name it in models[].features, or drop it"),
    "a candidate of nobody": ({"models": with_model(candidates=["logistic"])}, "training.candidates[1].name", "'trees' is used by no model"),
    "a key as a target": ({"models": with_model(target="order_id")}, "models[0].target", "'order_id' is data.keys.id; name the column of what the model says"),
    "the moment of the label as a target": ({"models": with_model(target="delivered_at")}, "models[0].target", "is data.label.availableAt"),
    "a feature that is a target": ({"features": [*FEATURES[:2], {"name": "depot", "column": "left_late", "categorical": {}}]}, "features[2].column", "is the target of the model 'leaves': known only after the prediction (leakage)"),
    "a slice by a target": ({"evaluation": {"slices": ["was_slow"]}}, "evaluation.slices[0]", "is the target of the model 'travels', known only with the label"),
    "a weight without the rule": ({"models": with_model(weight=2)}, "models[0].weight", "2 counts for nothing with Any; write `combine: {rule: Weighted}`, or drop the weight"),
    "the rule without a weight": ({"models": with_model(weight=2), "combine": {"rule": "Weighted"}}, "models[1].weight", "is missing, and `combine.rule` is Weighted"),
    "a weight of nothing": ({"models": with_model(weight=0), "combine": {"rule": "Weighted"}}, "models[0].weight", "is not above 0"),
    "a sequence of truths": ({"combine": {"rule": "Sequence", "keep": 3}}, "combine.rule", "'Sequence' does not combine answers of BinaryClassification; write one of Any, All, Max, Mean, Weighted"),
    "keep without a sequence": ({"combine": {"rule": "Any", "keep": 3}}, "combine.keep", "3 is for Sequence, not Any; drop it"),
    "no such rule": ({"combine": {"rule": "Median"}}, "combine.rule", "Any"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_at_its_field_with_the_way_out(case: str) -> None:
    parts, field, words = REFUSED[case]
    with pytest.raises(InvalidSpecError) as caught:
        system(**parts)
    told = {mistake.path.removeprefix("spec."): mistake.message for mistake in caught.value.mistakes}
    assert field in told, told
    assert words in told[field], told[field]


def test_a_sequence_needs_keep_and_two_models() -> None:
    ranking = {
        "objective": {"task": "Ranking", "target": "late"},
        "training": {"candidates": [{"name": "line", "linearRegression": {}}]},
        "evaluation": {},
    }
    document = two_models_document(
        models=[ONE, TWO, {"name": "third"}], combine={"rule": "Sequence"}, **ranking
    )
    document["spec"]["data"]["keys"]["group"] = "request"
    with pytest.raises(InvalidSpecError) as caught:
        parse(document, base_dir=Path())
    told = {mistake.path.removeprefix("spec."): mistake.message for mistake in caught.value.mistakes}
    assert "write how many items of a request the first model hands on, such as 20" in told["combine.keep"]
    assert "has 3 models, and a Sequence has two" in told["models"]


def test_a_file_of_one_model_is_what_it_was() -> None:
    one = system(models=None, combine=None)
    (planned,) = one.spec.planned_models
    assert (planned.name, planned.target) == ("", "late")
    assert planned.fit_names == ("logistic", "trees")
    assert planned.features == one.spec.features
    assert one.spec.combination is None
    assert one.spec.targets == ("late",)


def test_a_model_takes_all_that_it_does_not_name() -> None:
    first, second = system(models=[ONE, TWO]).spec.planned_models
    assert [feature.name for feature in first.features] == ["rain", "traffic", "depot"]
    assert second.fit_names == ("travels/logistic", "travels/trees")
    assert first.target == second.target == "late"


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"models": [{**ONE, "weight": 2}, {**TWO, "weight": 0.5}], "combine": {"rule": "Weighted"}},
        {"models": None, "combine": None},
    ],
    ids=["by a rule", "by weights", "one model"],
)
def test_the_file_and_the_system_say_the_same_combination(parts: dict[str, Any]) -> None:
    found = system(**parts)
    spec = found.model_dump(mode="json", by_alias=True)["spec"]
    assert Combination.of_file(spec) == found.spec.combination
    if found.spec.combination is not None:
        assert Combination.of_document(found.spec.combination.document()) == found.spec.combination

# ruff: noqa: E501 - tables of cases are read line by line
"""A fineTune that can't go on is refused at the field to change, with the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import parse

FLIGHTS = Path(__file__).parent / "flight_delays.yaml"
OWN = "      - {name: own, custom: "
Broken = Callable[[str, str], list[Mistake]]
REFUSED = {
    "unknown candidate": ("", "{of: forest}", "of", "'forest' is no candidate; before it stand baseline, logistic, trees"),
    "itself": ("", "{of: onward}", "of", "'onward' is the candidate itself; name candidates that stand before it"),
    "a baseline": ("", "{of: baseline}", "of", "'baseline' is mostFrequent, which learns from nothing each time; name one of linearRegression, logisticRegression, naiveBayes, randomForest, gradientBoosting, multilayerPerceptron"),
    "one tree": ("{name: other, decisionTree: {}}", "{of: other}", "of", "'other' is decisionTree, which learns from nothing each time"),
    "an ensemble": ("{name: other, voting: {of: [logistic, trees]}}", "{of: other}", "of", "'other' is voting, which learns from nothing each time"),
    "a search": ("{name: other, search: {of: [trees]}}", "{of: other}", "of", "'other' is a search, and does not go on; name what it searches: trees"),
    "a line with l1": ("{name: other, logisticRegression: {l1: 2}}", "{of: other}", "of", "'other' has `l1: 2`, with which logisticRegression learns from nothing each time; drop that setting, or name another candidate"),
    "a network by LBFGS": ("{name: other, multilayerPerceptron: {optimizer: LBFGS}}", "{of: other}", "of", "'other' has `optimizer: LBFGS`, with which"),
    "rounds of counts": ("{name: other, naiveBayes: {}}", "{of: other, rounds: 3}", "rounds", "3 rounds, and 'other' is naiveBayes, which counts each row once; drop it"),
    "no round": ("", "{of: trees, rounds: 0}", "rounds", "0 is below 1; write 1 or more"),
}  # fmt: skip


@pytest.mark.parametrize(("other", "fine_tune", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_fine_tune_that_cannot_go_on_is_refused(
    mistakes_after: Broken, other: str, fine_tune: str, field: str, words: str
) -> None:
    before = f"      - {other}\n" if other else ""
    found = mistakes_after(OWN, f"{before}      - {{name: onward, fineTune: {fine_tune}}}\n{OWN}")
    assert [mistake.path for mistake in found] == [
        f"training.candidates[{4 if other else 3}].fineTune.{field}"
    ]
    assert words in found[0].message


@pytest.mark.parametrize("of", ["logistic", "trees"])
def test_a_sound_fine_tune_is_accepted(mistakes_after: Broken, of: str) -> None:
    assert mistakes_after(OWN, f"      - {{name: onward, fineTune: {{of: {of}}}}}\n{OWN}") == []


@pytest.mark.parametrize(
    "family",
    ["voting: {of: [trees, onward]}", "search: {of: [trees, onward]}", "fineTune: {of: onward}"],
    ids=["ensemble", "search", "fine-tune"],
)
def test_nothing_is_made_of_a_fine_tune(mistakes_after: Broken, family: str) -> None:
    added = f"      - {{name: onward, fineTune: {{of: trees}}}}\n      - {{name: more, {family}}}\n{OWN}"
    (found,) = mistakes_after(OWN, added)
    assert found.path == f"training.candidates[4].{family.partition(':')[0]}.of"
    assert found.message.startswith("'onward' is a fineTune, of which nothing can be made; name 'trees'")


def test_balanced_rows_and_a_fine_tune_are_not_together(flights: str) -> None:
    text = flights.replace(OWN, f"      - {{name: onward, fineTune: {{of: trees}}}}\n{OWN}")
    with pytest.raises(InvalidSpecError) as caught:
        parse(
            text.replace("    choose: {", "    balance: {method: Undersample}\n    choose: {"),
            base_dir=FLIGHTS.parent,
        )
    (found,) = caught.value.mistakes
    assert found.path == "training.balance"
    assert found.message.endswith("drop `balance`, or the fineTune")


def test_folds_of_all_times_do_not_judge_a_fine_tune(flights: str) -> None:
    text = flights.replace(OWN, f"      - {{name: onward, fineTune: {{of: trees}}}}\n{OWN}")
    assert text.count("choose: {metric") == 1
    with pytest.raises(InvalidSpecError) as caught:
        parse(text.replace("choose: {metric", "choose: {folds: 5, metric"), base_dir=FLIGHTS.parent)
    (found,) = caught.value.mistakes
    assert found.path == "training.choose.folds"
    assert found.message.startswith("5 folds draw rows of all times to judge by")
    assert found.message.endswith("drop `folds`, or the fineTune")

# ruff: noqa: E501 - tables of cases are read line by line
"""A student that can't be taught is refused at the field to change, with the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capstan.errors import Mistake

OWN = "      - {name: own, custom: "
Broken = Callable[[str, str], list[Mistake]]
REFUSED = {
    "unknown teacher": ("", "{of: forest, into: logistic}", "of", "'forest' is no candidate; before it stand baseline, logistic, trees"),
    "unknown student": ("", "{of: trees, into: forest}", "into", "'forest' is no candidate; before it stand baseline, logistic, trees"),
    "its own teacher": ("", "{of: trees, into: trees}", "into", "'trees' is the teacher too; name a smaller candidate as the student"),
    "a baseline teaches": ("", "{of: baseline, into: logistic}", "of", "'baseline' is a baseline, which says the same of every row; name one that looks at features"),
    "a baseline is taught": ("", "{of: trees, into: baseline}", "into", "'baseline' is mostFrequent, which can't learn answers in place of labels; name one of linearRegression, logisticRegression,"),
    "neighbours are taught": ("{name: near, nearestNeighbors: {}}", "{of: trees, into: near}", "into", "'near' is nearestNeighbors, which can't learn answers"),
    "a search is taught": ("{name: best, search: {of: [trees]}}", "{of: trees, into: best}", "into", "'best' is a search, and neither teaches nor is taught; name what it searches: trees"),
    "a search teaches": ("{name: best, search: {of: [trees]}}", "{of: best, into: trees}", "of", "'best' is a search, and neither teaches nor is taught"),
    "a fine-tune teaches": ("{name: onward, fineTune: {of: trees}}", "{of: onward, into: logistic}", "of", "'onward' is a fineTune, of which nothing can be made; name 'trees'"),
    "classes are counted": ("{name: fair, decisionTree: {classWeights: Balanced}}", "{of: trees, into: fair}", "into", "'fair' has `classWeights`, which count the rows of a class, and a student learns shares of classes; name one without"),
    "labels alone": ("", "{of: trees, into: logistic, labelShare: 100%}", "labelShare", "100% leaves nothing to the teacher; write less, or drop the candidate"),
    "no student": ("", "{of: trees}", "into", ""),
}  # fmt: skip


@pytest.mark.parametrize(("other", "distil", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_student_that_cannot_be_taught_is_refused(
    mistakes_after: Broken, other: str, distil: str, field: str, words: str
) -> None:
    before = f"      - {other}\n" if other else ""
    found = mistakes_after(OWN, f"{before}      - {{name: small, distil: {distil}}}\n{OWN}")
    assert [mistake.path for mistake in found] == [f"training.candidates[{4 if other else 3}].distil.{field}"]
    assert words in found[0].message


def test_a_sound_student_is_accepted(mistakes_after: Broken) -> None:
    small = "{name: small, distil: {of: trees, into: logistic, labelShare: 20%}}"
    assert mistakes_after(OWN, f"      - {small}\n{OWN}") == []

# ruff: noqa: E501 - tables of cases are read line by line
"""A search that cannot be made is refused at the field to change, with the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capstan.errors import Mistake

OWN = "      - {name: own, custom: "
TREES = "{of: trees, setting: "
Broken = Callable[[str, str], list[Mistake]]
REFUSED = {
    "unknown candidate": ("{of: [logistic, forest]}", "of", "'forest' is no candidate; before it stand baseline, logistic, trees"),
    "itself": ("{of: [trees, best]}", "of", "'best' is the search itself; name candidates that stand before it"),
    "no candidate": ("{of: []}", "of", "1 or more"),
    "twice the same": ("{of: [trees, trees]}", "of[1]", "'trees' is written twice; keep one"),
    "nothing to change": ("{of: [baseline]}", "of", "baseline: there is nothing to change, so every trial would be the same; name a candidate of linearRegression, logisticRegression,"),
    "everything fixed": ("{of: [logistic], ranges: [{of: logistic, setting: l2, min: 1, max: 1}]}", "of", "logistic: there is nothing to change"),
    "no trial": ("{of: [trees], trials: 0}", "trials", "0 is below 1; write 1 or more"),
    "too few trials": ("{of: [logistic, trees], trials: 1}", "trials", "1 is too few to try each of 2 candidates as it is written; write 2 or more"),
    "no time": ("{of: [trees], time: 0s}", "time", "0s"),
    "too much time": ("{of: [trees], time: 11h}", "time", "11h is above 80% of training.fitDeadline (12h), which may leave no time for the last fit; write less, or raise it"),
    "no process": ("{of: [trees], parallel: 0}", "parallel", "0 is below 1"),
    "no round": ("{of: [trees], prune: {rounds: 0}}", "prune.rounds", "0 is below 1"),
    "range of another candidate": ("{of: [trees], ranges: [{of: logistic, setting: l2, min: 1, max: 2}]}", "ranges[0].of", "'logistic' is not searched here; `of` names trees"),
    "unknown setting": ("{of: [trees], ranges: [" + TREES + "depth, min: 1, max: 2}]}", "ranges[0].setting", "'depth' is no setting of gradientBoosting that is a number, a share or one of several texts; those are classWeights, learningRate,"),
    "setting that is a map": ("{of: [trees], ranges: [" + TREES + "earlyStopping, min: 1, max: 2}]}", "ranges[0].setting", "'earlyStopping' is no setting of gradientBoosting that is a number"),
    "setting of other labels": ("{of: [trees], ranges: [" + TREES + "quantile, min: 0.1, max: 0.9}]}", "ranges[0].setting", "'quantile' is a setting for other labels than those of BinaryClassification; drop the range"),
    "below the family's limit": ("{of: [trees], ranges: [" + TREES + "leaves, min: 1, max: 9}]}", "ranges[0].min", "as leaves of gradientBoosting: 1 is below 2; write 2 or more"),
    "above the family's limit": ("{of: [trees], ranges: [" + TREES + "learningRate, min: 0.1, max: 3}]}", "ranges[0].max", "as learningRate of gradientBoosting: 3.0 is above 1.0; write 1.0 or less"),
    "a half for a whole number": ("{of: [trees], ranges: [" + TREES + "leaves, min: 2.5, max: 9}]}", "ranges[0].min", "as leaves of gradientBoosting: 2.5 is not a whole number"),
    "share above all": ("{of: [trees], ranges: [" + TREES + "columnShare, min: 0.5, max: 1.5}]}", "ranges[0].max", "as columnShare of gradientBoosting: 1.5 is not a share"),
    "share of nothing": ("{of: [trees], ranges: [" + TREES + "columnShare, min: 0, max: 1}]}", "ranges[0].min", "is nothing; write a share above 0%"),
    "ends the wrong way round": ("{of: [trees], ranges: [" + TREES + "leaves, min: 9, max: 2}]}", "ranges[0]", "`min` is above `max`; write the smaller one first"),
    "one end": ("{of: [trees], ranges: [" + TREES + "leaves, min: 9}]}", "ranges[0]", "write the two ends of a number, or the texts to choose from"),
    "ends and choices": ("{of: [trees], ranges: [" + TREES + "leaves, min: 2, max: 9, choices: [a]}]}", "ranges[0]", "write the two ends of a number, or the texts to choose from"),
    "choices of a number": ("{of: [trees], ranges: [" + TREES + "leaves, choices: ['9']}]}", "ranges[0].choices", "leaves is a number; write `min` and `max`"),
    "ends of a text": ("{of: [trees], ranges: [" + TREES + "classWeights, min: 1, max: 2}]}", "ranges[0].min", "classWeights is a text; write `choices`, such as Balanced"),
    "unknown choice": ("{of: [trees], ranges: [" + TREES + "classWeights, choices: [Rare]}]}", "ranges[0].choices", "as classWeights of gradientBoosting: 'Rare' is not"),
    "range twice": ("{of: [trees], ranges: [" + TREES + "leaves, min: 2, max: 9}, " + TREES + "leaves, min: 2, max: 8}]}", "ranges[1].setting", "'leaves' of trees has a range already; keep one"),
    "logarithm of nothing": ("{of: [trees], ranges: [" + TREES + "l2, min: 0, max: 9, scale: Logarithmic}]}", "ranges[0]", "needs a `min` above 0; raise it, or write `scale: Linear`"),
}  # fmt: skip


@pytest.mark.parametrize(("search", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_search_that_cannot_be_made_is_refused(
    mistakes_after: Broken, search: str, field: str, words: str
) -> None:
    found = mistakes_after(OWN, f"      - {{name: best, search: {search}}}\n{OWN}")
    assert [mistake.path for mistake in found] == [f"training.candidates[3].search.{field}"]
    assert words in found[0].message


SOUND = {
    "two families": "{of: [logistic, trees]}",
    "all that there is": "{of: [trees], trials: 9, time: 5m, parallel: 2, prune: {rounds: 1, factor: 4}}",
    "a setting more": "{of: [trees], ranges: [{of: trees, setting: leafRows, min: 5, max: 500}]}",
    "a share": "{of: [trees], ranges: [{of: trees, setting: columnShare, min: 0.3, max: 1}]}",
    "a setting that has no value": "{of: [trees], ranges: [{of: trees, setting: focus, min: 1, max: 3}]}",
    "a text": "{of: [trees], ranges: [{of: trees, setting: classWeights, choices: [Balanced]}]}",
    "one value": "{of: [trees], ranges: [{of: trees, setting: leaves, min: 9, max: 9}]}",
    "a baseline beside": "{of: [baseline, trees]}",
}


@pytest.mark.parametrize("search", SOUND.values(), ids=SOUND.keys())
def test_a_sound_search_is_accepted(mistakes_after: Broken, search: str) -> None:
    assert mistakes_after(OWN, f"      - {{name: best, search: {search}}}\n{OWN}") == []


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (
            "voting: {of: [trees, best]}",
            "'best' is a search, and an ensemble has none; name what it searches: trees",
        ),
        (
            "search: {of: [best]}",
            "'best' is a search, and a search tries no other search; name what it searches: trees",
        ),
    ],
    ids=["ensemble", "search"],
)
def test_nothing_is_made_of_a_search(mistakes_after: Broken, family: str, message: str) -> None:
    added = f"      - {{name: best, search: {{of: [trees]}}}}\n      - {{name: more, {family}}}\n{OWN}"
    (found,) = mistakes_after(OWN, added)
    assert found.path == f"training.candidates[4].{family.partition(':')[0]}.of"
    assert found.message.startswith(message)


def test_a_model_of_ones_own_has_the_parameters_that_it_names(mistakes_after: Broken) -> None:
    own = "      - {name: mine, custom: {factory: 'm:make', parameters: {depth: 3, rule: gini}}}\n"

    def refused(span: str) -> list[Mistake]:
        search = f"      - {{name: best, search: {{of: [mine], ranges: [{{of: mine, {span}}}]}}}}\n"
        return mistakes_after(OWN, own + search + OWN)

    assert refused("setting: depth, min: 1, max: 9") == []
    assert refused("setting: rule, choices: [gini, entropy]") == []
    (half,) = refused("setting: depth, min: 1.5, max: 9")
    assert "1.5 is no whole number, as 3 is; write one" in half.message
    (unknown,) = refused("setting: width, min: 1, max: 9")
    assert "'width' is no setting of custom" in unknown.message
    assert unknown.message.endswith("those are depth, rule")

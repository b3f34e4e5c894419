"""A grid of policies is made of the file's own grammar, and what is wrong with an option is told with its way out."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from capstan.embedded.backtest.variations import MOST_POLICIES, Policy, policies_of, split_values
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse

FILE = Path(__file__).parents[2] / "spec" / "flight_delays.yaml"
DOCUMENT: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe").load(FILE.read_text()), default=str))


@pytest.fixture(scope="module")
def system() -> MLSystem:
    return parse(DOCUMENT, base_dir=Path())


def test_every_combination_is_a_policy_and_the_last_path_varies_fastest(system: MLSystem) -> None:
    found = policies_of(
        system,
        DOCUMENT,
        ["retraining.cooldown=7d,14d", "spec.monitoring.drift.minEffect=0.05, 0.2"],
    )
    assert [one.name for one in found] == [
        "cooldown=7d minEffect=0.05",
        "cooldown=7d minEffect=0.2",
        "cooldown=14d minEffect=0.05",
        "cooldown=14d minEffect=0.2",
    ]
    spec = found[1].system.spec
    assert (spec.retraining.cooldown, spec.monitoring.drift.min_effect) == (timedelta(days=7), 0.2)
    assert DOCUMENT["spec"]["retraining"]["cooldown"] == "14d", "the file itself stays as it is"


def test_fields_of_one_name_are_told_apart(system: MLSystem) -> None:
    paths = (
        "rollout.steps[0].shadow.minBlocks=3",
        "rollout.steps[1].canary.minBlocks=4",
        "retraining.cooldown=7d",
    )
    values = dict(path.split("=") for path in paths)
    assert Policy(values, system).name == f"{paths[0]} {paths[1]} cooldown=7d"


def test_items_of_lists_are_named_by_place_or_name_and_values_may_be_lists(system: MLSystem) -> None:
    triggers = "retraining.triggers=[{drift: {}}, {quality: {}}],[{quality: {}}]"
    found = policies_of(
        system,
        DOCUMENT,
        ["rollout.steps[0].shadow.minBlocks=3", "rollout.analyses[quality].margin=0.02", triggers],
    )
    assert len(found) == 2
    first, second = (one.system.spec for one in found)
    assert first.rollout.steps[0].shadow is not None
    assert first.rollout.steps[0].shadow.min_blocks == 3
    assert first.rollout.analyses[0].margin == 0.02
    assert [len(one.retraining.triggers) for one in (first, second)] == [2, 1]


def test_without_options_the_file_is_the_only_policy(system: MLSystem) -> None:
    [only] = policies_of(system, DOCUMENT, [])
    assert (only.name, only.system.spec) == ("the file", system.spec)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("retraining.cooldwn=7d", ["--vary retraining.cooldwn=7d: unknown key", "did you mean cooldown?"]),
        ("retraining.cooldown=soon", ["--vary retraining.cooldown=soon: ", "is not a duration", "7d"]),
        ("monitoring.drift.minEffect=2", ["--vary monitoring.drift.minEffect=2: ", "below 1"]),
        ("data.timeZone=UTC", ["'data' can't be varied", "retraining, monitoring, rollout"]),
        ("cooldown", ["must read PATH=VALUE,VALUE"]),
        ("retraining.cooldown=", ["must read PATH=VALUE,VALUE"]),
        ("retraining.cooldown=7d,,14d", ["has an empty value"]),
        ("retraining.cooldown=7d,7d", ["has 7d twice"]),
        ("retraining..cooldown=7d", ["is no path of the file"]),
        ("rollout.steps[9].shadow.minBlocks=3", ["has no item 9", "0 to 2"]),
        ("rollout.analyses[speed].margin=1", ["has no item speed", "quality"]),
        ("retraining.cooldown.days=7", ["retraining.cooldown.days"]),
        ("rollout.steps[²].shadow.minBlocks=3", ["has no item ²", "0 to 2"]),
        ("retraining.cooldown=7d\ncooldown: 9d", ["has several lines"]),
        ("retraining.cooldown=7d,168h", ["7d and 168h make the same policy (cooldown=7d)"]),
    ],
)
def test_what_is_wrong_is_told_with_the_option_and_the_way_out(
    system: MLSystem, option: str, words: list[str]
) -> None:
    with pytest.raises(InvalidSpecError) as error:
        policies_of(system, DOCUMENT, [option])
    for word in words:
        assert word in str(error.value)


def test_a_path_twice_and_too_many_policies_are_refused(system: MLSystem) -> None:
    with pytest.raises(InvalidSpecError, match="is varied twice"):
        policies_of(system, DOCUMENT, ["retraining.cooldown=7d", "retraining.cooldown=14d"])
    days = ",".join(f"{day}d" for day in range(1, 52))
    with pytest.raises(InvalidSpecError, match=f"51 x 2 = 102 policies, at most {MOST_POLICIES}"):
        policies_of(system, DOCUMENT, [f"retraining.cooldown={days}", "monitoring.drift.minEffect=0.1,0.2"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["retraining.cooldown=7d,14d", "retraining={cooldown: 3d}"],
            "retraining and retraining.cooldown are of",
        ),
        (["rollout.steps=[{shadow: {}}]", "rollout.steps[0].shadow.minBlocks=3"], "one would undo the other"),
        (
            ["rollout.analyses[0].margin=0.01,0.02", "rollout.analyses[quality].margin=0.03,0.04"],
            r"analyses\[0\].margin: 0.01 and 0.02 make the same policy",
        ),
    ],
)
def test_a_value_that_another_option_would_overwrite_is_refused(
    system: MLSystem, options: list[str], words: str
) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        policies_of(system, DOCUMENT, options)


def test_commas_in_brackets_and_quotes_do_not_split() -> None:
    assert split_values("[1, 2],{a: 1, b: 2},'x,y',z") == ["[1, 2]", "{a: 1, b: 2}", "'x,y'", "z"]


def test_threads_of_a_training_are_no_policy(system: MLSystem) -> None:
    with pytest.raises(InvalidSpecError, match=r"training\.threads=2.*can't be varied"):
        policies_of(system, DOCUMENT, ["training.threads=1,2"])

"""The step in which users get one list of two rankers, in the file of the ranking example."""

from datetime import timedelta
from pathlib import Path

import pytest

from capstan.domain.rollout import RolloutState
from capstan.domain.steps.interleave import InterleaveStep, PreferenceQuestion
from capstan.domain.traffic import Interleaved, Weight, champion_only
from capstan.domain.verdicts.interleaving import Method
from capstan.domain.verdicts.preference import PreferenceRule
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName
from capstan.engine.policies import system_policy
from capstan.errors import InvalidSpecError
from capstan.spec import load

EXAMPLE = Path(__file__).parents[3] / "examples/flight-ranking/system.yaml"
CANARY = "- canary: {weight: 50, duration: 2d, minRequests: 40}"


def loaded(step: str, folder: Path):
    text = EXAMPLE.read_text()
    assert CANARY in text
    file = folder / "system.yaml"
    file.write_text(text.replace(CANARY, f"- interleave: {step}"))
    return load(file)


def test_a_guardrail_is_followed_for_a_window_of_its_own(tmp_path):
    system = loaded(
        "{event: click, window: 2h, guardrails: [{event: return, window: 14d}, {event: report}], deadline: 21d}",
        tmp_path,
    )
    policy = system_policy(system).rollout
    step = policy.steps[1]
    assert isinstance(step, InterleaveStep)
    state = RolloutState.at_step(1)
    split = step.split(VersionName("v1"), VersionName("v2"), "r1", state)
    asked = {one.need.event: one.need for one in step.questions(policy, split, state)}
    assert {event: need.window for event, need in asked.items()} == {
        "click": timedelta(hours=2),
        "return": timedelta(days=14),
        "report": timedelta(hours=2),
    }
    assert {need.maximum_delay for need in asked.values()} == {timedelta(minutes=10)}
    # Nothing is decided before the first unit's returns are known.
    assert step.first_outcome(policy) == timedelta(days=14, minutes=10)


def test_a_step_of_the_file_says_its_traffic_and_its_question(tmp_path):
    system = loaded(
        "{percent: 40, method: Balanced, event: click, minUnits: 300, decide: UnlessWorse, deadline: 14d}",
        tmp_path,
    )
    policy = system_policy(system).rollout
    step = policy.steps[1]
    assert isinstance(step, InterleaveStep)
    champion, challenger = VersionName("v1"), VersionName("v2")
    state = RolloutState.at_step(1)
    split = step.split(champion, challenger, "r1", state)
    assert split.arms == champion_only(champion).arms
    assert (split.salt, split.interleaved) == (
        "r1",
        Interleaved(challenger, Weight(40), Method.BALANCED),
    )
    [asked] = [one for one in step.questions(policy, split, state) if isinstance(one, PreferenceQuestion)]
    assert asked.rule == PreferenceRule(Decide.UNLESS_WORSE, 300, 0.05)
    assert (asked.need.event, asked.need.method) == ("click", Method.BALANCED)
    assert asked.need.window + asked.need.maximum_delay == timedelta(minutes=70)
    assert step.describe() == "interleave 40 %"


@pytest.mark.parametrize(
    ("step", "path", "words"),
    [
        ("{}", "interleave.event", "required"),
        (
            "{event: click, window: 2d, deadline: 1d}",
            "interleave.deadline",
            "its window (2d) and maximumDelay (10m) are over",
        ),
        (
            "{event: click, guardrails: [{event: report}, {event: return, window: 14d}], deadline: 14d}",
            "interleave.guardrails[1].window",
            "14d and maximumDelay (10m) are longer than the step's deadline (14d), so no unit would ever count for it; "
            "make the window shorter or the deadline longer",
        ),
        ("{event: click, minUnits: 5}", "interleave.minUnits", "20"),
        ("{event: click, decide: NotWorse}", "interleave.decide", "UnlessWorse"),
        ("{event: click, decide: UnlessWorse}", "interleave", "perhaps for ever; write a deadline"),
        ("{event: click, percent: 0}", "interleave.percent", "1"),
        ("{event: 'a click'}", "interleave.event", "letters, digits"),
    ],
)
def test_what_cannot_be_is_refused_by_field_and_rule(tmp_path, step, path, words):
    with pytest.raises(InvalidSpecError) as raised:
        loaded(step, tmp_path)
    [mistake] = raised.value.mistakes
    assert mistake.path == f"rollout.steps[1].{path}"
    assert words in str(mistake)

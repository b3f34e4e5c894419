"""What a replay's report tells of steps that ask users, by stories of the whole engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation.scripts import SCRIPTS, drift, experimenting, interleaving, learning, with_a_second_version
from simulation.world import SYSTEM, Model, World

from capstan.cli.console import out
from capstan.cli.online_shown import print_online
from capstan.dashboard.page import ExperimentShown
from capstan.dashboard.view import Sources, StoreView
from capstan.domain.actions import Verb
from capstan.domain.online_steps import OnlineStep
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.system import SystemPolicy
from capstan.domain.versions import SystemName
from capstan.embedded.replay.online_section import online_section
from capstan.engine.observe import ask_users
from capstan.engine.policies import policy_of
from capstan.errors import UnavailableError
from capstan.ports.store import Kind, Record


def section(world: World, folder: Path) -> list[Any]:
    record = world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    policy = policy_of(record).rollout
    return list(
        online_section(
            world.store,
            SystemName(SYSTEM),
            policy,
            world.evidence,
            now=world.clock.now(),
            folder=folder,
        )
    )


def printed(steps: list[Any], folder: Path) -> str:
    with out.capture() as capture:
        print_online(steps, folder)
    return capture.get()


def test_an_experiment_that_won_is_told_with_its_arms_its_verdict_and_a_plot(tmp_path: Path) -> None:
    world = World()
    guarded = {"guardrails": [{"metric": "complaints", "margin": 0.03}]}
    experimenting(world, minimumEffect=0.01, **guarded)
    world.start()
    drift(world, gain=0.08)
    world.days(12)
    (told,) = section(world, tmp_path)
    assert (told["kind"], told["champion"], told["challenger"], told["ended"]) == (
        *("experiment", "v1", "v2"),
        "passed",
    )
    champion, challenger = told["found"]["arms"]
    assert champion["units"] >= 500
    assert 0.01 < challenger["lower"] < challenger["difference"] < challenger["upper"]
    assert challenger["difference"] == pytest.approx(0.08)
    (guardrail,) = told["found"]["others"]
    assert (guardrail["purpose"], guardrail["metric"]) == ("guardrail", "complaints")
    assert told["found"]["ratio"]["outcome"] == "Successful"
    verdicts = {one["name"]: one for one in told["verdicts"]}
    assert "the true gain may be as small as" in verdicts["experiment"]["message"]
    assert verdicts["guardrail complaints"]["outcome"] == "Successful"
    drawing = (tmp_path / told["plot"]).read_text()
    assert drawing.startswith("<?xml")
    assert len(challenger["series"]) == 2
    text = printed([told], tmp_path)
    for words in ("experiment 50 % of v2 against v1", "sample ratio Successful", "may stop it", told["plot"]):
        assert words in " ".join(text.split())


def test_the_plot_of_the_same_experiment_is_the_same_bytes(tmp_path: Path) -> None:
    world = World()
    experimenting(world)
    world.start()
    drift(world, gain=-0.08)
    world.days(7)
    (told,) = section(world, tmp_path)
    assert told["ended"] == "rolled back"
    first = (tmp_path / told["plot"]).read_bytes()
    section(world, tmp_path)
    assert (tmp_path / told["plot"]).read_bytes() == first


def test_a_frozen_experiment_that_a_person_ends_says_so(tmp_path: Path) -> None:
    world = World()
    experimenting(world)
    world.start()
    drift(world, gain=0.08)
    world.obeyed = {"v1": 0.56, "v2": 0.44}
    world.days(4)
    world.ask(Verb.ABORT)
    world.settle()
    (told,) = section(world, tmp_path)
    assert told["found"]["ratio"]["outcome"] == "Failed"
    assert (told["ended"], told["why"]) == ("rolled back", "a person asked for it")
    text = " ".join(printed([told], tmp_path).split())
    assert "verdict frozen" in text
    assert "rolled back: a person asked for it" in text


def test_before_the_one_look_of_a_fixed_horizon_no_difference_is_told(tmp_path: Path) -> None:
    world = World()
    experimenting(world, test="FixedHorizon", duration="5d", minimumEffect=0.01)
    world.start()
    drift(world, gain=0.08)
    world.days(5)
    (early,) = section(world, tmp_path)
    assert early["ended"] == "runs"
    assert early["plot"] is None
    assert all(arm["difference"] is None and not arm["series"] for arm in early["found"]["arms"])
    world.days(6)
    (told,) = section(world, tmp_path)
    assert told["ended"] == "passed"
    assert [len(arm["series"]) for arm in told["found"]["arms"]] == [0, 1]


def test_an_arm_that_wins_in_the_place_of_the_challenger_is_told_as_what_it_was(tmp_path: Path) -> None:
    world = World()
    with_a_second_version(world)
    world.models["v2"], world.models["v3"] = Model(gain=0.1), Model(gain=0.0)
    world.fire()
    world.settle()
    world.resolve()
    world.days(9)
    assert world.champion == "v2"
    (told,) = section(world, tmp_path)
    assert told["challenger"] == "v3"
    assert [(arm["version"], arm["wanted"]) for arm in told["found"]["arms"]] == [
        *(("v1", 40), ("v3", 30)),
        ("v2", 30),
    ]


def test_a_bandit_is_told_with_its_shares_and_its_regret(tmp_path: Path) -> None:
    world = World()
    learning(world, minimumEffect=0.005)
    world.start()
    drift(world, gain=0.04)
    world.days(22)
    (told,) = section(world, tmp_path)
    found = told["found"]
    assert found["moves"][-1]["weights"]["v2"] > 80
    lost = [point["bandit"] for point in found["regret"]]
    assert lost == sorted(lost), "regret only grows"
    assert 0 < lost[-1] < found["regret"][-1]["even"]
    champion, challenger = found["arms"]
    # Estimates weighted by propensity, as the verdict has them.
    assert champion["mean"] - challenger["mean"] == pytest.approx(0.04, abs=0.005)
    assert challenger["lower"] < 0.04 < challenger["upper"]
    drawing = (tmp_path / told["plot"]).read_text()
    assert "Estimated regret" in drawing or len(drawing) > 10_000
    assert "estimated regret" in printed([told], tmp_path)


def test_a_preference_is_told_by_day(tmp_path: Path) -> None:
    world = World()
    interleaving(world, won=70, lost=45)
    world.start()
    drift(world)
    world.days(12)
    (told,) = section(world, tmp_path)
    found = told["found"]
    assert found["wins"] > found["losses"] > 0
    assert [point["units"] for point in found["series"]] == [
        415 * day for day in range(1, len(found["series"]) + 1)
    ]
    assert 0 < found["lower"] < found["preference"] < found["upper"]
    assert (tmp_path / told["plot"]).exists()
    assert "units by whom their events named click prefer" in printed([told], tmp_path)


def test_verdicts_are_told_where_the_evidence_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    experimenting(world)
    world.start()
    drift(world, gain=-0.08)
    world.days(7)

    def away(*_: object) -> Any:
        raise UnavailableError("evidence", "the folder is gone")

    monkeypatch.setattr(world.evidence, "by_arm", away)
    (told,) = section(world, tmp_path)
    assert (told["found"], told["plot"]) == (None, None)
    text = printed([told], tmp_path)
    assert "the folder is gone" in text
    assert "shown worse" in text


def test_the_page_asks_for_the_step_and_goes_by_the_policy_of_the_loop() -> None:
    world = World()
    experimenting(world)
    world.start()
    drift(world, gain=0.0)
    world.days(5)
    sources = Sources(
        users=lambda step, need: ask_users(
            world.evidence, need, step.champion, step.challenger, since=step.since, now=step.until
        )
    )

    def shown(policy: Callable[[Record], SystemPolicy]) -> ExperimentShown | None:
        view = StoreView(world.store, SystemName(SYSTEM), world.clock, True, sources, policy=policy)
        rollout = view.snapshot().rollout
        assert rollout is not None
        return rollout.experiment

    found = shown(policy_of)
    assert found is not None
    assert found.is_running
    assert len(found.arms[1].series) == 2

    def of_another_file(record: Record) -> SystemPolicy:
        policy = policy_of(record)
        return replace(policy, rollout=replace(policy.rollout, digest="another"))

    assert shown(of_another_file) is None


def test_the_page_shows_all_that_an_experiment_found_as_soon_as_it_has_ended() -> None:
    world = World()
    experimenting(world, guardrails=[{"metric": "complaints", "margin": 0.03}])
    world.start()
    drift(world, gain=-0.08)
    asked: list[Arms | Interleaving] = []

    def users(step: OnlineStep, need: Arms | Interleaving) -> Any:
        asked.append(need)
        return ask_users(
            world.evidence, need, step.champion, step.challenger, since=step.since, now=step.until
        )

    # The page's own clock stands still: no evidence grows old.
    view = StoreView(
        world.store, SystemName(SYSTEM), world.clock, True, Sources(users=users), policy=policy_of
    )
    view.monotonic = lambda: 0.0

    def guardrail() -> tuple[bool, int]:
        rollout = view.snapshot().rollout
        assert rollout is not None
        assert rollout.experiment is not None
        return rollout.experiment.is_running, sum(arm.units for arm in rollout.experiment.others[0].arms)

    world.days(2)
    runs, early = guardrail()
    assert runs
    world.days(8)
    runs, known = guardrail()
    assert not runs
    assert known > early
    before = len(asked)
    assert guardrail() == (False, known)
    assert len(asked) == before


@pytest.mark.parametrize(
    "story",
    [
        "arm_that_breaks_a_guardrail_leaves_and_the_others_go_on",
        "bandit_takes_an_arm_out_that_breaks_a_guardrail",
    ],
)
def test_a_step_that_an_arm_left_is_told_without_it(tmp_path: Path, story: str) -> None:
    world = World()
    SCRIPTS[story](world)
    told = section(world, tmp_path)[-1]
    assert (told["champion"], told["challenger"]) == ("v1", "v3")
    assert [arm["version"] for arm in told["found"]["arms"]] == ["v1", "v3"]
    assert told["found"]["arms"][1]["difference"] == pytest.approx(0.06, abs=0.01)
    (guardrail,) = told["found"]["others"]
    assert (guardrail["purpose"], guardrail["metric"]) == ("guardrail", "complaints")
    assert [arm["version"] for arm in guardrail["arms"]] == ["v1", "v3"]
    assert guardrail["arms"][1]["difference"] is not None
    assert (tmp_path / told["plot"]).exists()
    assert "guardrail complaints per unit, lower is better" in printed([told], tmp_path)


def test_the_page_tells_how_long_an_experiment_takes_and_who_takes_no_part() -> None:
    world = World()
    SCRIPTS["arm_that_dies_leaves_the_experiment"](world)
    rollout = StoreView(world.store, SystemName(SYSTEM), world.clock, True, Sources()).snapshot().rollout
    assert rollout is not None
    (forecast,) = rollout.forecasts
    assert "with a power of 80 %" in forecast
    assert rollout.left.keys() == {"v2", "v9"}
    assert "the registry did not know it" in rollout.left["v9"]

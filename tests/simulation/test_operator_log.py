"""Claims about the operator's log: one line for each decision and each action, and nothing said twice."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from simulation.operator_world import NAMESPACE, OperatorWorld
from simulation.world import SYSTEM

from capstan.adapters.kubernetes.store import KubeStore
from capstan.domain.traffic import champion_only
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError

WHERE = f"system={NAMESPACE}/{SYSTEM} "


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> OperatorWorld:
    caplog.set_level(logging.INFO, logger="capstan.engine")
    caplog.set_level(logging.INFO, logger="capstan_operator")
    return OperatorWorld()


def lines(caplog: pytest.LogCaptureFixture, start: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(start)]


def test_every_decision_of_the_story_is_a_line_of_the_log(
    world: OperatorWorld, caplog: pytest.LogCaptureFixture
):
    world.until_canary()
    told = [event.reason for _, event in KubeStore(world.server, NAMESPACE).events()]
    logged = [re.search(r"reason=(\S+)", line) for line in lines(caplog, "decision ")]
    assert [found.group(1) for found in logged if found] == told
    assert {"FirstDeployed", "StepPassed"} <= set(told)


def test_every_action_is_one_line_that_says_what_about_what_and_how_it_ended(
    world: OperatorWorld, caplog: pytest.LogCaptureFixture
):
    world.until_serving()
    said = lines(caplog, "action ")
    assert all(WHERE in line for line in said)
    for action in (
        "CreateRun run=",
        "StartTraining run=",
        "DeployVersion version=v1 digest=",
        "SetTraffic split=",
    ):
        found = [line for line in said if f"do={action}" in line]
        assert len(found) == 1, (action, said)
        assert found[0].endswith("result=done")
    assert len(said) == len(set(said))


def test_an_action_that_waits_for_a_part_is_told_once_and_again_when_it_is_done(
    world: OperatorWorld, caplog: pytest.LogCaptureFixture
):
    world.until_serving()
    caplog.clear()
    world.parts.traffic.edit_by_hand(champion_only(VersionName("v0")))
    for number in (1, 2):
        world.parts.traffic.faults.on("apply", number, UnavailableError("gateway", "it reloads"))
    world.settle()
    world.follow(timedelta(minutes=1), step=timedelta(seconds=5))
    results = [line.partition("result=")[2] for line in lines(caplog, "action ") if "do=SetTraffic" in line]
    assert results == ['"gateway is unavailable: it reloads"', "done"]


def test_an_idle_system_adds_nothing_to_the_log(world: OperatorWorld, caplog: pytest.LogCaptureFixture):
    world.until_serving()
    caplog.clear()
    world.follow(timedelta(hours=1), step=timedelta(seconds=30))
    assert caplog.records == []

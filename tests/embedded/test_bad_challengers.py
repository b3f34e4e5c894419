"""Bad versions, injected past the gate under live traffic: the right verdict catches each, and no user notices."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from embedded.faulty import make_faulty
from embedded.running import Running
from embedded.scenario import NAME, write_variant
from sklearn.tree import DecisionTreeClassifier

from capstan.adapters.processes import draining
from capstan.data import extract
from capstan.domain.rollout import RolloutPhase
from capstan.domain.versions import VersionName
from capstan.embedded import supervisor
from capstan.embedded.layout import StateDir
from capstan.engine import commands

pytestmark = [pytest.mark.real, pytest.mark.slow]
CANARY = [{"canary": {"weight": 50, "duration": "2d", "minRequests": 40}}]
SHADOW = [
    {
        "shadow": {
            "percent": 100,
            "minRequests": 200,
            "minLabels": 200,
            "minBlocks": 7,
            "analyses": ["quality"],
            "deadline": "10d",
        }
    },
    *CANARY,
]
NO_RETRAINING = {"cooldown": "300d", "budget": {"runs": 1, "per": "300d"}}
STRICT = {"latencyP99": {"maxRatio": 1.5, "floor": "150ms"}, "errorRate": {"max": 0.01}}


@pytest.fixture(scope="module")
def running(
    world: Path, copy_of: Callable[[str], StateDir], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    file = write_variant(
        tmp_path_factory.mktemp("bad"), world, {"retraining": NO_RETRAINING, "replay": {"end": "2013-02-27"}}
    )
    with pytest.MonkeyPatch.context() as patch:
        # A dead or hanging challenger hands nothing in, however long a replay waits for it.
        patch.setattr(supervisor, "QUIET_SECONDS", 2.0)
        patch.setattr(draining, "DRAIN_SECONDS", 2.0)
        system = Running(file, copy_of("bad-state"), share=0.2)
        try:
            system.start()
            yield system
        finally:
            system.stop()


@pytest.fixture(autouse=True)
def one_rollout_at_a_time(running: Running) -> Iterator[None]:
    """What a failed test left in progress must not fail the next one."""
    yield
    if running.state_now.rollout is not None:
        commands.issue(running.local.store, NAME, "abort")
        running.eventually(lambda: running.state_now.rollout is None)


def copied_model(running: Running, folder: Path) -> Path:
    return shutil.copytree(running.model_of(running.champion), folder / "model")


def with_fault(running: Running, folder: Path, fault: str) -> Path:
    """The champion's own model with a fault that shows on users' rows alone."""
    return make_faulty(copied_model(running, folder), fault)


def with_shuffled_labels(running: Running, folder: Path) -> Path:
    """A model that learnt by heart what was never true: a tree so deep that each day says how wrong it is."""
    model = copied_model(running, folder)
    pipeline = joblib.load(model / "pipeline.joblib")
    as_of = running.champion.as_of
    table = extract(running.system, as_of=as_of, labels_as_of=as_of)
    labels = table.column("late").to_numpy(zero_copy_only=False)
    known = np.array([label is not None and label == label for label in labels])
    rows = {name: table.column(name).to_numpy(zero_copy_only=False)[known] for name in table.column_names}
    shuffled = np.random.default_rng(7).permutation(labels[known].astype(bool))
    by_heart = DecisionTreeClassifier(max_depth=20, random_state=7)
    by_heart.fit(pipeline.steps[0][1].transform(rows), shuffled)
    pipeline.steps[-1] = ("model", by_heart)
    joblib.dump(pipeline, model / "pipeline.joblib")
    return model


def roll_out_in_vain(
    running: Running, model: Path, *, run: str, days: int, afterwards: int = 0
) -> tuple[VersionName, list[Any]]:
    """Inject the model, go on until its rollout is over and for the days `afterwards`; no request may fail.

    The champion must have all traffic again.
    """
    champion, before = running.champion, running.last_event
    version = running.inject(model, run)

    def is_over() -> bool:
        return any(event.reason in ("RolledBack", "Promoted") for event in running.events(after=before))

    answered = running.days_until(is_over, at_most=days)
    events = running.events(after=before)
    told = [event.reason for event in events]
    assert "RolledBack" in told, running.story()
    if afterwards:
        answered.add(running.days(afterwards))
    assert answered.failed == 0, answered.failures
    assert answered.sent > 50
    assert running.champion == champion
    assert running.rollout is None or running.rollout.phase is RolloutPhase.ROLLED_BACK
    running.supervisor.look()
    split = running.local.gateway.read_back()
    assert split is not None
    assert (split.weight_of(champion.name), split.versions) == (100, {champion.name})
    assert running.local.registry.aliases() == {"champion": champion.name}
    assert version not in running.local.versions.readiness(), "its process is gone"
    answer = running.ask(**{"x-capstan-key": "N12345"})
    assert (answer.status_code, answer.headers["x-capstan-version"]) == (200, champion.name)
    return version, events


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("raises", "AnalysisFailed", "failed, at most 1.00% may"),
        ("hangs", "AnalysisFailed", "failed, at most 1.00% may"),
        ("slow", "AnalysisFailed", "took longer than"),
        ("nan", "AnalysisFailed", "failed, at most 1.00% may"),
    ],
)
def test_a_challenger_that_fails_its_users_is_rolled_back_and_none_of_them_notices(
    running: Running, tmp_path: Path, fault: str, reason: str, words: str
) -> None:
    running.edit({"rollout": {"steps": CANARY, "guardrails": STRICT}})
    # One after the other, slow answers stay within the gateway's patience: slow is not failed.
    running.connect(1 if fault == "slow" else 4)
    model = with_fault(running, tmp_path, fault)
    version, events = roll_out_in_vain(running, model, run=f"canary-{fault}", days=4)
    told = {event.reason: event.message for event in events}
    assert reason in told, running.story()
    assert words in told[reason]
    assert version in told["RolledBack"]


def test_a_challenger_that_dies_at_its_start_never_gets_a_request(running: Running, tmp_path: Path) -> None:
    """FAULTS 13."""
    running.edit({"rollout": {"steps": CANARY, "progressDeadline": "4s"}})
    model = with_fault(running, tmp_path, "crashes")
    try:
        # So quick a rollback may be over before anybody asks.
        version, events = roll_out_in_vain(running, model, run="crashes", days=12, afterwards=1)
    finally:
        running.edit({"rollout": {"progressDeadline": "5m"}})
    told = [event.reason for event in events]
    assert "ProgressDeadlineExceeded" in told
    assert "StepStarted" not in told
    served = running.local.evidence.answered_with_labels(running.scope.start, running.scope.end)
    assert version not in served.table.column("version").to_pylist()


def test_a_challenger_that_learnt_shuffled_labels_is_shown_worse_in_shadow(
    running: Running, tmp_path: Path
) -> None:
    patient = {"shadow": {**SHADOW[0]["shadow"], "deadline": "13d"}}
    running.edit({"rollout": {"steps": [patient, *CANARY]}})
    # A verdict on day blocks needs days that say something: a hundred requests a day would not tell in a week.
    running.send_share(1.0)
    # What is not yet shown after seven days only looks worse and waits for the next ones.
    _, events = roll_out_in_vain(running, with_shuffled_labels(running, tmp_path), run="shuffled", days=12)
    told = {event.reason: event.message for event in events}
    assert "quality:" in told["AnalysisFailed"], told["AnalysisFailed"]
    assert "logLoss" in told["AnalysisFailed"]
    assert "StepPassed" not in told


def test_a_shadow_that_answers_with_no_number_fails_and_says_so(running: Running, tmp_path: Path) -> None:
    running.edit({"rollout": {"steps": SHADOW}})
    running.send_share(0.2)
    model = with_fault(running, tmp_path, "nan")
    _, events = roll_out_in_vain(running, model, run="shadow-nan", days=5)
    told = {event.reason: event.message for event in events}
    assert "AnalysisFailed" in told


def test_a_shadow_that_hangs_and_dies_changes_no_answer(running: Running, tmp_path: Path) -> None:
    """FAULTS 16: the same rows get the same answers as without it, within the time they are used to."""
    running.connect(4)
    rows = range(0, len(running.traffic), 100)
    alone = [running.ask(row).json()["predictions"] for row in rows]
    running.edit({"rollout": {"steps": SHADOW}})
    before = running.last_event
    with running.charges.suspended():
        version = running.inject(with_fault(running, tmp_path, "hangs"), "shadow-hangs")
        running.eventually(
            lambda: (split := running.local.gateway.read_back()) is not None and bool(split.mirrors)
        )

    def agree() -> None:
        answers = [running.ask(row) for row in rows]
        assert [answer.json()["predictions"] for answer in answers] == alone
        assert {answer.headers["x-capstan-version"] for answer in answers} == {running.champion.name}
        assert max(answer.elapsed.total_seconds() for answer in answers) < 2

    agree()
    os.kill(running.pid(version), signal.SIGKILL)
    agree()
    answered = running.days_until(
        lambda: "RolledBack" in [event.reason for event in running.events(after=before)], at_most=4
    )
    assert answered.failed == 0, answered.failures

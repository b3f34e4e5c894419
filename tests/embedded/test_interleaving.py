"""A ranking is interleaved with all real parts: users click, and the ranker that they like less is rolled back.

The tests share one system and go on where the one before stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import joblib
import numpy as np
import pyarrow.compute as pc
import pytest
from embedded.running import Running, left_behind
from embedded.task_cases import CASES, write_case
from sklearn.linear_model import LinearRegression

from capstan.data import extract
from capstan.domain.traffic import Interleaved, Weight
from capstan.domain.verdicts.interleaving import Method
from capstan.embedded.layout import StateDir

pytestmark = [pytest.mark.real, pytest.mark.slow]

CLICKS = """
select request_id, id, 'click' as event, time + interval 1 minute as at
from answers join cases using (id) where rank = 1 and truth > 0
"""
"""Users click what is on top if it is relevant at all."""
STEP = {"percent": 100, "event": "click", "minUnits": 60, "deadline": "12d"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("interleaving")
    case = CASES["Ranking"]
    events = {"query": CLICKS, "within": "1h"}
    parts = {
        "rollout": {
            "steps": [{"interleave": STEP}],
            "guardrails": {"latencyP99": {"maxRatio": 50, "floor": "2s"}},
        }
    }
    file = write_case(replace(case, parts=parts), folder)
    text = file.read_text()
    assert "tick: 1d" in text
    file.write_text(text.replace("    tick: 1d", f"    tick: 1d\n    events: {events!r}"))
    system = Running(file, StateDir(folder / ".capstan"))
    try:
        system.start()
        yield system
    finally:
        system.stop()
    assert not left_behind(folder)


def learnt(running: Running, folder: Path, sign: int) -> Path:
    """The champion's folder with a line fitted to the truth, or against it."""
    model = shutil.copytree(running.model_of(running.champion), folder / "model")
    pipeline = joblib.load(model / "pipeline.joblib")
    as_of = running.champion.as_of
    table = extract(running.system, as_of=as_of, labels_as_of=as_of)
    table = table.filter(pc.is_valid(table["truth"]))
    truth = table["truth"].to_numpy(zero_copy_only=False)
    matrix = pipeline.steps[0][1].transform(table)
    pipeline.steps[-1] = ("model", LinearRegression().fit(matrix, sign * truth))
    joblib.dump(pipeline, model / "pipeline.joblib")
    return model


def test_a_ranker_that_users_like_less_is_rolled_back_and_no_request_is_lost(
    running: Running, tmp_path: Path
) -> None:
    champion, before = running.champion, running.last_event
    challenger = running.inject(learnt(running, tmp_path, -1), "reversed")

    def split() -> Interleaved | None:
        found = running.local.gateway.read_back()
        return found.interleaved if found is not None else None

    answered = running.days_until(lambda: split() is not None, at_most=4)
    assert split() == Interleaved(challenger, Weight(100), Method.TEAM_DRAFT)
    assert answered.failed == 0, answered.failures
    answer = running.ask()
    assert answer.headers["x-capstan-version"] == f"{champion.name}+{challenger}"
    rows = answer.json()["predictions"]
    assert sorted(row["rank"] for row in rows) == list(range(1, len(rows) + 1))
    assert [row["score"] for row in rows] == [
        pytest.approx((len(rows) - row["rank"] + 1) / len(rows)) for row in rows
    ]

    def is_over() -> bool:
        return any(event.reason in ("RolledBack", "Promoted") for event in running.events(after=before))

    answered = running.days_until(is_over, at_most=12)
    assert answered.failed == 0, answered.failures
    told = {event.reason: event.message for event in running.events(after=before)}
    assert "users prefer the champion" in told["AnalysisFailed"], running.story()
    assert "a direction alone" in told["AnalysisFailed"]
    assert running.champion == champion
    assert split() is None


def test_every_interleaved_answer_is_accounted_for_and_stands_for_one_request(running: Running) -> None:
    running.local.collector.flush()
    stats = running.local.collector.stats()
    assert stats.unaccounted(running.local.gateway.completed_predictions()) == 0
    assert stats.lost == 0
    counters = httpx.get(f"{running.local.combiner.address}/metrics", trust_env=False).text
    assert 'outcome="answered"' in counters
    assert 'outcome="failed"} 0' in counters


def test_what_users_saw_was_neither_rankers_own_order(running: Running) -> None:
    served = running.local.evidence.answered_with_labels(running.scope.start, running.clock.now())
    outputs = served.table["outputs"].to_pylist()
    lists = [one for one in outputs if one.get("team") is not None]
    assert len(lists) > 100
    teams = np.array([one["team"] for one in lists])
    assert 0.4 < np.mean(teams == "champion") < 0.6
    assert any(one["rank"] != one["championRank"] for one in lists)
    assert any(one["rank"] != one["challengerRank"] for one in lists)


def test_a_ranker_that_is_preferred_is_promoted(running: Running, tmp_path: Path) -> None:
    """The champion is turned by hand first, so that a ranker as it was is the better one."""
    before = running.last_event
    good = learnt(running, tmp_path, 1)
    running.edit({"rollout": {"steps": [{"pause": {"duration": "1h"}}]}})
    worse = running.inject(learnt(running, tmp_path / "worse", -1), "worse")
    running.days_until(lambda: running.champion.name == worse, at_most=4)
    running.edit({"rollout": {"steps": [{"interleave": STEP}]}})
    better = running.inject(good, "better")
    answered = running.days_until(lambda: running.champion.name == better, at_most=12)
    assert answered.failed == 0, answered.failures
    passed = [event.message for event in running.events(after=before) if event.reason == "StepPassed"]
    assert any("users prefer the challenger" in message for message in passed), running.story()

"""A loop that is killed again and again, anywhere, tells the same story in the end."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from embedded.loop_process import Loop, data_decisions, opened, windows
from embedded.scenario import NAME

from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.replay.report import Report
from capstan.ports.store import Kind

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
KILLS = 20
AT_START, IN_TRAINING = 4, 3
"""Of the kills: so many while the loop is coming up, so many while a model trains."""


def is_training(state: StateDir) -> bool:
    with opened(state) as store:
        runs = store.list(Kind.RUN, SystemName(NAME))
    return any(record.status.get("phase") == "Running" for record in runs)


def is_due(loop: Loop, moment: datetime, *, or_training: bool) -> bool:
    """Whether event time has come so far, or a model trains where that is waited for."""
    at = loop.position()
    return at is not None and (at >= moment or (or_training and is_training(loop.state)))


def test_twenty_kills_change_neither_the_end_nor_the_story(
    world: Path, replayed: tuple[StateDir, Report], copy_of: Callable[[str], StateDir]
) -> None:
    """FAULTS 1: SIGKILL to the loop alone; what it started lives on, and the next loop goes on with it."""
    unkilled, undisturbed = replayed
    rng = random.Random(20130201)
    loop = Loop(world / "system.yaml", copy_of("killed"))
    days = sorted(rng.uniform(0.5, 19) for _ in range(KILLS - AT_START - IN_TRAINING))
    left_in_training = IN_TRAINING
    kills: Counter[str] = Counter()
    loop.start()
    try:
        for _ in range(AT_START):
            time.sleep(rng.uniform(0.05, 3.0))
            loop.kill()
            kills["starting"] += 1
            loop.start()
        start = None
        while days:
            assert loop.wait_for(lambda: loop.position() is not None), loop.told()
            start = start or loop.position()
            assert start is not None
            moment = start + timedelta(days=days[0])
            due = partial(is_due, loop, moment, or_training=left_in_training > 0)
            assert loop.wait_for(due), loop.told()
            if left_in_training and is_training(loop.state):
                left_in_training -= 1
                kills["training"] += 1
                time.sleep(rng.uniform(0.3, 3.0))
            else:
                days.pop(0)
                kills["replaying"] += 1
                time.sleep(rng.uniform(0.0, 0.6))
            assert not loop.is_over, loop.told()
            loop.kill()
            loop.start()
        report = loop.wait()
    finally:
        loop.stop()
    assert kills.total() == KILLS
    assert kills["training"] == IN_TRAINING
    assert report["failed_requests"] == 0, report["failures"]
    assert data_decisions(loop.state) == data_decisions(unkilled)
    assert (report["retrainings"], report["promotions"], report["rollbacks"]) == (1, 1, 0)
    assert [v["digest"] for v in report["versions"]] == [v["digest"] for v in undisturbed["versions"]]
    assert report["labelled_rows"] == undisturbed["labelled_rows"], (
        "no request was left out, none counted twice"
    )
    assert [window["rows"] for window in windows(loop.state)] == [w["rows"] for w in windows(unkilled)]
    with opened(loop.state) as store:
        counts = [len(store.list(kind, SystemName(NAME))) for kind in (Kind.SYSTEM, Kind.RUN, Kind.ROLLOUT)]
    with opened(unkilled) as store:
        wanted = [len(store.list(kind, SystemName(NAME))) for kind in (Kind.SYSTEM, Kind.RUN, Kind.ROLLOUT)]
    assert counts == wanted

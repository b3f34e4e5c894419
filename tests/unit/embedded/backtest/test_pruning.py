"""What no backtest has used for long goes, and what one uses stays."""

from __future__ import annotations

import fcntl
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest

from capstan.embedded.backtest.pruning import prune
from capstan.embedded.backtest.trainings import _locked
from capstan.embedded.backtest.wiring import BacktestPlaces

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=40), NOW - timedelta(days=2)


def at(path: Path, when: datetime) -> Path:
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path


def written(path: Path, when: datetime, content: str = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return at(path, when)


def test_a_training_that_is_used_at_the_moment_of_its_removal_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = BacktestPlaces(tmp_path, tmp_path / "secrets")
    lock = written(places.trainings / "a" / "lock", OLD, "")

    def used_meanwhile(*_: object) -> None:
        at(lock, NEW)

    monkeypatch.setattr(fcntl, "flock", used_meanwhile)
    assert prune(places, before=NOW - timedelta(days=30)) == 0
    assert lock.exists()


def test_what_a_killed_pruning_left_goes_with_the_next(tmp_path: Path) -> None:
    places = BacktestPlaces(tmp_path, tmp_path / "secrets")
    half, model = places.trainings / "half", places.models / "bentos" / "flights" / "orphan"
    written(half / "result.json", OLD)
    model.mkdir(parents=True)
    at(half, OLD)
    at(model, OLD)
    assert prune(places, before=NOW - timedelta(days=30)) == 1
    assert not half.exists()
    assert not model.exists()


def test_a_training_whose_folder_is_removed_while_it_waits_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, waited = fcntl.flock, list[int]()

    def removed_meanwhile(file: IO[str], how: int) -> None:
        if not waited:
            shutil.rmtree(tmp_path / "a")
        waited.append(how)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with _locked(tmp_path / "a"):
        assert (tmp_path / "a" / "lock").exists()
    assert len(waited) == 2


def test_old_policies_and_trainings_go_with_their_models_and_a_running_one_stays(tmp_path: Path) -> None:
    places = BacktestPlaces(tmp_path, tmp_path / "secrets")
    results = [written(places.results / f"{name}.json", when) for name, when in (("a", OLD), ("b", NEW))]
    models = {}
    for name, when in (("old", OLD), ("new", NEW), ("running", OLD)):
        training = places.trainings / name
        written(training / "result.json", when, f'{{"bento_tag":"flights:{name}"}}')
        written(training / "lock", when, "")
        models[name] = places.models / "bentos" / "flights" / name
        models[name].mkdir(parents=True)
        at(models[name], OLD)
    with (places.trainings / "running" / "lock").open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert prune(places, before=NOW - timedelta(days=30)) == 2
    assert [path.exists() for path in results] == [False, True]
    assert sorted(path.name for path in places.trainings.iterdir()) == ["new", "running"]
    assert {name: path.exists() for name, path in models.items()} == {
        "old": False,
        "new": True,
        "running": True,
    }
    assert prune(BacktestPlaces(tmp_path / "none", tmp_path), before=NOW) == 0

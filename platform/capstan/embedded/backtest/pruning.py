"""What no backtest has used for long is removed, so that the kept policies, trainings and models are bounded."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from capstan.embedded.backtest.wiring import BacktestPlaces


def prune(places: BacktestPlaces, *, before: datetime) -> int:
    """Remove what was last used before the moment; returns how many policies and trainings that were.

    A training that runs at this moment stays. Models go with the last training that made them.
    """
    old = before.timestamp()
    removed = 0
    for result in places.results.glob("*.json"):
        # Another backtest may prune the same folder at this moment.
        with suppress(FileNotFoundError):
            if result.stat().st_mtime < old:
                result.unlink()
                removed += 1
    for training in _folders(places.trainings):
        with suppress(FileNotFoundError):
            removed += _removed(training, old)
    # Also where nothing was removed: the last pruning may have been killed before it came here.
    with suppress(FileNotFoundError):
        _remove_models(places, old)
    return removed


def _removed(training: Path, old: float) -> bool:
    lock = training / "lock"
    if not lock.exists():
        # A pruning that was killed has removed it before the rest.
        if is_left := training.stat().st_mtime < old:
            shutil.rmtree(training, ignore_errors=True)
        return is_left
    if lock.stat().st_mtime >= old:
        return False
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        # Again, since a backtest may have used it just before it was locked here.
        if os.fstat(file.fileno()).st_mtime >= old:
            return False
        shutil.rmtree(training, ignore_errors=True)
    return True


def _remove_models(places: BacktestPlaces, old: float) -> None:
    """Raises FileNotFoundError where another process prunes the same folder."""
    made = "".join(result.read_text() for result in places.trainings.glob("*/result.json"))
    for system in _folders(places.models / "bentos"):
        for model in _folders(system):
            if f'"{system.name}:{model.name}"' not in made and model.stat().st_mtime < old:
                shutil.rmtree(model, ignore_errors=True)


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*")) if path.is_dir())

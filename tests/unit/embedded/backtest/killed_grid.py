"""A grid of policies that take half a second each, for a test that kills it: `killed_grid.py FOLDER`."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from contract.training_system import write_system

from capstan.embedded.backtest import grid
from capstan.embedded.backtest.inputs import document_of
from capstan.embedded.backtest.variations import policies_of
from capstan.embedded.backtest.wiring import BacktestPlaces
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.whole_replay import Scope
from capstan.spec.replay import Replay

VALUES = "0.05,0.1,0.15,0.2,0.25,0.3"


class Silent:
    def say(self, text: str) -> None: ...

    def advance(self, description: str, done: int, total: int, note: str = "") -> None: ...


def counted(system: Any, *_: object, places: BacktestPlaces, **__: object) -> dict[str, Any]:
    """Leaves a line for each policy that begins."""
    effect = system.spec.monitoring.drift.min_effect
    with (places.root / "begun").open("a") as file:
        file.write(f"{effect}\n")
    time.sleep(0.5)
    return {"min_effect": effect, "failed_trainings": 0}


def main(folder: Path) -> None:
    system = write_system(folder / "system")
    document = document_of(system)
    policies = policies_of(system, document, [f"monitoring.drift.minEffect={VALUES}"])
    one = np.array([0])
    traffic = RecordedTraffic(["a"], np.array([0, 1]), one, [""], [b"{}"], [True], one, one)
    grid.read_apart = lambda *_: traffic  # type: ignore[assignment]
    grid.running_trainer = lambda *_: nullcontext()  # type: ignore[assignment]
    start, end = datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
    scope = Scope(Replay(start=date(2013, 2, 1), end=date(2013, 3, 1)), start, end, 1.0)
    places = BacktestPlaces(folder / "places", folder / "secrets")
    found = grid.backtest(
        system,
        policies,
        scope,
        places,
        Silent(),
        workers=1,
        run=counted,  # type: ignore[arg-type]
    )
    assert found is not None
    print(orjson.dumps([[one.policy.name, one.result] for one in found]).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

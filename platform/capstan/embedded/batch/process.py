"""One batch by the calendar, in a process of its own: `python -m capstan.embedded.batch.process ORDER`.

It ends with the loop that started it, whatever way that ends, and the next one goes on where it was.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.training import RunPhase
from capstan.domain.versions import SystemName
from capstan.embedded.batch.predicting import BatchRequest, predict_batch, status_of
from capstan.embedded.batch.watching import WatchedRows
from capstan.embedded.batch.wiring import wire_batch
from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError
from capstan.files import write_whole
from capstan.ports.codec import from_json, to_json
from capstan.spec import parse
from capstan.tasks import task_of

_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 30.0


def run(told: dict[str, Any]) -> BatchStatus:
    """What became of the batch that is ordered."""
    order = from_json(BatchOrder, told["order"])
    try:
        request = wire_batch(
            parse(told["spec"], base_dir=Path(told["base_dir"])),
            StateDir(Path(told["state"])),
            order.version.name,
            start=order.stretch.start,
            end=order.stretch.end,
            output=Path(told["output"]),
        )
        request = replace(request, watched=_watched(told, request))
        return status_of(request, predict_batch(request))
    except CapstanError as error:
        return BatchStatus(RunPhase.FAILED, str(error))


def _watched(told: dict[str, Any], request: BatchRequest) -> WatchedRows:
    return WatchedRows(
        told["collector"],
        Path(told["token_file"]),
        SystemName(request.system.metadata.name),
        request.version.name,
        request.system.spec.data.keys.id_column,
        request.system.spec.data.keys.group if "group" in task_of(request.system.spec).facts.keys else None,
    )


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, who may have been killed."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Do what the file says, and leave the result beside it."""
    file = Path(sys.argv[1])
    told = orjson.loads(file.read_bytes())
    # What is half-made is cleared away.
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with, args=(told["parent"],), daemon=True).start()
    begun = time.monotonic()
    try:
        status = run(told)
    except KeyboardInterrupt:
        sys.exit(1)
    status = replace(status, seconds=round(time.monotonic() - begun, 1))
    write_whole(Path(told["result"]), orjson.dumps(to_json(status)))


if __name__ == "__main__":
    main()

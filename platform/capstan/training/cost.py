"""What a fitted candidate costs: seconds and memory of its fit, its size, and the time that one row takes."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

TIMED_ROWS = 200
_EVERY_SECONDS = 0.02


@dataclass
class FitCost:
    """Filled in when the block of `fit_cost` ends."""

    seconds: float = 0.0
    memory_bytes: int = 0
    """The most that the process held beyond what it held before."""

    def __add__(self, then: FitCost) -> FitCost:
        """Of both blocks, of which one came after the other."""
        return FitCost(self.seconds + then.seconds, self.memory_bytes + then.memory_bytes)


@contextmanager
def fit_cost() -> Iterator[FitCost]:
    """Watches this process while the block fits something."""
    import psutil

    process, found, done = psutil.Process(), FitCost(), threading.Event()
    before = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(_EVERY_SECONDS):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch, name="memory of a fit", daemon=True)
    started = time.perf_counter()
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found.seconds = time.perf_counter() - started
        found.memory_bytes = max(most, process.memory_info().rss) - before


def size_of(pipeline: Any) -> int:
    """Bytes of the pipeline as it is saved."""
    import joblib  # type: ignore[import-untyped]

    saved = io.BytesIO()
    joblib.dump(pipeline, saved)
    return saved.getbuffer().nbytes


def row_seconds(pipeline: Any, table: pa.Table) -> float | None:
    """The median time of one row, as a model service computes it, without HTTP; None without rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from capstan.features.rowwise import compile_predict, median_seconds
    from capstan.features.trees import CannotCompileError

    rows = table.slice(0, TIMED_ROWS).to_pylist()
    if not rows:
        return None
    try:
        predict = compile_predict(pipeline)
    except CannotCompileError:
        return None
    with threadpool_limits(1):
        return median_seconds(predict, rows)

"""Backtests of many policies side by side, in processes; what is finished is kept and not run again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import orjson

from capstan.embedded.backtest.hindsight import Hurting
from capstan.embedded.backtest.history import History
from capstan.embedded.backtest.inputs import backtest_digest, data_digest, rows_digest
from capstan.embedded.backtest.one_policy import PolicyResult, hurting_of, run_policy
from capstan.embedded.backtest.order import next_of
from capstan.embedded.backtest.refusals import require_backtest
from capstan.embedded.backtest.variations import Policy
from capstan.embedded.backtest.wiring import BacktestPlaces, running_trainer
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.replaying import Journal
from capstan.embedded.replay.whole_replay import Scope, read_apart
from capstan.embedded.wiring import spec_document
from capstan.errors import CapstanError, InvalidDataError
from capstan.files import write_whole
from capstan.spec import MLSystem


class Watching(Protocol):
    """Who is told how far it is."""

    def say(self, text: str) -> None: ...

    def advance(self, description: str, done: int, total: int, note: str = "") -> None: ...


class Finished(NamedTuple):
    """A policy with what it came to."""

    policy: Policy
    result: PolicyResult


@dataclass(frozen=True)
class Task:
    """What a worker needs for one policy, besides what all share."""

    system: MLSystem
    data: str
    """Digest of the sources and of the policy's own code."""
    kept: Path
    values: Mapping[str, str] = field(default_factory=dict)
    """As the policy has them."""


@dataclass(frozen=True)
class Shared:
    """What all policies share."""

    scope: Scope
    places: BacktestPlaces
    socket: Path
    hurting: Hurting
    run: Callable[..., PolicyResult | None]
    """As `run_policy`; the name of a module's function, since workers import it."""


def backtest(
    system: MLSystem,
    policies: Sequence[Policy],
    scope: Scope,
    places: BacktestPlaces,
    audience: Watching,
    *,
    workers: int | None = None,
    fresh: bool = False,
    stop: Callable[[], bool] = lambda: False,
    run: Callable[..., PolicyResult | None] = run_policy,
) -> list[Finished] | None:
    """What each policy came to, in their order; None: it was stopped, and what had finished is kept.

    `system` is the file itself, which says what hurts. `fresh`: run again what is kept. Raises CapstanError,
    InvalidDataError where no recorded row has a label.
    """
    for policy in policies:
        require_backtest(policy.system)
    places.results.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = tasks_of(system, [policy.system for policy in policies], scope, places)
    tasks = [replace(task, values=policy.values) for task, policy in zip(found, policies, strict=True)]
    kept = [task.kept for task in tasks]
    for path in kept:
        if fresh or is_to_be_asked_again(path):
            path.unlink(missing_ok=True)
    missing = [task for task in tasks if not _is_kept(task.kept)]
    if missing:
        audience.say("reading the recorded rows")
        traffic = read_apart(system, scope, places.secrets, stop)
        if traffic is None:
            return None
        require_labels(traffic, scope)
        with tempfile.TemporaryDirectory(prefix="capstan-trainer-") as folder:
            shared = Shared(scope, places, Path(folder) / "steps", hurting_of(system), run)
            with running_trainer(system, shared.socket):
                if len(missing) == 1:
                    _alone(missing[0], shared, traffic, audience, stop)
                else:
                    _side_by_side(missing, shared, traffic, audience, workers, stop)
    if not all(path.exists() for path in kept):
        return None
    results = [cast(PolicyResult, orjson.loads(path.read_bytes())) for path in kept]
    return [Finished(policy, result) for policy, result in zip(policies, results, strict=True)]


def _is_kept(path: Path) -> bool:
    """Whether a result is there; its time tells when it was last used, so that nobody prunes it meanwhile."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def tasks_of(
    system: MLSystem, policies: Sequence[MLSystem], scope: Scope, places: BacktestPlaces
) -> list[Task]:
    """Each policy with the file of its result, which is called by all that it follows from; raises InvalidDataError."""
    rows = rows_digest(system)
    base = backtest_digest(system, data_digest(system, rows), ())
    # A result of other numbers is another one.
    shape = sorted(PolicyResult.__annotations__)
    asked = (scope.start.isoformat(), scope.end.isoformat(), repr(scope.share), base, *shape)
    found = []
    for policy in policies:
        data = data_digest(policy, rows)
        found.append(Task(policy, data, places.results / f"{backtest_digest(policy, data, asked)}.json"))
    return found


def is_to_be_asked_again(kept: Path) -> bool:
    """Whether a training of the policy failed: full disks and lost connections pass."""
    return kept.exists() and bool(orjson.loads(kept.read_bytes())["failed_trainings"])


def require_labels(traffic: RecordedTraffic, scope: Scope) -> None:
    """Raises InvalidDataError for a history from which nothing can be judged."""
    days = f"from {scope.start:%Y-%m-%d} to {scope.end:%Y-%m-%d} UTC"
    if not len(traffic):
        raise InvalidDataError(
            f"spec.replay: no recorded row is {days}, so there is nothing to backtest; correct replay.start and "
            "replay.end"
        )
    if all(label is None for label in traffic.labels):
        raise InvalidDataError(
            f"spec.data.label: none of the {len(traffic.labels):,} recorded rows {days} has a label, so nothing could "
            "be judged; name the column that holds them, or days whose labels have come"
        )


def _alone(
    task: Task, shared: Shared, traffic: RecordedTraffic, audience: Watching, stop: Callable[[], bool]
) -> None:
    def advance(journal: Journal) -> None:
        audience.advance("backtesting", journal.answered.sent, len(traffic), f"{journal.position:%Y-%m-%d}")

    _run(task, shared, History(traffic, spec_document(task.system)["spec"]), stop, advance)


def _run(
    task: Task,
    shared: Shared,
    history: History,
    stop: Callable[[], bool],
    advance: Callable[[Journal], None] = lambda _: None,
) -> None:
    result = shared.run(
        task.system,
        history,
        shared.scope,
        places=shared.places,
        data=task.data,
        socket=shared.socket,
        hurting=shared.hurting,
        stop=stop,
        advance=advance,
    )
    if result is not None:
        write_whole(task.kept, orjson.dumps(result))


# What a worker has loaded once for all its policies.
_worker: dict[str, Any] = {}


def _begin(shared: Shared, traffic: Path, stopping: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C reaches the whole terminal; this process ends with the work that its parent gives it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(shared=shared, stopping=stopping, traffic=pickle.loads(traffic.read_bytes()))  # noqa: S301


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and a worker would wait for its next policy for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task) -> None:
    if "history" not in _worker:
        _worker["history"] = History(_worker.pop("traffic"), spec_document(task.system)["spec"])
    _run(task, _worker["shared"], _worker["history"], _worker["stopping"].is_set)


def _side_by_side(
    tasks: Sequence[Task],
    shared: Shared,
    traffic: RecordedTraffic,
    audience: Watching,
    workers: int | None,
    stop: Callable[[], bool],
) -> None:
    context = multiprocessing.get_context("spawn")
    stopping, stored = context.Event(), shared.socket.with_name("traffic")
    stored.write_bytes(pickle.dumps(traffic, protocol=5))
    count = min(workers or len(os.sched_getaffinity(0)), len(tasks))
    audience.say(f"{len(tasks)} policies in {count} processes; what is finished is kept")
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(shared, stored, stopping)
    ) as pool:
        waiting = list(tasks)
        running = dict[Future[None], Task]()
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    others = [task.values for task in running.values()]
                    task = waiting.pop(next_of([task.values for task in waiting], others))
                    running[pool.submit(_work, task)] = task
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for one in done:
                    del running[one]
                    one.result()
                if done:
                    left = len(waiting) + len(running)
                    audience.advance("backtesting", len(tasks) - left, len(tasks), "policies")
                if stop():
                    return
        except BrokenProcessPool as error:
            raise CapstanError(
                "a process of the backtest was killed, most often for want of memory; run the command again, what is "
                "finished is kept; --workers 1 needs the least"
            ) from error
        finally:
            stopping.set()
            pool.shutdown(cancel_futures=True)

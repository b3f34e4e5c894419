"""A backtest of one policy: recorded rows through the engine in event time, and what came of it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from capstan.domain.versions import ModelVersion, VersionName
from capstan.embedded.backtest.hindsight import (
    Hurting,
    as_json,
    broken_of,
    delays_of,
    judge_alerts,
    rows_between,
)
from capstan.embedded.backtest.history import History
from capstan.embedded.backtest.wiring import BacktestPlaces, BacktestSystem, first_version, wire_backtest
from capstan.embedded.replay.own_metrics import own_metrics
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.replaying import Journal, Replay
from capstan.embedded.replay.report import (
    compared,
    described,
    judged_windows,
    reported_metrics,
)
from capstan.embedded.replay.whole_replay import Scope
from capstan.engine.story import count, decisions
from capstan.ports.codec import to_json
from capstan.recording.moments import microseconds
from capstan.recording.served import Served
from capstan.spec import MLSystem
from capstan.spec.tasks import VALUE
from capstan.tasks import Metric, Predictions, task_of
from capstan.tasks.metric import Groups, numbered


class PolicyResult(TypedDict):
    """What a policy came to, as JSON; months by the system's time zone."""

    system: str
    requests: int
    failed_requests: int
    failures: list[str]
    windows: dict[str, Any]
    """Number of closed windows and, by question, the number that had a verdict."""
    windows_told: list[dict[str, Any]]
    """Each window with all its numbers, as the monitor tells it."""
    alerts: int
    retrainings: int
    promotions: int
    rollbacks: int
    false_alarms: int
    """Alerts after which nothing hurt, as `hindsight` tells it."""
    delay_days: float | None
    """Mean of the reigns that hurt, until the alert or the end of the reign; None: none hurt."""
    hurt_reigns: int
    missed: int
    """Reigns that hurt without an alert."""
    judged_alerts: list[dict[str, Any]]
    money: dict[str, Any] | None
    """Sums over all labelled answers by `objective.value`; None: the file does not say what answers are worth."""
    trainings: int
    """Trainings that the policy asked for, the first one too."""
    trained_here: int
    """Those of them that nobody had run before."""
    failed_trainings: int
    """Those that came to nothing; the same command asks such a policy again."""
    metrics: list[dict[str, str]]
    """What both systems are compared by; the first tells the gain, and is the same for all policies of a grid."""
    months: dict[str, dict[str, Any]]
    overall: dict[str, Any]
    gain: float | None
    gain_interval: tuple[float, float] | None
    resampled_gains: list[float]
    """The gain in each draw of days, which are the same for all policies; empty: it is not known."""
    labelled_rows: int
    decisions: list[dict[str, Any]]
    versions: list[dict[str, Any]]
    start: str
    end: str
    seconds: float
    cpu_seconds: float
    """Of this process; trainings are not in it."""


def run_policy(
    system: MLSystem,
    history: History,
    scope: Scope,
    *,
    places: BacktestPlaces,
    data: str,
    socket: Path,
    hurting: Hurting,
    stop: Callable[[], bool] = lambda: False,
    advance: Callable[[Journal], None] = lambda _: None,
) -> PolicyResult | None:
    """Backtest the file as it is; None: it was stopped. Raises CapstanError.

    `socket` is that of the process that runs trainings, `data` the digest of the sources. `hurting` says what a bad
    window is, the same for all policies that are compared.
    """
    began, began_cpu = time.monotonic(), time.process_time()
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="capstan-backtest-")))
        backtest = wire_backtest(
            system, folder, history, start=scope.start, places=places, data=data, socket=socket, stop=stop
        )
        ending.callback(backtest.close)
        with backtest.charges.suspended():
            backtest.settling.bring_up()
        journal = Journal(position=scope.start)
        Replay(
            history.traffic,
            client=backtest.answers,
            clock=backtest.clock,
            charges=backtest.charges,
            settling=backtest.settling,
            journal=journal,
            journal_path=None,
            end=scope.end,
            tick=scope.spec.tick,
            zone=ZoneInfo(system.spec.data.time_zone),
            stop=stop,
            progress=advance,
        ).run()
        if stop():
            return None
        backtest.settling.settle()
        return _result(backtest, history.traffic, journal, scope, hurting, began, began_cpu)


def _result(
    backtest: BacktestSystem,
    traffic: RecordedTraffic,
    journal: Journal,
    scope: Scope,
    hurting: Hurting,
    began: float,
    began_cpu: float,
) -> PolicyResult:
    system, name = backtest.system, backtest.name
    counts = count(event for _, event in backtest.store.events(name))
    served = backtest.evidence.answered_with_labels(scope.start, scope.end).labelled
    ids = served.table.column("entity_id").to_pylist()
    asked = _Asked(backtest, traffic, served, ids, hurting)
    static = asked.predictions(first_version(backtest.registry).name, slice(None))
    with own_metrics(system, []) as own:
        metrics = (*metrics_of(system, hurting), *own)
        by_month, overall, resampled = compared(system, metrics, static, served)
    gain = overall.metrics[metrics[0].name]
    story = decisions(backtest.store, name)
    references = references_of(backtest.registry.versions(), hurting)
    windows = backtest.monitor.windows()
    alerts = judge_alerts(story, references, hurting, asked.measure, scope.end, broken_of(windows))
    delays = delays_of(story, references, hurting, asked.measure, scope.end)
    return PolicyResult(
        system=name,
        requests=journal.answered.sent,
        failed_requests=journal.answered.failed,
        failures=journal.answered.failures,
        windows=judged_windows(windows),
        windows_told=windows,
        alerts=counts.alerts,
        retrainings=counts.retrainings,
        promotions=counts.promotions,
        rollbacks=counts.rollbacks,
        false_alarms=sum(alert.is_false is True for alert in alerts),
        delay_days=delays.mean,
        hurt_reigns=len(delays.days),
        missed=delays.missed,
        judged_alerts=as_json(alerts),
        money=_money(system, served, static),
        trainings=backtest.trainings.asked,
        trained_here=backtest.trainings.run,
        failed_trainings=backtest.trainings.failed,
        metrics=[described(metric) for metric in metrics],
        months={month: asdict(found) for month, found in by_month.items()},
        overall=asdict(overall),
        gain=gain.gain,
        gain_interval=gain.gain_interval,
        resampled_gains=resampled.tolist(),
        labelled_rows=len(served),
        decisions=[asdict(entry) for entry in story],
        versions=[to_json(version) for version in backtest.registry.versions()],
        start=scope.start.isoformat(),
        end=scope.end.isoformat(),
        seconds=round(time.monotonic() - began, 1),
        cpu_seconds=round(time.process_time() - began_cpu, 1),
    )


def hurting_of(system: MLSystem) -> Hurting:
    """What hurts, as the file says it."""
    watched = system.spec.monitoring
    facts = system.spec.task_facts.metric(watched.quality.metric)
    return Hurting(facts, watched.quality.max_drop, watched.window.duration)


def metrics_of(system: MLSystem, hurting: Hurting) -> tuple[Metric, ...]:
    """Those of a report, behind the one that tells what hurts: a policy may watch another."""
    first = task_of(system.spec).metrics[hurting.facts.name]
    return (first, *(one for one in reported_metrics(system) if one.name != first.name))


def references_of(versions: Iterable[ModelVersion], hurting: Hurting) -> dict[str, float]:
    """Version -> the metric on its test window; without those whose test window did not define it."""
    name = hurting.facts.name
    return {str(one.name): one.metrics[name] for one in versions if name in one.metrics}


class _Asked:
    """Asks versions about labelled rows again, whoever answered them."""

    def __init__(
        self,
        backtest: BacktestSystem,
        traffic: RecordedTraffic,
        served: Served,
        ids: Sequence[str],
        hurting: Hurting,
    ) -> None:
        self._backtest = backtest
        self._traffic = traffic
        self._served = served
        self._cases = np.array([traffic.case_of[entity_id] for entity_id in ids], dtype=np.int64)
        self._times = served.table.column("event_time").cast(pa.int64()).to_numpy()
        self._metric = task_of(backtest.system.spec).metrics[hurting.facts.name]
        self._known: dict[tuple[str, datetime, datetime], float] = {}

    def predictions(self, version: str, rows: slice) -> Predictions:
        """What the version says of these of the labelled rows."""
        model, cases = self._backtest.answers.model(VersionName(version)), self._cases[rows]
        found = model.recorded_predictions(cases)
        if found is not None:
            return found
        asked = [self._traffic.row_of(case) for case in cases.tolist()]
        return model.predictions(asked, self._groups(rows))

    def measure(self, version: str, start: datetime, end: datetime) -> float:
        """The metric in the window; nan where its rows do not define it."""
        asked = (version, start, end)
        if asked not in self._known:
            rows = rows_between(self._times, microseconds(start), microseconds(end))
            self._known[asked] = (
                self._metric.value(
                    self._served.truth[rows], self.predictions(version, rows), self._groups(rows)
                )
                if rows.stop > rows.start
                else math.nan
            )
        return self._known[asked]

    def _groups(self, rows: slice) -> Groups | None:
        groups = self._served.groups
        return None if groups is None else numbered(groups[rows])


def _money(system: MLSystem, served: Served, static: Predictions) -> dict[str, Any] | None:
    metric = task_of(system.spec).metrics.get(VALUE)
    if metric is None or system.spec.objective.value is None or not len(served):
        return None
    sums = {
        name: metric.value(served.truth, said, served.groups) * len(served)
        for name, said in (("static", static), ("managed", served.predictions))
    }
    return {
        "currency": system.spec.objective.value.currency,
        **sums,
        "gain": sums["managed"] - sums["static"],
    }

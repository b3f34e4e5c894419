"""The report at the end of a replay: what was sent, what was decided, and what retraining was worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, cast
from zoneinfo import ZoneInfo

import numpy as np

from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.versions import ModelVersion
from capstan.embedded.replay.comparison import Compared, compare
from capstan.embedded.replay.online_section import OnlineStepTold, online_section
from capstan.embedded.replay.own_metrics import own_metrics
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.replaying import Journal
from capstan.embedded.replay.sliced import tables_by_slice
from capstan.embedded.replay.watching_section import WatchingTold, watching_section
from capstan.embedded.wiring import LocalSystem
from capstan.engine.story import count, decisions
from capstan.errors import UnavailableError
from capstan.evaluation.tables import with_tables
from capstan.monitoring.questions import QUESTIONS
from capstan.ports.codec import to_json
from capstan.ports.store import Kind
from capstan.recording.served import Served
from capstan.serving.model import load
from capstan.spec import MLSystem
from capstan.tasks import Metric, Predictions, task_of
from capstan.tasks.metric import Floats, Groups
from capstan.training.factories import importable

BATCH_ROWS = 10_000
SEED = 2013
"""Of the bootstrap of days."""


class Report(TypedDict):
    """The JSON at `.capstan/reports/<system>.json`; months by the system's time zone."""

    system: str
    requests: int
    failed_requests: int
    failures: list[str]
    latency_p99_seconds: float | None
    """99th percentile of the answers to users, by the services' own clocks; None: Prometheus could not tell."""
    latency_p99_required_seconds: float | None
    """What the file asks for. A replay does not judge it, because it depends on the machine."""
    payloads_stored: int
    payloads_lost: int
    payloads_unaccounted: int
    windows: dict[str, Any]
    """Number of closed windows and, by question, the number that had a verdict."""
    watching: WatchingTold
    """Why alerts fired, whether estimates of quality held, and where losses rose."""
    alerts: int
    retrainings: int
    promotions: int
    rollbacks: int
    metrics: list[dict[str, str]]
    """Name, title, direction and key of what both systems are compared by; the first tells the gain.

    For each there are also `KEY_static` and `KEY_managed`, values by month.
    """
    months: dict[str, dict[str, Any]]
    overall: dict[str, Any]
    details: dict[str, Any]
    """What is told of all labelled answers of the managed system, as in an evaluation: by the task and by slices.

    `notes` also say which metric of the file's own, or which slice, could not be measured, and why.
    """
    gain: float | None
    gain_interval: tuple[float, float] | None
    labelled_rows: int
    online_steps: list[OnlineStepTold]
    """Experiments, bandits and interleavings."""
    decisions: list[dict[str, Any]]
    versions: list[dict[str, Any]]
    start: str
    end: str
    seconds: float


def make_report(
    local: LocalSystem,
    journal: Journal,
    traffic: RecordedTraffic,
    *,
    start: datetime,
    end: datetime,
    seconds: float,
    seed: int = SEED,
) -> Report:
    """Everything that the story, the counters and the stored predictions say about the replay."""
    events = [event for _, event in local.store.events(local.name)]
    counts = count(events)
    stats = local.collector.stats()
    completed = local.gateway.completed_predictions()
    first = first_champion(local)
    faults: list[str] = []
    served = local.evidence.answered_with_labels(start, end).labelled
    entity_ids = served.table.column("entity_id").to_pylist()
    static = predictions_of(folder_of(local, first), traffic, entity_ids, served.groups)
    with own_metrics(local.system, faults) as own:
        metrics = (*reported_metrics(local.system), *own)
        by_month, overall, _ = compared(local.system, metrics, static, served, seed)
    details = dict(served.task.details(served.truth, served.predictions, served.groups))
    sliced, untold = tables_by_slice(local.system.spec.evaluation.slices, served, traffic, entity_ids)
    details = dict(with_tables(details, sliced))
    if faults or untold:
        details["notes"] = [*details.get("notes", ()), *faults, *untold]
    gain = overall.metrics[metrics[0].name]
    required = local.system.spec.requirements.latency_p99
    windows = local.monitor.windows()
    report = Report(
        system=local.name,
        requests=journal.answered.sent,
        failed_requests=journal.answered.failed,
        failures=journal.answered.failures,
        latency_p99_seconds=_latency_p99(local),
        latency_p99_required_seconds=required.total_seconds() if required is not None else None,
        payloads_stored=stats.stored,
        payloads_lost=stats.lost,
        payloads_unaccounted=stats.unaccounted(completed),
        windows=judged_windows(windows),
        watching=watching_section(windows),
        alerts=counts.alerts,
        retrainings=counts.retrainings,
        promotions=counts.promotions,
        rollbacks=counts.rollbacks,
        metrics=[described(metric) for metric in metrics],
        months={month: asdict(c) for month, c in by_month.items()},
        overall=asdict(overall),
        details=details,
        gain=gain.gain,
        gain_interval=gain.gain_interval,
        labelled_rows=len(served),
        online_steps=_online_steps(local),
        decisions=[asdict(told) for told in decisions(local.store, local.name)],
        versions=[to_json(version) for version in local.registry.versions()],
        start=start.isoformat(),
        end=end.isoformat(),
        seconds=round(seconds, 1),
    )
    return cast(Report, {**report, **_by_month(metrics, by_month)})


def _online_steps(local: LocalSystem) -> list[OnlineStepTold]:
    record = local.store.get(Kind.SYSTEM, local.name)
    if record is None:
        return []
    return online_section(
        local.store,
        local.name,
        local.policy(record).rollout,
        local.evidence,
        now=local.clock.now(),
        folder=local.state.report(local.name).parent,
    )


def reported_metrics(system: MLSystem) -> tuple[Metric, ...]:
    """What both systems are compared by: the metric that is watched, then the losses of the analyses."""
    spec = system.spec
    task = task_of(spec)
    losses = [analysis.metric for analysis in spec.rollout.analyses] or [task.facts.compared_by]
    return tuple(task.metrics[name] for name in dict.fromkeys([spec.monitoring.quality.metric, *losses]))


def described(metric: Metric) -> dict[str, str]:
    """As a report names it."""
    facts = metric.facts
    return {"name": facts.name, "title": facts.title, "direction": facts.direction, "key": facts.key}


def _by_month(
    metrics: Sequence[Metric], by_month: Mapping[str, Compared]
) -> dict[str, dict[str, float | None]]:
    return {
        f"{metric.facts.key}_{side}": {
            month: getattr(found.metrics[metric.name], side) for month, found in by_month.items()
        }
        for metric in metrics
        for side in ("static", "managed")
    }


def judged_windows(windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many of the monitor's windows had a verdict about each question, and what the others lacked."""
    gaps = {
        **{
            name: [window["answers"][name].get("gap") for window in windows if name in window["answers"]]
            for name, question in QUESTIONS.items()
            if question.kind == "Drift"
            and question.tells_gaps
            # What the file does not want is asked of no window.
            and (not windows or any(name in window["answers"] for window in windows))
            and (bool(windows) or question.is_asked(None))
        },
        # A window whose labels may still come has no quality yet.
        "quality": [_quality_gap(window["quality"]) for window in windows if window.get("quality")],
    }
    return {
        "closed": len(windows),
        "judged": {question: sum(gap is None for gap in found) for question, found in gaps.items()},
        "reasons": {
            question: dict(Counter(gap["reason"] for gap in found if gap is not None))
            for question, found in gaps.items()
        },
    }


def _quality_gap(quality: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return quality if quality["decision"] == "NoEvidence" else None


def first_champion(local: LocalSystem) -> ModelVersion:
    """The static system: the first version that ever served."""
    return min(local.registry.versions(), key=lambda version: version.as_of)


def _latency_p99(local: LocalSystem) -> float | None:
    buckets = f'capstan_request_seconds_bucket{{system="{local.name}",role!="shadow"}}'
    try:
        found = local.prometheus.query.instant(
            f"histogram_quantile(0.99, sum by (le) (last_over_time({buckets}[1d])))"
        )
    except UnavailableError:
        return None
    return found[0].value if found else None


def compared(
    system: MLSystem,
    metrics: Sequence[Metric],
    static: Predictions,
    served: Served,
    seed: int = SEED,
) -> tuple[dict[str, Compared], Compared, Floats]:
    """What users got and what the static system says of the same labelled rows: by month of the zone, and overall.

    Last the gain in each resample of days.
    """
    zone = ZoneInfo(system.spec.data.time_zone)
    local_times = [moment.astimezone(zone) for moment in served.table.column("event_time").to_pylist()]
    return compare(
        metrics,
        served.truth,
        static,
        served.predictions,
        np.array([f"{moment:%Y-%m}" for moment in local_times], dtype=np.str_),
        np.array([f"{moment:%Y-%m-%d}" for moment in local_times], dtype=np.str_),
        rng=np.random.default_rng(seed),
        groups=served.groups,
    )


def folder_of(local: LocalSystem, version: ModelVersion) -> Path:
    """The version's model, in its verified bytes; raises UntrustedArtifactError, NotFoundError."""
    return local.packager.verify(version.bento_tag, version.digest) / MODEL_FOLDER


def predictions_of(
    folder: Path,
    traffic: RecordedTraffic,
    entity_ids: Sequence[str],
    groups: Groups | None = None,
) -> Predictions:
    """What the model in a folder that was verified says about the requests of these entities.

    `groups`: which of them came in one request.
    """
    parts = []
    # Its modules are forgotten afterwards: metrics of the file's own are those beside the file.
    with importable(folder / "factories"):
        model = load(folder)
        for begin in range(0, len(entity_ids), BATCH_ROWS):
            cases = [traffic.case_of[entity_id] for entity_id in entity_ids[begin : begin + BATCH_ROWS]]
            parts.append(model.predict_batch([traffic.row_of(case) for case in cases]))
    scores = np.concatenate(parts) if parts else np.empty(0)
    return model.task.predictions(scores, model.manifest.learnt, groups)

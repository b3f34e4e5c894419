"""Training runs as the page draws them, with steps, candidates and gates; and batches of predictions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from capstan.dashboard.observation import Observed, ObservedRun
from capstan.dashboard.page import BatchShown, CandidateShown, DetailTable, GateShown, RunShown, TaskShown
from capstan.domain.batch_calendar import BatchTold
from capstan.domain.reasons import Tone
from capstan.domain.training import GateOutcome, RunPhase, RunStatus, StepProgress
from capstan.spec.tasks import MetricFacts

_TONES = {
    RunPhase.ABSENT: Tone.IDLE,
    RunPhase.RUNNING: Tone.ACTIVE,
    RunPhase.SUCCEEDED: Tone.GOOD,
    RunPhase.FAILED: Tone.BAD,
    RunPhase.CANCELLED: Tone.IDLE,
}
_WORDS = {
    RunPhase.ABSENT: "waiting",
    RunPhase.RUNNING: "running",
    RunPhase.SUCCEEDED: "done",
    RunPhase.FAILED: "failed",
    RunPhase.CANCELLED: "cancelled",
}


def batch_shown(told: BatchTold) -> BatchShown:
    """A batch of predictions with its numbers of rows."""
    is_finished = told.phase is RunPhase.SUCCEEDED
    return BatchShown(
        start=told.stretch.start,
        end=told.stretch.end,
        version=told.version,
        attempt=told.attempt,
        phase=_WORDS[told.phase],
        tone=_TONES[told.phase],
        read=told.read if is_finished else None,
        written=told.written if is_finished else None,
        refused=told.refused if is_finished else None,
        seconds=told.seconds,
        ended_at=told.ended_at,
        output=told.output,
        message=told.message,
    )


def run_shown(seen: Observed, run: ObservedRun) -> RunShown:
    """The run with its steps; the newest knowledge of it is the pipelines' own."""
    status = run.status or run.state.result
    request = run.request
    names = [name for model in seen.system.spec.planned_models for name in model.fit_names]
    steps = status.steps if status else ()
    metric = seen.system.spec.training.choose.metric
    candidates = status.candidates if status else {}
    return RunShown(
        name=request.run,
        mark=f"run:{request.run}",
        trigger=request.trigger.kind.value,
        reason=request.trigger.reason,
        as_of=request.trigger.as_of,
        phase=_WORDS[run.state.phase],
        tone=_TONES[run.state.phase],
        message=status.message if status else "",
        started_at=run.state.started_at,
        finished_at=run.state.finished_at,
        version=status.version.name if status and status.version else "",
        against=request.champion or "",
        tasks=[_task(step, {*names, *candidates}) for step in steps],
        candidates=_candidates(status, seen.system.spec.task_facts.metric(metric)) if status else (),
        warnings=status.warnings if status else (),
        gates=[_gate(gate) for gate in status.gates] if status else (),
        choose_by=metric,
        tables=[DetailTable(**table) for table in status.details.get("tables", ())] if status else (),
        links=seen.run_links.get(request.run, ()),
    )


def _candidates(status: RunStatus, metric: MetricFacts) -> list[CandidateShown]:
    """Candidates, the best first, the failed ones last; of several models one model after the other."""
    nothing: Mapping[str, float] = {}
    known = {**dict.fromkeys(status.failed, nothing), **status.candidates}
    worst = float("-inf")

    def rank(name: str) -> float:
        return metric.sign * known[name][metric.name] if metric.name in known[name] else worst

    models = list(dict.fromkeys(map(_model_of, known)))
    return [
        CandidateShown(name, known[name], name in status.chosen, status.failed.get(name, ""))
        for name in sorted(known, key=lambda name: (-models.index(_model_of(name)), rank(name)), reverse=True)
    ]


def _model_of(name: str) -> str:
    """Of `departure/trees` the model; empty where the system has one."""
    return name.rpartition("/")[0]


def _task(step: StepProgress, names: Collection[str]) -> TaskShown:
    seconds = None
    if step.started_at is not None and step.finished_at is not None:
        seconds = (step.finished_at - step.started_at).total_seconds()
    candidate = step.name.partition(" ")[2]
    if candidate not in names:
        parts = re.split(r"[\s:/()\[\]]+", step.name)
        candidate = next((part for part in parts[1:] if part in names), "")
    return TaskShown(
        name=step.name,
        tone=_TONES[step.phase],
        word=_WORDS[step.phase],
        seconds=seconds,
        started_at=step.started_at,
        message=step.message,
        candidate=candidate,
        is_parallel=bool(candidate) or step.name.partition(" ")[2].isdigit(),
    )


def _gate(gate: GateOutcome) -> GateShown:
    tone = Tone.GOOD if gate.passed else Tone.WARN if gate.passed is None else Tone.BAD
    return GateShown(gate.metric, tone, gate.message)

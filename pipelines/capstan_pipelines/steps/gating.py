"""The gates of the file, judged on the test window: against champion, baseline or bounds, by slices, of fairness."""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from capstan.domain.training import GateOutcome
from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.fairness import FairnessRule, judge_fairness
from capstan.evaluation.gates import FIRST_VERSION, GateRule, Rival, Window, judge
from capstan.evaluation.grouping import group_by
from capstan.evaluation.slice_gates import judge_slices
from capstan.spec.fairness import Fairness
from capstan.spec.gates import Gate
from capstan.tasks import Predictions
from capstan.training.cases import Cases
from capstan.training.job import Job
from capstan_pipelines.steps.cases import Parted, resampled_by, times_of

BASELINE = "the baseline"
Judged = tuple[GateOutcome, list[dict[str, Any]]]
"""An outcome, and the tables that show it."""


def judge_gates(
    job: Job, cases: Parted, judged: Cases, predictions: Predictions, champion: Predictions | None
) -> tuple[list[GateOutcome], list[dict[str, Any]]]:
    """All outcomes in the file's order, and the tables of those that are judged by groups.

    `judged` is the test window with the metrics of the file, `champion` what the version that serves says of it; None:
    there is none, or no gate asks for it.
    """
    outcomes: list[GateOutcome] = []
    tables: list[dict[str, Any]] = []
    for gate in job.system.spec.evaluation.gates:
        for outcome, shown in _judged(job, gate, cases, judged, predictions, champion):
            outcomes.append(outcome)
            tables += shown
    for fairness in job.system.spec.evaluation.fairness:
        outcome, groups = _fair(job, fairness, judged, predictions)
        outcomes.append(outcome)
        tables.append(groups)
    return outcomes, tables


def _judged(
    job: Job,
    gate: Gate,
    cases: Parted,
    judged: Cases,
    predictions: Predictions,
    champion: Predictions | None,
) -> list[Judged]:
    if gate.rival == "Champion" and champion is None:
        return [(GateOutcome(gate.metric, True, f"{gate.metric}: {FIRST_VERSION}"), [])]
    rule = GateRule(
        gate.metric,
        Decide(gate.decide),
        gate.margin,
        gate.minimum_effect,
        -math.inf if gate.min is None else gate.min,
        math.inf if gate.max is None else gate.max,
        gate.confidence,
    )
    rows, rival = _rival(job, gate, cases, judged, champion)
    spec = job.system.spec
    window = Window(
        judged.task,
        judged.truth,
        predictions,
        resampled_by(judged.table, spec),
        judged.groups,
        rival,
        _unit(job),
    ).part(rows)
    if not gate.slices:
        return [(judge(rule, window, seed=job.seed), [])]
    found = []
    for column in gate.slices:
        grouping = group_by(
            {column: [one for one, kept in zip(judged.table[column].to_pylist(), rows, strict=True) if kept]},
            least_rows=gate.min_rows,
            leaves_out=gate.on_few_rows == "LeaveOut",
            only=gate.only,
        )
        outcome, shown = judge_slices(rule, window, grouping, seed=job.seed)
        found.append((outcome, [shown]))
    return found


def _unit(job: Job) -> Literal["days", "rows"]:
    return "rows" if job.system.spec.data.keys.time is None else "days"


def _fair(
    job: Job, gate: Fairness, judged: Cases, predictions: Predictions
) -> tuple[GateOutcome, dict[str, Any]]:
    spec = job.system.spec
    days = resampled_by(judged.table, spec)
    return judge_fairness(
        FairnessRule(
            gate.metric,
            gate.max_difference,
            gate.min_ratio,
            Decide(gate.decide),
            gate.confidence,
            spec.objective.threshold,
        ),
        Window(judged.task, judged.truth, predictions, days, judged.groups, unit=_unit(job)),
        group_by(
            {column: judged.table[column].to_pylist() for column in gate.by},
            least_rows=gate.min_rows,
            leaves_out=gate.on_few_rows == "LeaveOut",
        ),
        judged.task.metrics[spec.training.choose.metric],
        seed=job.seed,
    )


def _rival(
    job: Job, gate: Gate, cases: Parted, judged: Cases, champion: Predictions | None
) -> tuple[npt.NDArray[np.bool_], Rival | None]:
    """Whoever is to be beaten, and the rows of the window that it has not learnt from."""
    every: npt.NDArray[np.bool_] = np.ones(len(judged.truth), dtype=np.bool_)
    if gate.rival == "Baseline":
        before = Cases.of(cases.rows(np.concatenate([cases.training, cases.validation])), job.system)
        return every, Rival(BASELINE, judged.task.baseline(before.truth, len(judged.truth)))
    version = job.champion
    if gate.rival is None or champion is None or version is None:
        return every, None
    spec = job.system.spec
    learnt = version.as_of - spec.data.settled_after
    moment = np.datetime64(learnt.astimezone(UTC).replace(tzinfo=None), "us")
    return times_of(judged.table, spec.data.keys.time_column) > moment, Rival(version.name, champion)

"""What made a chosen model answer as it does, and whether it learnt too much or too little: for its report and card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.errors import InvalidDataError
from capstan.evaluation.fit_quality import CurvePoint, FitQuality, judge_fit
from capstan.evaluation.tables import table
from capstan.explanations.contributions import BACKGROUND_ROWS, Contributions, explainer_of, outputs_of
from capstan.explanations.dependence import MOST_ROWS as DEPENDENCE_ROWS
from capstan.explanations.dependence import Dependence, dependence
from capstan.explanations.importance import Importance, Predict, importances, some_rows
from capstan.explanations.sampled import SampledExplainer
from capstan.spec.tasks import MetricFacts
from capstan.tasks import Predictions
from capstan.tasks.curves import Curve, curve, curves_of
from capstan.tasks.metric import Groups
from capstan.training.cases import Cases, groups_of
from capstan.training.job import Job

EXPLAINED_ROWS = 50
"""Rows of the test whose contributions make the mean ones."""
SAMPLED_ROWS = 20
"""The same where contributions are estimated."""
SAMPLED_ORDERS = 10
SHOWN_COLUMNS = 4
"""Columns whose partial dependence is drawn, the most important ones."""
MOST_TO_LEARN = 30_000
"""Rows of the largest model that is fitted for a learning curve alone."""
FEWEST_TO_LEARN = 50
SCORED_ROWS = 5000
"""Rows that a model learnt from and is asked about, to see what it knows by heart."""


@dataclass(frozen=True)
class Judged:
    """A chosen model on its test window."""

    job: Job
    cases: Cases
    """The test rows, with the task that has the file's own metrics."""
    learnt: pa.Table
    """The rows that the pipeline was fitted on."""
    pipeline: Any
    predictions: Predictions
    fit: Callable[[pa.Table], Any]
    """Fits the same choice on other rows."""
    error: float | None
    """Standard error of the metric of the choice on the test rows."""


def explained(judged: Judged, *, tried: Callable[[str, Callable[[], Any]], Any]) -> dict[str, Any]:
    """Documents, tables and curves. `tried` gives what a call returns, or None where it fails, and notes why.

    Where `evaluation.explanations` is false there are curves of the test window only. Of a backtest there is the
    learning curve besides, whose warnings belong to the story, and nothing that nobody reads.
    """
    is_asked = judged.job.system.spec.evaluation.explanations
    told = tried if is_asked and judged.job.places.is_served else _nothing
    judges_fit = tried if is_asked else _nothing
    found = told("importances", lambda: _importances(judged))
    contributions = told("contributions", lambda: _contributions(judged))
    order = [one.column for one in found] if found else list(_columns(judged))
    depends = told("partial dependence", lambda: _dependence(judged, order)) or []
    metric = _metric(judged)
    task, rows = judged.cases.task, judged.cases
    # A share that is flagged is set and not learnt: no more of it is known of rows that were learnt from.
    is_learnt = metric.name != task.facts.chosen_without_labels
    quality = judges_fit("learning curve", lambda: _learning(judged)) if is_learnt else None
    curves = tried("curves", lambda: curves_of(task, rows.truth, judged.predictions)) or []
    return {
        "importances": [asdict(one) for one in found or ()],
        "contributions": None if contributions is None else _told(contributions),
        "dependence": [asdict(one) for one in depends],
        "learning": None if quality is None else asdict(quality),
        "tables": [
            *([_importance_table(found, contributions, metric.facts)] if found else []),
            *([_learning_table(quality, metric.facts)] if quality else []),
        ],
        "curves": [*curves, *_learning_curve(quality, metric.facts), *_dependence_curves(depends)],
        "warnings": list(quality.words[:1]) if quality and (quality.overfits or quality.underfits) else [],
    }


def _nothing(part: str, work: Callable[[], Any]) -> None:
    """In place of `tried` where nothing is asked for."""


def _metric(judged: Judged) -> Any:
    return judged.cases.task.metrics[judged.job.system.spec.training.choose.metric]


def _columns(judged: Judged) -> dict[str, bool]:
    """Raw columns of the features, and whether they are read as numbers."""
    found: dict[str, bool] = {}
    for feature in judged.job.system.spec.features:
        found.setdefault(feature.column, feature.reading == "numeric")
    return found


def _predict(judged: Judged) -> Predict:
    from capstan.training.fitting import predict

    threads = judged.job.system.spec.training.threads

    def said(rows: pa.Table, groups: Groups | None) -> Predictions:
        return predict(judged.cases.task, judged.pipeline, rows, threads=threads, groups=groups)

    return said


def _importances(judged: Judged) -> list[Importance]:
    some = _some(judged.cases, some_rows(len(judged.cases.truth), judged.cases.groups))
    rng = np.random.default_rng(judged.job.seed)
    return importances(
        _metric(judged),
        _predict(judged),
        some.table,
        some.truth,
        some.groups,
        list(_columns(judged)),
        rng=rng,
    )


def _some(cases: Cases, rows: npt.NDArray[np.int64]) -> Cases:
    mask = np.zeros(len(cases.truth), dtype=np.bool_)
    mask[rows] = True
    return cases.chosen(mask)


def _evenly(given: pa.Table, most: int) -> pa.Table:
    return given.take(pa.array(some_rows(given.num_rows, None, most)))


def _contributions(judged: Judged) -> Contributions:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from capstan.serving.model import as_requests

    task, names = judged.cases.task, list(_columns(judged))
    learnt = task.learnt(judged.pipeline)
    with threadpool_limits(judged.job.system.spec.training.threads):
        background = as_requests(_evenly(judged.learnt.select(names), BACKGROUND_ROWS))
        explainer = explainer_of(judged.pipeline, task, learnt, background, names)
        rows = judged.cases.table.select(names)
        if isinstance(explainer, SampledExplainer):
            return explainer.explain(as_requests(_evenly(rows, SAMPLED_ROWS)), orders=SAMPLED_ORDERS)
        return explainer.explain(as_requests(_evenly(rows, EXPLAINED_ROWS)))


def _told(found: Contributions) -> dict[str, Any]:
    means = np.abs(found.values).mean(axis=0)
    return {
        "scale": found.scale,
        "exact": found.exact,
        "rows": len(found.values),
        "base": dict(zip(found.outputs, found.base.tolist(), strict=True)),
        "means": {
            column: dict(zip(found.outputs, means[at].tolist(), strict=True))
            for at, column in enumerate(found.columns)
        },
    }


def _dependence(judged: Judged, order: Sequence[str]) -> list[Dependence]:
    from threadpoolctl import threadpool_limits

    task, pipeline, kinds = judged.cases.task, judged.pipeline, _columns(judged)
    rows = _evenly(judged.cases.table.select(list(kinds)), DEPENDENCE_ROWS)
    found = []
    with threadpool_limits(judged.job.system.spec.training.threads):
        count = task.scores(pipeline, rows).reshape(rows.num_rows, -1).shape[1]
        outputs = outputs_of(count, task.learnt(pipeline))
        # Rows with another moment or another whole text tell nothing.
        unlike = {one.column for one in judged.job.system.spec.features if not one.settings.comes_back}
        for column in [one for one in order if one not in unlike][:SHOWN_COLUMNS]:
            of_column = dependence(
                lambda some: task.scores(pipeline, some), rows, column, outputs, is_number=kinds[column]
            )
            found += [] if of_column is None else [of_column]
    return found


def _learning(judged: Judged) -> FitQuality | None:
    from capstan.training.fitting import predict

    metric, task, spec = _metric(judged), judged.cases.task, judged.job.system.spec
    threads, column = spec.training.threads, spec.data.keys.group

    def value(pipeline: Any, rows: Cases) -> float:
        said = predict(task, pipeline, rows.table, threads=threads, groups=rows.groups)
        return float(metric.value(rows.truth, said.settled(), rows.groups))

    def known(given: pa.Table) -> Cases:
        groups = groups_of(given, column)
        whole = Cases.of(given, judged.job.system)
        return _some(whole, some_rows(given.num_rows, groups, SCORED_ROWS))

    groups = groups_of(judged.learnt, column)
    largest = min(judged.learnt.num_rows // 3, MOST_TO_LEARN)
    points = []
    for size in (largest // 3, largest):
        if size < FEWEST_TO_LEARN:
            continue
        some = judged.learnt.take(pa.array(some_rows(judged.learnt.num_rows, groups, size)))
        try:
            pipeline = judged.fit(some)
        except InvalidDataError:
            # So few rows may lack a class.
            continue
        points.append(CurvePoint(some.num_rows, value(pipeline, known(some)), value(pipeline, judged.cases)))
    whole = float(metric.value(judged.cases.truth, judged.predictions.settled(), judged.cases.groups))
    points.append(
        CurvePoint(judged.learnt.num_rows, value(judged.pipeline, known(judged.learnt)), whole),
    )
    truth = Cases.of(judged.learnt, judged.job.system).truth

    def guessed(rows: Cases) -> float:
        return float(metric.value(rows.truth, task.baseline(truth, len(rows.truth)), rows.groups))

    return judge_fit(
        points,
        metric.facts,
        baseline=guessed(judged.cases),
        baseline_learnt=guessed(known(judged.learnt)),
        error=judged.error,
    )


def _importance_table(
    found: Sequence[Importance], contributions: Contributions | None, metric: MetricFacts
) -> dict[str, Any]:
    means: Mapping[str, float] = {}
    notes = [
        f"{metric.title}: by how much it gets worse when a column's values are shuffled, on up to 1,000 rows; columns "
        "that tell the same hide each other.",
    ]
    if contributions is not None:
        values = np.abs(contributions.values).mean(axis=(0, 2))
        means = dict(zip(contributions.columns, values.tolist(), strict=True))
        how = "exact" if contributions.exact else "estimated by drawn orders"
        notes.append(
            f"SHAP: the mean size of what a column adds to the score of {len(contributions.values)} rows, in "
            f"{contributions.scale.partition(':')[0]} ({how})."
        )
    return table(
        "Importance of columns",
        ("column", "importance"),
        [one.column for one in found],
        [f"{metric.title} lost", "standard error", "mean |SHAP|"],
        [[one.drop, one.error, means.get(one.column)] for one in found],
        notes=notes,
    )


def _learning_table(quality: FitQuality, metric: MetricFacts) -> dict[str, Any]:
    return table(
        "Learning curve",
        ("rows learnt from", metric.title),
        [f"{point.rows:,}" for point in quality.points],
        ["on rows it learnt from", "on the test rows"],
        [[point.learnt, point.new] for point in quality.points],
        notes=quality.words,
    )


def _learning_curve(quality: FitQuality | None, metric: MetricFacts) -> list[Curve]:
    if quality is None:
        return []
    points = quality.points
    ends = [points[0].rows, points[-1].rows]
    return [
        curve(
            "Learning curve",
            ("rows learnt from", metric.title),
            [
                ("rows it learnt from", [[one.rows, one.learnt] for one in points]),
                ("test rows", [[one.rows, one.new] for one in points]),
            ],
            reference=[[end, quality.baseline] for end in ends] if len(points) > 1 else None,
            notes=["The dashed line is the baseline, which knows no feature."],
        )
    ]


def _dependence_curves(found: Sequence[Dependence]) -> list[Curve]:
    """All of one height, so that what moves the answer little looks flat."""
    every = [mean for one in found for means in one.means.values() for mean in means]
    if not every:
        return []
    room = 0.05 * (max(every) - min(every)) or 1.0
    height = (min(every) - room, max(every) + room)
    return [
        curve(
            f"Answer by {one.column}",
            (one.column, "mean answer"),
            [(name, list(zip(one.values, means, strict=True))) for name, means in one.means.items()],
            height=height,
            notes=["The other columns are as they are in 100 test rows."],
        )
        for one in found
    ]

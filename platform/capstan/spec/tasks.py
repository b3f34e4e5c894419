"""What every task is, as facts: its kind of label, its outputs, its metrics. What a task does is in `capstan.tasks`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

LabelKind = Literal["Boolean", "Category", "Number", "Relevance", "Reward", "Anomaly", "Cluster"]
OutputKind = Literal["Number", "Category", "Boolean"]
Direction = Literal["Higher", "Lower"]
Unit = Literal["row", "group", "window"]


USUAL_FLAGGED_SHARE = 0.01
"""Which share of ordinary rows is flagged as unusual where the file names none."""
USUAL_THRESHOLD = 0.5
"""From which probability on an answer is true where nothing says what answers are worth."""
ANSWER_PARTS = (
    *("row", "version", "request_id", "refused", "outside", "models"),
    *("label", "probability", "probabilities", "value", "score", "rank", "flagged"),
    *("cluster", "distance", "silhouette"),
)
"""What parts of an answered row may be called, whatever the task: an id of that name would stand in their place."""
VALUE = "value"
"""Metric of what answers are worth, where the objective states it."""


@dataclass(frozen=True)
class OutputFacts:
    """One named part of an answer; stored as the column `output.<name>` of a payload."""

    name: str
    kind: OutputKind
    is_watched: bool
    """Whether its drift is watched."""
    per_class: bool = False
    """Whether there is one column for each class, named `<name>.<class>`."""


@dataclass(frozen=True)
class MetricFacts:
    """One metric of a task."""

    name: str
    """As in a file."""
    title: str
    """As people read it."""
    direction: Direction
    """Which way it improves."""
    unit: Unit
    """What has a loss of its own: each row, each group of rows, or nothing smaller than a window."""
    needs_classes: bool = False
    """Whether it says nothing about rows with labels of one class."""
    short: str = ""
    """What keys of a report's JSON begin with; empty: the name in lower case with underscores."""
    power: int = 0
    """Power of the label's unit in which it is told: 1 for minutes, 2 for squared minutes, 0 for a plain number.

    `margin` and `max_drop` are shares of the objective's `losses.maximumError` to that power.
    """
    margin: float = 0.01
    """By how much a challenger's mean loss may be larger where an analysis names no margin."""
    max_drop: float = 0.05
    """How much worse a window may be where `monitoring.quality` names no drop."""
    is_of_mean: bool = False
    """Whether a metric of windows follows from a mean over rows, such as the root of the mean squared error."""

    @property
    def key(self) -> str:
        return self.short or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.direction == "Lower" else 1

    def in_units(self, share: float, maximum_error: float | None) -> float:
        """The share of the largest error that counts, in the unit in which the metric is told."""
        if not self.power or maximum_error is None:
            return share
        return float(f"{share * maximum_error**self.power:.12g}")

    @property
    def is_paired(self) -> bool:
        """Whether two versions can be compared by it on the same requests."""
        return self.unit != "window"


@dataclass(frozen=True)
class TaskFacts:
    """What a task's label, answers and metrics are called."""

    name: str
    label: LabelKind
    outputs: tuple[OutputFacts, ...]
    metrics: tuple[MetricFacts, ...]
    """The first ones are shown first."""
    chosen_by: str
    """Metric of `training.choose` and `monitoring.quality` where the file names none."""
    compared_by: str
    """Loss of an analysis where the file names none."""
    answered: str
    """What an answered row calls the part that metrics judge, as `capstan predict` writes it."""
    keys: tuple[str, ...] = ()
    """Keys of `data.keys` that the task requires, besides id and time."""
    chosen_without_labels: str = ""
    """Metric of `training.choose` where the file has no labels; empty: the task learns from labels and needs them."""
    flagged_share: float | None = None
    """Which share of the rows that are learnt from is flagged as unusual; None: the task flags nothing."""

    @property
    def needs_labels(self) -> bool:
        return not self.chosen_without_labels

    def metric(self, name: str) -> MetricFacts:
        """The metric of that name; raises KeyError."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)

    def with_metrics(self, own: Iterable[MetricFacts]) -> TaskFacts:
        """The same task with a person's own metrics behind its own."""
        return replace(self, metrics=(*self.metrics, *own))

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(metric.name for metric in self.metrics)

    @property
    def paired_names(self) -> tuple[str, ...]:
        """Metrics that each single request has, so that two versions can be compared on the same requests."""
        return tuple(metric.name for metric in self.metrics if metric.is_paired)

    @property
    def loss_within_1(self) -> str | None:
        """The loss from 0 to 1 of a row: its class was wrong, or how far off its probability was; None: no classes."""
        return next((name for name in ("accuracy", "brierScore") if name in self.paired_names), None)

    @property
    def estimable_names(self) -> tuple[str, ...]:
        """Metrics that can be estimated before labels come: all of classes, means over rows of numbers."""
        if self.label in ("Boolean", "Category"):
            return self.metric_names
        means = (metric for metric in self.metrics if metric.unit == "row" or metric.is_of_mean)
        return tuple(metric.name for metric in means)


BINARY = TaskFacts(
    name="BinaryClassification",
    label="Boolean",
    outputs=(OutputFacts("probability", "Number", is_watched=True),),
    metrics=(
        MetricFacts("rocAuc", "ROC-AUC", "Higher", "window", needs_classes=True, short="auc"),
        MetricFacts("averagePrecision", "average precision", "Higher", "window", needs_classes=True),
        MetricFacts("logLoss", "log loss", "Lower", "row"),
        MetricFacts("brierScore", "Brier score", "Lower", "row"),
        MetricFacts("accuracy", "accuracy", "Higher", "window"),
        MetricFacts("f1", "F1", "Higher", "window"),
        MetricFacts("precision", "precision", "Higher", "window"),
        MetricFacts("recall", "recall", "Higher", "window"),
        MetricFacts("calibrationError", "calibration error", "Lower", "window"),
    ),
    chosen_by="rocAuc",
    compared_by="logLoss",
    answered="probability",
)

MULTICLASS = TaskFacts(
    name="MulticlassClassification",
    label="Category",
    outputs=(
        OutputFacts("label", "Category", is_watched=True),
        OutputFacts("probability", "Number", is_watched=True, per_class=True),
    ),
    metrics=(
        MetricFacts("rocAuc", "ROC-AUC", "Higher", "window", needs_classes=True, short="auc"),
        MetricFacts("logLoss", "log loss", "Lower", "row"),
        MetricFacts("accuracy", "accuracy", "Higher", "row"),
        MetricFacts("macroF1", "macro F1", "Higher", "window"),
        MetricFacts("microF1", "micro F1", "Higher", "window"),
        MetricFacts("calibrationError", "calibration error", "Lower", "window"),
    ),
    chosen_by="rocAuc",
    compared_by="logLoss",
    answered="probabilities",
)

REGRESSION = TaskFacts(
    name="Regression",
    label="Number",
    outputs=(OutputFacts("value", "Number", is_watched=True),),
    metrics=(
        MetricFacts("rmse", "RMSE", "Lower", "window", power=1, is_of_mean=True),
        MetricFacts("mae", "MAE", "Lower", "window", power=1, is_of_mean=True),
        MetricFacts("r2", "R2", "Higher", "window", needs_classes=True),
        MetricFacts("mape", "MAPE", "Lower", "window"),
        MetricFacts("squaredError", "squared error", "Lower", "row", power=2, margin=0.002, max_drop=0.01),
        MetricFacts("absoluteError", "absolute error", "Lower", "row", power=1),
        MetricFacts("huber", "Huber loss", "Lower", "row", power=2, margin=0.001, max_drop=0.005),
        MetricFacts("quantileLoss", "quantile loss", "Lower", "row", power=1, margin=0.005, max_drop=0.025),
    ),
    chosen_by="rmse",
    compared_by="squaredError",
    answered="value",
)

RANKING = TaskFacts(
    name="Ranking",
    label="Relevance",
    outputs=(
        OutputFacts("score", "Number", is_watched=True),
        OutputFacts("rank", "Number", is_watched=False),
    ),
    metrics=(
        MetricFacts("ndcgAt10", "nDCG@10", "Higher", "group", short="ndcg_at_10"),
        MetricFacts("ndcgAt5", "nDCG@5", "Higher", "group", short="ndcg_at_5"),
        MetricFacts("ndcgAt3", "nDCG@3", "Higher", "group", short="ndcg_at_3"),
        MetricFacts("meanReciprocalRank", "mean reciprocal rank", "Higher", "group", short="mrr"),
        MetricFacts("meanAveragePrecision", "mean average precision", "Higher", "group", short="map"),
        MetricFacts("precisionAt1", "precision@1", "Higher", "group", short="precision_at_1"),
        MetricFacts("precisionAt3", "precision@3", "Higher", "group", short="precision_at_3"),
        MetricFacts("precisionAt5", "precision@5", "Higher", "group", short="precision_at_5"),
        MetricFacts("precisionAt10", "precision@10", "Higher", "group", short="precision_at_10"),
    ),
    chosen_by="ndcgAt10",
    compared_by="ndcgAt10",
    answered="score",
    keys=("group",),
)

ANOMALIES = TaskFacts(
    name="AnomalyDetection",
    label="Anomaly",
    outputs=(
        OutputFacts("score", "Number", is_watched=True),
        OutputFacts("flagged", "Boolean", is_watched=False),
    ),
    metrics=(
        MetricFacts("averagePrecision", "average precision", "Higher", "window", needs_classes=True),
        MetricFacts("rocAuc", "ROC-AUC", "Higher", "window", needs_classes=True, short="auc"),
        MetricFacts("precisionAtShare", "precision at the share", "Higher", "window", needs_classes=True),
        MetricFacts("precision", "precision", "Higher", "window"),
        MetricFacts("recall", "recall", "Higher", "window"),
        MetricFacts("accuracy", "accuracy", "Higher", "row"),
        MetricFacts("flaggedShareGap", "gap to the share to flag", "Lower", "window"),
    ),
    chosen_by="averagePrecision",
    compared_by="accuracy",
    answered="score",
    chosen_without_labels="flaggedShareGap",
    flagged_share=USUAL_FLAGGED_SHARE,
)

CLUSTERS = TaskFacts(
    name="Clustering",
    label="Cluster",
    outputs=(
        OutputFacts("cluster", "Category", is_watched=True),
        OutputFacts("distance", "Number", is_watched=True),
        OutputFacts("silhouette", "Number", is_watched=False),
    ),
    metrics=(
        MetricFacts("adjustedRand", "adjusted Rand index", "Higher", "window", needs_classes=True),
        MetricFacts(
            "mutualInformation", "normalized mutual information", "Higher", "window", needs_classes=True
        ),
        MetricFacts("homogeneity", "homogeneity", "Higher", "window", needs_classes=True),
        MetricFacts("completeness", "completeness", "Higher", "window", needs_classes=True),
        MetricFacts("silhouette", "simplified silhouette", "Higher", "row"),
    ),
    chosen_by="adjustedRand",
    compared_by="silhouette",
    answered="cluster",
    chosen_without_labels="silhouette",
)

TASK_FACTS: Mapping[str, TaskFacts] = {
    BINARY.name: BINARY,
    MULTICLASS.name: MULTICLASS,
    REGRESSION.name: REGRESSION,
    RANKING.name: RANKING,
    ANOMALIES.name: ANOMALIES,
    CLUSTERS.name: CLUSTERS,
}
"""Task -> its facts, for every task that runs today."""
TASKS_LATER = (
    "MultilabelClassification",
    "QuantileRegression",
    "Forecasting",
    "Recommendation",
    "SurvivalAnalysis",
    "SequenceToSequence",
    "TextGeneration",
    "ContextualBandit",
)
"""Tasks that people ask for and that are in no version yet."""
TEXTS, IMAGES, POLICIES = "TextGeneration", "ImageGeneration", "ContextualBandit"
"""Tasks whose answers can be judged from a table, and which no system of Capstan's learns."""


def usual_task(label: LabelKind) -> str:
    """The task of labels of this kind whose rows stand alone."""
    return next(name for name, facts in TASK_FACTS.items() if facts.label == label and not facts.keys)

"""Metrics of clusters: how labels fall into them, and how clearly rows belong to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.spec.tasks import CLUSTERS
from capstan.tasks.metric import (
    Booleans,
    DayWeights,
    Floats,
    Groups,
    Metric,
    Place,
    Truth,
    Weights,
    from_losses,
    of_rows,
)
from capstan.tasks.predictions import Predictions

CLUSTER, DISTANCE, SILHOUETTE = "cluster", "distance", "silhouette"


def is_known(truth: Truth, groups: Groups | None = None) -> Booleans:  # noqa: ARG001
    """(n,): which rows have a label."""
    known: Booleans = truth.astype(str) != ""
    return known


def clusters_of(predictions: Predictions) -> npt.NDArray[Any]:
    """(n,) texts: the cluster of each row."""
    texts: npt.NDArray[Any] = predictions[CLUSTER].astype(str)
    return texts


def crossed(truth: Truth, predictions: Predictions) -> tuple[Groups, npt.NDArray[Any], npt.NDArray[Any]]:
    """Of rows that have a label the cell of label and cluster of each, row by row, and the names of both."""
    labels, of_label = np.unique(truth.astype(str), return_inverse=True)
    clusters, of_cluster = np.unique(clusters_of(predictions), return_inverse=True)
    cells: Groups = (of_label.reshape(-1) * len(clusters) + of_cluster.reshape(-1)).astype(np.int64)
    return cells, labels, clusters


def _of_counts(name: str, finish: Callable[[Floats], Floats]) -> Metric:
    """A metric of how labels fall into clusters; `finish`: (samples, labels, clusters) counts of rows -> (samples,)."""

    def value(truth: Truth, predictions: Predictions, weights: Weights | None) -> float:
        known = is_known(truth)
        if not known.any():
            return math.nan
        cells, labels, clusters = crossed(truth[known], predictions.rows(known))
        counted = None if weights is None else weights[known]
        size = len(labels) * len(clusters)
        counts = np.bincount(cells, weights=counted, minlength=size).astype(np.float64)
        return float(finish(counts.reshape(1, len(labels), len(clusters)))[0])

    def resampled(truth: Truth, predictions: Predictions, place: Place, weights: DayWeights) -> Floats:
        known = is_known(truth)
        if not known.any():
            return np.full(len(weights), np.nan)
        cells, labels, clusters = crossed(truth[known], predictions.rows(known))
        size, days = len(labels) * len(clusters), weights.shape[1]
        by_day = np.bincount(place[known] * size + cells, minlength=days * size).reshape(days, size)
        return finish((weights @ by_day).reshape(-1, len(labels), len(clusters)))

    made = of_rows(CLUSTERS.metric(name), value, resampled)
    return replace(made, judges=is_known, wants="a label")


def _differ(counts: Floats) -> Booleans:
    """(samples,): whether there are rows of at least two labels; of one label no clusters can be wrong."""
    several: Booleans = (counts.sum(axis=2) > 0).sum(axis=1) > 1
    return several


def _pairs(rows: Floats) -> Floats:
    found: Floats = rows * (rows - 1) / 2
    return found


def _adjusted_rand(counts: Floats) -> Floats:
    """Share of pairs of rows that are together by label and by cluster, beyond chance (Hubert & Arabie 1985)."""
    together = _pairs(counts).sum(axis=(1, 2))
    by_label, by_cluster = (_pairs(counts.sum(axis=axis)).sum(axis=1) for axis in (2, 1))
    chance = np.divide(
        by_label * by_cluster,
        _pairs(counts.sum(axis=(1, 2))),
        out=np.full(len(counts), np.nan),
        where=counts.sum(axis=(1, 2)) > 1,
    )
    room = (by_label + by_cluster) / 2 - chance
    found: Floats = np.divide(together - chance, room, out=np.full(len(counts), np.nan), where=room > 0)
    return np.where(_differ(counts), found, np.nan)


def _entropy(counts: Floats) -> Floats:
    """(samples,) nats of (samples, n) counts."""
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    found: Floats = -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=1)
    return found


def _entropies(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """(samples,) nats of labels, of clusters, and that both have in common."""
    labels, clusters = _entropy(counts.sum(axis=2)), _entropy(counts.sum(axis=1))
    shared = labels + clusters - _entropy(counts.reshape(len(counts), -1))
    return labels, clusters, np.maximum(shared, 0.0)


def _where_labels_differ(counts: Floats, above: Floats, below: Floats, nothing: float) -> Floats:
    found: Floats = np.divide(above, below, out=np.full(len(counts), nothing), where=below > 0)
    return np.where(_differ(counts), found, np.nan)


def _mutual_information(counts: Floats) -> Floats:
    labels, clusters, shared = _entropies(counts)
    return _where_labels_differ(counts, shared, (labels + clusters) / 2, 0.0)


def _homogeneity(counts: Floats) -> Floats:
    labels, _, shared = _entropies(counts)
    return _where_labels_differ(counts, shared, labels, 1.0)


def _completeness(counts: Floats) -> Floats:
    _, clusters, shared = _entropies(counts)
    return _where_labels_differ(counts, shared, clusters, 1.0)


def _unclear(truth: Truth, predictions: Predictions, groups: Groups | None = None) -> Floats:  # noqa: ARG001
    found: Floats = 1.0 - predictions[SILHOUETTE]
    return found


def cluster_metrics() -> Mapping[str, Metric]:
    made = (
        _of_counts("adjustedRand", _adjusted_rand),
        _of_counts("mutualInformation", _mutual_information),
        _of_counts("homogeneity", _homogeneity),
        _of_counts("completeness", _completeness),
        from_losses(CLUSTERS.metric("silhouette"), _unclear),
    )
    return {metric.name: metric for metric in made}

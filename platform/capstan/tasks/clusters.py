"""Which rows are alike: a cluster for each row, and how clearly it belongs there. Labels are optional, and only judge.

How clearly is told by the simplified silhouette (Hruschka, Campello & Castro 2006): (b - a) / b, of a, the distance to
the row's own centre, and b, that to the next one. It needs no other rows, so a row that is answered alone has it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.tasks import CLUSTERS
from capstan.tasks.cluster_metrics import (
    CLUSTER,
    DISTANCE,
    SILHOUETTE,
    cluster_metrics,
    clusters_of,
    crossed,
    is_known,
)
from capstan.tasks.disclosure import of_categories
from capstan.tasks.labels import LABELS
from capstan.tasks.metric import Booleans, Floats, Groups, Metric, Truth
from capstan.tasks.predictions import Learnt, Predictions
from capstan.tasks.task import Answer, Outputs, RowOutputs
from capstan.tasks.tensors import Tensor, as_number

if TYPE_CHECKING:
    from capstan.spec.objective import Objective

MOST_SHOWN = 30
"""Clusters, and labels, of a table; the largest ones."""
_METHOD, _CENTRES = "transform", "cluster_centers_"
_MOST_CLUSTERS = 1000


def _silhouettes(nearest: Floats, following: Floats) -> Floats:
    """0 for a row that is as near to two centres, 1 for one on its own centre alone; 0 too where all are one point."""
    with np.errstate(invalid="ignore", over="ignore"):
        found: Floats = np.divide(
            following - nearest, following, out=np.zeros(len(nearest)), where=following != 0
        )
    return found


class Clustering:
    """The nearest of several centres, the distance to it, and how clearly it is the nearest.

    A model is asked as scikit-learn's KMeans is: `transform`, (n, clusters) distances, and `cluster_centers_`. Clusters
    are called 1, 2, … in that order. A label is the name of a class; the empty text where nobody has looked.
    """

    facts = CLUSTERS
    metrics: Mapping[str, Metric] = cluster_metrics()
    label = LABELS["Cluster"]
    sound = "finite distances of at least 0"
    method = _METHOD
    disclosure = "share of the rows whose class it tells, beyond the most frequent one"

    def with_objective(self, objective: Objective) -> Clustering:  # noqa: ARG002 — nothing of it changes a cluster
        return self

    def disclosed(self, truth: Truth, groups: Groups, values: Floats | None) -> float:
        known = is_known(truth)
        if not known.any():
            return math.nan
        return of_categories(truth[known], groups[known], None if values is None else values[known])

    def learnt(self, model: Any) -> Learnt:
        last = model.steps[-1][1] if hasattr(model, "steps") else model
        centres = getattr(last, _CENTRES, None)
        number = 0 if centres is None else len(centres)
        if not 1 <= number <= _MOST_CLUSTERS:
            raise InvalidDataError(
                f"{_CENTRES} of the fitted {type(last).__name__} has {number:,} rows; it must hold the centres of 1 to "
                f"{_MOST_CLUSTERS:,} clusters, one in each row, as KMeans of scikit-learn has it"
            )
        return Learnt(tuple(str(place + 1) for place in range(number)))

    def scores(self, model: Any, matrix: Any, *, rows: int | None = None) -> Floats:
        try:
            found = np.asarray(model.transform(matrix), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidDataError(f"{_METHOD} gave no numbers: {error}") from error
        if rows is None:
            return found
        if found.ndim != 2 or len(found) != rows:
            raise InvalidDataError(
                f"{_METHOD} gave shape {found.shape} for {rows:,} rows; it must be ({rows}, clusters), the distance of "
                "each row to each centre"
            )
        strange = ~(np.isfinite(found) & (found >= 0)).all(axis=1)
        if strange.any():
            raise InvalidDataError(
                f"{_METHOD} gave {found[strange][0].tolist()} for {strange.sum():,} of {rows:,} rows; every distance "
                "must be a finite number of at least 0"
            )
        return found

    def predictions(
        self,
        scores: Floats,
        learnt: Learnt,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Predictions:
        # No rows may come as an array without columns.
        scores = scores.reshape(len(scores), len(learnt.classes))
        names = np.array(learnt.classes, dtype=object)
        ordered = np.sort(scores, axis=1)
        nearest = ordered[:, 0]
        following = ordered[:, 1] if scores.shape[1] > 1 else nearest
        # NaN sorts to the end, so that a row with one would look sound.
        strange = np.isnan(scores).any(axis=1)
        return Predictions(
            {
                CLUSTER: names[scores.argmin(axis=1)].astype(str),
                DISTANCE: np.where(strange, np.nan, nearest),
                SILHOUETTE: np.where(strange, np.nan, _silhouettes(nearest, following)),
            }
        )

    def outputs(self, predictions: Predictions) -> list[Outputs]:
        columns = (
            clusters_of(predictions).tolist(),
            predictions[DISTANCE].tolist(),
            predictions[SILHOUETTE].tolist(),
        )
        return [
            {CLUSTER: cluster, DISTANCE: distance, SILHOUETTE: silhouette}
            for cluster, distance, silhouette in zip(*columns, strict=True)
        ]

    def row_outputs(self, learnt: Learnt) -> RowOutputs:
        names = learnt.classes

        def outputs(score: Any) -> Outputs | None:
            values = score if type(score) is tuple else score.tolist()
            ordered = sorted(values)
            nearest, following = ordered[0], ordered[1] if len(ordered) > 1 else ordered[0]
            # NaN and infinity are not below it.
            if not (nearest >= 0 and all(map(math.isfinite, values))):
                return None
            silhouette = (following - nearest) / following if following else 0.0
            return {CLUSTER: names[values.index(nearest)], DISTANCE: nearest, SILHOUETTE: silhouette}

        return outputs

    def answers(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Answer]:  # noqa: ARG002
        return [{name: one[name] for name in (CLUSTER, DISTANCE, SILHOUETTE)} for one in outputs]

    def tensors(self, outputs: Sequence[Outputs], learnt: Learnt) -> list[Tensor]:
        return [
            one._replace(shape=(len(outputs),), data=[row[one.name] for row in outputs])
            for one in self.described(learnt)
        ]

    def described(self, learnt: Learnt) -> list[Tensor]:  # noqa: ARG002
        return [
            Tensor(CLUSTER, "BYTES", (-1,)),
            Tensor(DISTANCE, "FP64", (-1,)),
            Tensor(SILHOUETTE, "FP64", (-1,)),
        ]

    def of_tensors(self, tensors: Sequence[Tensor]) -> list[Outputs | None] | None:
        named = {tensor.name: tensor.by_row() for tensor in tensors}
        if not {CLUSTER, DISTANCE, SILHOUETTE} <= named.keys():
            return None
        found: list[Outputs | None] = []
        for rows in zip(named[CLUSTER], named[DISTANCE], named[SILHOUETTE], strict=True):
            cluster, *numbers = (row[0] if len(row) == 1 else None for row in rows)
            distance, silhouette = map(as_number, numbers)
            is_whole = isinstance(cluster, str) and distance is not None and silhouette is not None
            outputs: Outputs = {CLUSTER: cluster, DISTANCE: distance, SILHOUETTE: silhouette}
            found.append(outputs if is_whole else None)
        return found

    def unsound(self, predictions: Predictions) -> Booleans:
        distance, silhouette = predictions[DISTANCE], predictions[SILHOUETTE]
        lacking: Booleans = ~(np.isfinite(distance) & np.isfinite(silhouette) & (distance >= 0))
        return lacking

    def disagree(
        self,
        first: Predictions,
        second: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Booleans:
        """Rows outside of the pairs of clusters that have most rows in common; two versions name clusters anew."""
        one, other = clusters_of(first), clusters_of(second)
        if not len(one):
            return np.zeros(0, dtype=np.bool_)
        names, codes = np.unique(np.concatenate([one, other]), return_inverse=True)
        codes = codes.reshape(-1)
        rows, columns, size = codes[: len(one)], codes[len(one) :], len(names)
        common = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
        found: Booleans = _partners(common)[rows] != columns
        return found

    def baseline(self, truth: Truth, rows: int) -> Predictions:  # noqa: ARG002
        nothing = np.zeros(rows)
        return Predictions({CLUSTER: np.full(rows, "1"), DISTANCE: nothing, SILHOUETTE: nothing.copy()})

    def details(
        self,
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        if not len(truth):
            return {}
        known = is_known(truth)
        tables = [_table(predictions)]
        if not known.any():
            return {
                "tables": tables,
                "notes": ["no row has a label, so nobody can say which clusters are right"],
            }
        left_out = int((~known).sum())
        notes = [f"{left_out:,} rows without a label are not counted"] if left_out else []
        return {"tables": [*tables, _contingency(truth[known], predictions.rows(known), notes)]}


def _partners(common: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n,): the second's cluster of each of the first's, so that together they have most rows in common (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment

    # Of ways that are as good the one that keeps names is taken, whoever is first.
    same = np.eye(len(common)) / (2 * len(common) + 2)
    found: npt.NDArray[np.int64] = linear_sum_assignment(common + same, maximize=True)[1]
    return found


def _largest_first(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    order: npt.NDArray[np.int64] = np.argsort(-rows, kind="stable")[:MOST_SHOWN]
    return order


def _table(predictions: Predictions) -> Mapping[str, Any]:
    """What the clusters are like: a table of a task's details."""
    names, place = np.unique(clusters_of(predictions), return_inverse=True)
    place = place.reshape(-1)
    rows = np.bincount(place)
    distance, silhouette = (
        np.bincount(place, weights=predictions[name]) / rows for name in (DISTANCE, SILHOUETTE)
    )
    shown = _largest_first(rows)
    more = f"the {len(shown)} largest of {len(names)} clusters"
    return {
        "title": "Clusters",
        "of_rows": "cluster",
        "of_columns": "what its rows are like",
        "rows": names[shown].tolist(),
        "columns": ["rows", "share", "mean distance", "mean silhouette"],
        "cells": [
            [
                int(rows[at]),
                f"{rows[at] / len(place):.1%}",
                *(
                    format(mean, form) if math.isfinite(mean) else "not known"
                    for mean, form in ((distance[at], ".3g"), (silhouette[at], ".3f"))
                ),
            ]
            for at in shown.tolist()
        ],
        "notes": [more] if len(shown) < len(names) else [],
    }


def _contingency(truth: Truth, predictions: Predictions, notes: Sequence[str]) -> Mapping[str, Any]:
    """How often each label fell into each cluster: a table of a task's details."""
    cell, labels, clusters = crossed(truth, predictions)
    cells = np.bincount(cell, minlength=len(labels) * len(clusters)).reshape(len(labels), len(clusters))
    rows, columns = _largest_first(cells.sum(axis=1)), _largest_first(cells.sum(axis=0))
    chosen = cells[np.ix_(rows, columns)]
    left_out = int(cells.sum() - chosen.sum())
    more = [
        f"the {len(rows)} most frequent labels and {len(columns)} largest clusters; {left_out:,} rows are in none"
    ]
    return {
        "title": "Labels and clusters",
        "of_rows": "label",
        "of_columns": "cluster",
        "rows": labels[rows].tolist(),
        "columns": clusters[columns].tolist(),
        "cells": chosen.tolist(),
        "notes": [*notes, *(more if left_out else [])],
    }

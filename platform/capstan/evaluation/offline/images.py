"""How near generated images are to real ones, by features that somebody has computed of both."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.evaluation.offline.columns import Column, PredictionTable, prediction_table
from capstan.evaluation.offline.measured import Evaluation, Figure
from capstan.spec.tasks import IMAGES
from capstan.tasks.probabilities import TOLERANCE

Floats = npt.NDArray[np.float64]
SPLITS = 10
"""Parts over which the Inception Score is averaged, as its authors do."""


def evaluate_images(
    path: Path, *, reference: Path | None, prediction: str | None, features: str
) -> Evaluation:
    """Metrics of generated images, a row each.

    With `reference`, a table of real images, the Fréchet distance of the columns `<features>.<number>`, or of the
    lists in the column `features`. With `prediction` the Inception Score of the columns `<prediction>.<class>`.
    Raises NotFoundError, InvalidDataError.
    """
    if reference is None and prediction is None:
        raise InvalidDataError(
            f"evaluate: {IMAGES} needs --reference, a table of features of real images (FID), or --prediction, "
            "what columns of class probabilities begin with (Inception Score)"
        )
    figures = []
    with prediction_table(path, zone="UTC") as table:
        made = None if reference is None else _features(table, features)
        said = None if prediction is None else _features(table, prediction, option="--prediction")
    rows = len(made if made is not None else said if said is not None else ())
    if made is not None and reference is not None:
        with prediction_table(reference, zone="UTC") as table:
            real = _features(table, features, option="--reference")
        if real.shape[1] != made.shape[1]:
            raise InvalidDataError(
                f"--reference: {reference.name} has {real.shape[1]:,} features and {path.name} {made.shape[1]:,}; "
                "compute both by the same function"
            )
        few = min(len(made), len(real))
        note = f"of {len(made):,} and {len(real):,} rows, {made.shape[1]:,} features"
        if few <= made.shape[1]:
            note += f"; {few:,} rows are too few for so many features: the distance is larger than it is"
        figures.append(
            Figure(
                "fid",
                "Fréchet distance (FID)",
                "Lower",
                frechet_distance(made, real),
                math.nan,
                math.nan,
                note,
            )
        )
    if said is not None:
        sums = said.sum(axis=1)
        odd = np.flatnonzero((np.abs(sums - 1) > TOLERANCE) | (said < 0).any(axis=1))
        if len(odd):
            raise InvalidDataError(
                f"--prediction: {prediction} of row {odd[0] + 1} sum to {sums[odd[0]]:.6g}; probabilities are at least "
                "0 and make 1 together"
            )
        mean, deviation = inception_score(said)
        note = f"standard deviation {deviation:.4g} over {min(SPLITS, len(said))} parts"
        figures.append(Figure("inceptionScore", "Inception Score", "Higher", mean, math.nan, math.nan, note))
    return Evaluation(IMAGES, rows, 0, "", tuple(figures))


def frechet_distance(first: Floats, second: Floats) -> float:
    """Between normal distributions of the means and covariances of (rows, features); Heusel et al. 2017, eq. 6."""
    gap = first.mean(axis=0) - second.mean(axis=0)
    one, other = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second))
    # In this symmetric form a constant feature has a root too: that of the product has none.
    values, vectors = np.linalg.eigh(one)
    half = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(half @ other @ half), 0, None))
    # What rounding leaves below 0 is 0, and NaN stays NaN.
    return float(np.clip(gap @ gap + np.trace(one) + np.trace(other) - 2 * roots.sum(), 0, None))


def inception_score(probabilities: Floats, *, splits: int = SPLITS) -> tuple[float, float]:
    """Mean and standard deviation over the parts of (rows, classes) in their order; Salimans et al. 2016."""
    scores = []
    for part in np.array_split(probabilities, min(splits, len(probabilities))):
        mean = part.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(part > 0, part * (np.log(part) - np.log(mean)), 0.0)
        scores.append(math.exp(terms.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _features(table: PredictionTable, name: str, *, option: str = "--features") -> Floats:
    """(rows, features): of the columns `<name>.<anything>`, or of lists in the column `name`."""
    prefix = f"{name}."
    columns = [one for one in table.names if one.startswith(prefix)]
    if columns:
        found = np.stack([table.numbers(Column(option, one)) for one in columns], axis=1)
    else:
        found = _lists(table.values(Column(option, name)), name, option)
    if len(found) < 2:
        raise InvalidDataError(
            f"{option}: {len(found)} rows say nothing about how features vary; give at least 2"
        )
    return found


def _lists(values: list[object], name: str, option: str) -> Floats:
    length = len(values[0]) if values and isinstance(values[0], list) else 0
    for row, value in enumerate(values, start=1):
        good = isinstance(value, list) and len(value) == length > 0
        if not good or not all(isinstance(one, float | int) and math.isfinite(one) for one in value):  # type: ignore[attr-defined]
            raise InvalidDataError(
                f"{option}: {name} of row {row} is not a list of {length or 'some'} finite numbers; give such lists, "
                f"or a column {name}.0, {name}.1, ... for each"
            )
    return np.array(values, dtype=np.float64)

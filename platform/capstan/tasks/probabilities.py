"""What tasks of classes have in common: one bound for log loss, one calibration error, one judge of `predict_proba`."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.tasks import USUAL_THRESHOLD
from capstan.tasks.metric import Booleans, Floats, share
from capstan.tasks.predictions import Predictions

CLIP = 0.001
"""Probabilities are clipped to [CLIP, 1 - CLIP] before log loss, so that one row's loss is at most 6.91."""
SAME = 1e-6
"""Probabilities that differ by less decide alike: two versions may have come to one value by different paths."""
PROBABILITY = "probability"
"""Column of the probability that something is so."""
THRESHOLD = USUAL_THRESHOLD
"""From which probability on the answer is that it is, unless the objective says what answers are worth."""
CALIBRATION_BINS = 10
TOLERANCE = 1e-3
"""By how much the probabilities of a row may miss 1; single precision misses by 1e-7."""


def answered_true(predictions: Predictions, threshold: float = THRESHOLD) -> Booleans:
    """(n,): rows of which the answer is that it is so."""
    decided: Booleans = predictions[PROBABILITY] >= threshold
    return decided


def log_losses_of(chance: Floats) -> Floats:
    """(n,): the log loss of rows by the probability that their true class was given."""
    return np.asarray(-np.log(np.clip(chance, CLIP, 1 - CLIP)), dtype=np.float64)


def is_bounded(chance: Floats) -> Booleans:
    """Rows whose log loss was bounded."""
    return (chance < CLIP) | (chance > 1 - CLIP)


def calibration_gaps(said: Floats, came: Booleans) -> Floats:
    """(n, bins): the probability minus whether it came so, in the bin of equal width that it falls into."""
    place = np.minimum((said * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.zeros((len(said), CALIBRATION_BINS))
    gaps[np.arange(len(said)), place] = said - came
    return gaps


def calibration_error(sums: Floats, rows: Floats) -> Floats:
    """Mean distance of predicted from observed share, weighted by the rows of each bin."""
    return share(np.abs(sums).sum(axis=1), rows)


def judged_probabilities(found: Any, rows: int, classes: int) -> Floats:
    """What `predict_proba` gave for so many rows, of shape (rows, classes); raises InvalidDataError otherwise."""
    try:
        answer = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"predict_proba gave {type(found).__name__}, not numbers: {error}") from error
    if answer.shape != (rows, classes):
        raise InvalidDataError(
            f"predict_proba gave shape {answer.shape} for {rows:,} rows; it must be ({rows}, {classes}), "
            "a column a class"
        )
    strange = ~np.isfinite(answer).all(axis=1)
    if strange.any():
        raise InvalidDataError(
            f"predict_proba gave {answer[strange][0].tolist()} for {strange.sum():,} of {rows:,} rows; "
            "every probability must be a number"
        )
    outside = (answer < 0).any(axis=1) | (np.abs(answer.sum(axis=1) - 1) > TOLERANCE)
    if outside.any():
        amount = "the two" if classes == 2 else "all"
        raise InvalidDataError(
            f"predict_proba gave {answer[outside][0].tolist()} for {outside.sum():,} of {rows:,} rows; "
            f"{amount} must lie between 0 and 1 and make 1 together"
        )
    return answer

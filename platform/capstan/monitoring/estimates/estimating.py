"""The estimate of a window: what an estimator makes of its rows, and what speaks against that.

An estimate rests on the calibration: that rows of which the model says the same come true as often as they did on the
test window. Rows unlike all that the calibration saw are told and leave the estimate unsure. That the same rows come
true more or less often than they did (concept drift) cannot be seen before labels come; the record of past windows
tells it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa

from capstan.monitoring.estimates.estimator import Estimator, Guess
from capstan.monitoring.estimates.seen import SeenColumn
from capstan.monitoring.quality import Quality, QualityReference, judge_drop
from capstan.monitoring.windows import Estimate, WindowOutcome
from capstan.spec import MLSystem
from capstan.tasks import Metric, Predictions, task_of
from capstan.tasks.expected import said_chances

MOST_OUTSIDE = 0.1
"""Share of rows unlike all that the calibration saw from which on an estimate is not sure of itself."""
_NAMED = 3
"""Features that a message names."""


class Unlike:
    """Counts the rows with a value that the calibration never saw, nor anything beyond it."""

    def __init__(self, seen: Sequence[SeenColumn]) -> None:
        self.seen = seen
        self.rows = 0
        self.outside = 0
        self._by_feature: Counter[str] = Counter()

    def add(self, columns: Mapping[str, pa.Array]) -> None:
        """Of a batch each column, by its name."""
        if not self.seen:
            return
        anywhere = None
        for one in self.seen:
            beyond = one.is_outside(one.read(columns[one.column]))
            self._by_feature[one.feature] += int(np.count_nonzero(beyond))
            anywhere = beyond if anywhere is None else anywhere | beyond
        assert anywhere is not None
        self.rows += len(anywhere)
        self.outside += int(np.count_nonzero(anywhere))

    @property
    def share(self) -> float | None:
        """Of the rows; None: none was looked at."""
        return self.outside / self.rows if self.rows else None

    def __str__(self) -> str:
        most = [(name, count) for name, count in self._by_feature.most_common(_NAMED) if count]
        return ", ".join(f"{name} {count / self.rows:.0%}" for name, count in most)


class Estimates:
    """Makes the estimates of one version's windows."""

    def __init__(
        self, system: MLSystem, estimator: Estimator | None, reference: QualityReference | None
    ) -> None:
        self._system = system
        self._estimator = estimator
        self._reference = reference
        self._task = task_of(system.spec)
        self._is_asked = system.spec.monitoring.estimate.alert

    @property
    def can(self) -> bool:
        """Whether there is anything to estimate by."""
        return self._estimator is not None and not self._estimator.why_not

    @property
    def seen(self) -> tuple[SeenColumn, ...]:
        """Columns of requests that are compared with the calibration's."""
        return self._estimator.seen if self._estimator is not None and self.can else ()

    @property
    def columns(self) -> set[str]:
        return {one.column for one in self.seen}

    @property
    def needed(self) -> set[str]:
        """Columns that the estimate of a row is made of."""
        return self.columns if self._estimator is not None and self._estimator.needs_inputs else set()

    def of(
        self,
        predictions: Predictions,
        inputs: Mapping[str, pa.ChunkedArray],
        unlike: Unlike,
        *,
        error_probability: float,
        window: timedelta,
    ) -> Estimate | None:
        """The estimate of a window with rows enough; `inputs` has the columns that are `needed`."""
        estimator, watched = self._estimator, self._system.spec.monitoring
        if estimator is None:
            lacking = "the version carries nothing to estimate by; train it again"
            return self.none("NoEstimator", lacking)
        if estimator.why_not:
            return self.none("NotEstimable", estimator.why_not)
        if estimator.metric != watched.quality.metric:
            other = f"the version was trained to estimate {estimator.metric}, not {watched.quality.metric}"
            return self.none("OtherMetric", f"{other} (monitoring.quality.metric); train it again")
        metric = self._task.metrics[estimator.metric]
        has_time = self._system.spec.data.keys.time is not None
        guess = estimator.guess(
            self._task,
            metric,
            predictions.settled(),
            inputs={one.feature: one.read(inputs[one.column]) for one in estimator.seen if inputs},
            days=max(1.0, window / timedelta(days=1)) if has_time else None,
        )
        if guess.value is None:
            undefined = f"{estimator.metric} is not defined on the {len(predictions):,} rows that it answered"
            return self.none("Undefined", undefined)
        return self._judged(metric, guess, self._outside(unlike, predictions), error_probability)

    def none(self, reason: str, message: str) -> Estimate | None:
        """Why there is no estimate; None: the version carries none, and nobody asks for an alert."""
        if not self._is_asked and self._estimator is None:
            return None
        metric = self._system.spec.monitoring.quality.metric
        return Estimate(metric, WindowOutcome.NO_EVIDENCE, reason, message, is_asked=self._is_asked)

    def _judged(
        self, metric: Metric, guess: Guess, outside: tuple[float | None, str], error_probability: float
    ) -> Estimate:
        watched = self._system.spec.monitoring
        low, high = guess.interval or (None, None)
        reference = self._reference

        def told(decision: WindowOutcome, reason: str, message: str = "") -> Estimate:
            return Estimate(
                metric.name,
                decision,
                reason,
                message,
                value=guess.value,
                low=low,
                high=high,
                reference=None if reference is None else reference.value,
                floor=None
                if reference is None
                else reference.value - metric.facts.sign * watched.quality.max_drop,
                outside=outside[0],
                is_asked=self._is_asked,
            )

        nothing = WindowOutcome.NO_EVIDENCE
        if guess.standard_error is None:
            few = (
                f"{guess.units} days or lots behind the calibration are too few to say how far it may be off"
            )
            return told(nothing, "TooFewDays", few)
        if outside[1]:
            return told(nothing, "OutsideCalibration", outside[1])
        if reference is None or not math.isfinite(reference.value):
            lacking = f"the version does not tell its {metric.name} on the test window; train it again"
            return told(nothing, "NoReference", lacking)
        drop = judge_drop(
            metric.facts,
            Quality(guess.value, guess.standard_error, guess.units),
            reference,
            max_drop=watched.quality.max_drop,
            error_probability=error_probability,
        )
        if drop is not None and drop.is_breach:
            return told(WindowOutcome.BREACH, "Dropped")
        return told(WindowOutcome.FINE, "Fine")

    def _outside(self, unlike: Unlike, predictions: Predictions) -> tuple[float | None, str]:
        """The share of rows unlike the calibration's, and a sentence if it is too large."""
        assert self._estimator is not None
        beyond = 0.0
        chances = said_chances(self._task, predictions)
        if chances is not None and len(predictions):
            low, high = self._estimator.said
            asked = chances.table[:, 0]
            beyond = float(np.mean((asked < low) | (asked > high)))
        share = max(beyond, unlike.share or 0.0)
        if share <= MOST_OUTSIDE:
            return share, ""
        what = str(unlike) if (unlike.share or 0.0) >= beyond else "the model is surer than it was there"
        return share, f"{share:.0%} of the rows are unlike all that the estimate was calibrated on ({what})"

"""Metrics of a person's own in the report of a replay: a fault of theirs costs their numbers, not the report."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from capstan.errors import CapstanError, InvalidDataError
from capstan.spec import MLSystem
from capstan.spec.evaluation import CustomMetric
from capstan.tasks import Metric, Predictions
from capstan.tasks.metric import Groups, Truth, Weights
from capstan.tasks.own_metric import own_metric
from capstan.training.factories import carry_factories, importable


@contextmanager
def own_metrics(system: MLSystem, faults: list[str]) -> Iterator[tuple[Metric, ...]]:
    """The file's own metrics that choose or gate, by the code beside the file now; usable until the block ends.

    What is wrong with one is added to `faults`; it is left out, or has no value where it fails.
    """
    spec = system.spec
    named = {spec.training.choose.metric, *(gate.metric for gate in spec.evaluation.gates)}
    written = [one for one in spec.evaluation.metrics if one.name in named]
    with tempfile.TemporaryDirectory(prefix="capstan-metrics-") as scratch:
        folder = Path(scratch) / "factories"
        try:
            if written:
                carry_factories(system, folder)
        except CapstanError as error:
            faults.append(str(error))
            written = []
        with importable(folder):
            yield tuple(_made(written, faults))


def _made(written: Sequence[CustomMetric], faults: list[str]) -> Iterator[Metric]:
    for one in written:
        try:
            yield _forgiving(own_metric(one.facts, one.custom.factory, one.custom.parameters), faults)
        except InvalidDataError as error:
            faults.append(str(error))


def _forgiving(metric: Metric, faults: list[str]) -> Metric:
    def value(
        truth: Truth,
        predictions: Predictions,
        groups: Groups | None = None,
        weights: Weights | None = None,
    ) -> float:
        try:
            return metric.value(truth, predictions, groups, weights)
        except InvalidDataError as error:
            if str(error) not in faults:
                faults.append(str(error))
            return math.nan

    return replace(metric, value=value)

"""The baseline: what the labels of training say, whatever the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from capstan.spec.families import ANOMALIES, CLUSTERS, MostFrequent
from capstan.spec.tasks import LabelKind
from capstan.training.families.family import EstimatorFamily, Fitted, Make
from capstan.training.lesson import Lesson


def _shares(settings: MostFrequent, lesson: Lesson) -> Any:  # noqa: ARG001
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _mean(settings: MostFrequent, lesson: Lesson) -> Any:  # noqa: ARG001
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(strategy="mean")


class MostFrequentFamily(EstimatorFamily[MostFrequent]):
    """Each class by its share of the rows, the mean of numbers, no row more unusual than another, or one cluster."""

    settings = MostFrequent
    makes: Mapping[LabelKind, Make[MostFrequent]] = {
        "Boolean": _shares,
        "Category": _shares,
        "Number": _mean,
        "Relevance": _mean,
    }

    def fit(self, settings: MostFrequent, lesson: Lesson) -> Fitted:
        if lesson.label in CLUSTERS:
            from capstan.training.fitted.clusters import OneCluster

            return OneCluster()
        if lesson.label in ANOMALIES:
            from capstan.training.fitted.anomalies import NothingUnusual

            return NothingUnusual()
        # It looks at no column, so it need not hold a copy of all.
        return super().fit(settings, replace(lesson, matrix=lesson.matrix[:, :1]))

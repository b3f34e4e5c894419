"""Families of models: one module each, listed here; their settings are in `capstan.spec.families`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.spec.families import (
    LEARNT_WITHOUT_LABELS,
    Bagging,
    Candidate,
    Custom,
    DecisionTree,
    Distil,
    FactorizationMachine,
    FamilySettings,
    FineTune,
    GradientBoosting,
    IsolationForest,
    KMeans,
    LambdaMart,
    LinearRegression,
    LocalOutlierFactor,
    LogisticRegression,
    MostFrequent,
    MultilayerPerceptron,
    NaiveBayes,
    NearestNeighbors,
    NeuralNetwork,
    OfClasses,
    RandomForest,
    Search,
    Stacking,
    SupportVectorMachine,
    Voting,
)
from capstan.spec.searchable import with_values
from capstan.tasks.labels import LABELS
from capstan.training.balancing import balanced, corrected
from capstan.training.families.custom import CustomFamily
from capstan.training.families.decision_tree import DecisionTreeFamily
from capstan.training.families.distil import DistilFamily
from capstan.training.families.ensembles import BaggingFamily, StackingFamily, VotingFamily
from capstan.training.families.factorization_machine import FactorizationMachineFamily
from capstan.training.families.family import Choice, Dimension, Family, Fitted, SearchSpace, Value, Values
from capstan.training.families.fine_tune import FineTuneFamily
from capstan.training.families.gradient_boosting import GradientBoostingFamily
from capstan.training.families.isolation_forest import IsolationForestFamily
from capstan.training.families.k_means import KMeansFamily
from capstan.training.families.lambda_mart import LambdaMartFamily
from capstan.training.families.linear_regression import LinearRegressionFamily
from capstan.training.families.local_outlier_factor import LocalOutlierFactorFamily
from capstan.training.families.logistic_regression import LogisticRegressionFamily
from capstan.training.families.most_frequent import MostFrequentFamily
from capstan.training.families.multilayer_perceptron import MultilayerPerceptronFamily
from capstan.training.families.naive_bayes import NaiveBayesFamily
from capstan.training.families.nearest_neighbors import NearestNeighborsFamily
from capstan.training.families.neural_network import NeuralNetworkFamily
from capstan.training.families.random_forest import RandomForestFamily
from capstan.training.families.search import SearchFamily
from capstan.training.families.support_vector_machine import SupportVectorMachineFamily
from capstan.training.lesson import Lesson

__all__ = [
    "FAMILIES",
    "Choice",
    "Dimension",
    "Family",
    "Fitted",
    "SearchSpace",
    "Value",
    "Values",
    "family_of",
    "fit_model",
    "fits_of",
    "search_space",
    "with_values",
]

FAMILIES: Mapping[type[FamilySettings], Family[Any]] = {
    MostFrequent: MostFrequentFamily(),
    LinearRegression: LinearRegressionFamily(),
    LogisticRegression: LogisticRegressionFamily(),
    NaiveBayes: NaiveBayesFamily(),
    NearestNeighbors: NearestNeighborsFamily(),
    DecisionTree: DecisionTreeFamily(),
    RandomForest: RandomForestFamily(),
    GradientBoosting: GradientBoostingFamily(),
    LambdaMart: LambdaMartFamily(),
    FactorizationMachine: FactorizationMachineFamily(),
    SupportVectorMachine: SupportVectorMachineFamily(),
    MultilayerPerceptron: MultilayerPerceptronFamily(),
    NeuralNetwork: NeuralNetworkFamily(),
    IsolationForest: IsolationForestFamily(),
    LocalOutlierFactor: LocalOutlierFactorFamily(),
    KMeans: KMeansFamily(),
    Voting: VotingFamily(),
    Bagging: BaggingFamily(),
    Stacking: StackingFamily(),
    Search: SearchFamily(),
    FineTune: FineTuneFamily(),
    Distil: DistilFamily(),
    Custom: CustomFamily(),
}
"""Settings of the grammar -> the family."""


def family_of(candidate: Candidate) -> Family[Any]:
    """The family that the candidate is of."""
    return FAMILIES[type(candidate.chosen)]


def search_space(candidate: Candidate) -> SearchSpace:
    """The settings that are told with the fitted candidate, and how they are searched."""
    return family_of(candidate).search_space(candidate.chosen)


_BALANCED_BY_OTHERS = (MostFrequent, Voting, Bagging, Stacking, Search, FineTune, Distil)
"""The first knows shares alone; the others hand their rows to candidates, each of which balances its own."""
_EFFECTIVE = 0.999
"""How much of a row of a class the next one repeats."""


def fit_model(candidate: Candidate, values: Values, lesson: Lesson) -> Fitted:
    """The candidate, fitted with these values of its search space in place of those that are written.

    The same arguments and number of threads give the same model, byte by byte. Raises InvalidDataError for a lesson
    from which the family cannot learn.
    """
    family = family_of(candidate)
    _require_usable(candidate, family, lesson)
    labels = LABELS[lesson.label].tally(lesson.truth)
    if labels.is_constant and lesson.label not in LEARNT_WITHOUT_LABELS:
        raise InvalidDataError(
            f"the {len(lesson.truth)} training rows have the labels {labels.words}; a model learns from labels that "
            "differ: train on more rows"
        )
    settings = with_values(candidate.chosen, values)
    if not isinstance(settings, _BALANCED_BY_OTHERS):
        lesson = balanced(lesson)
    fitted: Fitted = corrected(family.fit(settings, _weighed(settings, lesson)), lesson)
    return fitted


def fits_of(candidates: Iterable[Candidate]) -> Mapping[str, Callable[[Lesson], Fitted]]:
    """What an ensemble's lesson holds: what fits each of these candidates as it is written."""
    return {one.name: partial(fit_model, one, {}) for one in candidates}


def _require_usable(candidate: Candidate, family: Family[Any], lesson: Lesson) -> None:
    if lesson.label not in family.settings.learns:
        able = Candidate.able(lesson.label)
        raise InvalidDataError(
            f"{candidate.key} cannot learn labels of the kind {lesson.label}; these can: {', '.join(able) or 'none'}"
        )
    # Groups may be left aside: such a family learns how relevant each item is by itself, and the order follows.
    given = {"weights": lesson.weights, "parent": lesson.parent}
    if lesson.parent is not None and candidate.chosen.anew:
        raise InvalidDataError(
            f"{candidate.key} with `{candidate.chosen.anew}` can't go on with a fitted model; drop that setting, or "
            "train from all rows"
        )
    unused = [part for part, value in given.items() if value is not None and part not in family.uses]
    if unused:
        raise InvalidDataError(f"{candidate.key} cannot use {' and '.join(unused)}; take another family")


def _weighed(settings: FamilySettings, lesson: Lesson) -> Lesson:
    """The lesson with rows of rare classes counted more, where the settings ask for it."""
    if not isinstance(settings, OfClasses) or settings.class_weights is None:
        return lesson
    codes = np.unique(lesson.truth, return_inverse=True)[1].reshape(-1)
    weights = np.ones(len(codes)) if lesson.weights is None else lesson.weights
    of_class = np.bincount(codes, weights=weights)
    if settings.class_weights == "EffectiveNumber":
        # Cui et al. 2019, "Class-balanced loss based on effective number of samples".
        counted = weights / (1 - _EFFECTIVE ** np.bincount(codes))[codes]
        return replace(lesson, weights=counted * (weights.sum() / counted.sum()))
    return replace(lesson, weights=weights * (weights.sum() / (len(of_class) * of_class))[codes])

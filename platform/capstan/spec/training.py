"""Step 5: which models are tried, on which rows, and how one is chosen."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from capstan.spec.balance import Balance
from capstan.spec.cluster import EnvironmentVariable, NodeSelector
from capstan.spec.fairness import Reweigh
from capstan.spec.families import (
    Candidate,
    GradientBoosting,
    IsolationForest,
    KMeans,
    LinearRegression,
    LogisticRegression,
    MostFrequent,
    Tune,
)
from capstan.spec.grammar import OWN_METRIC, OwnMetric, SpecModel
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.sample import Sample
from capstan.spec.tasks import LabelKind
from capstan.spec.units import Cores, Number, PositiveDuration, Quantity, Whole

WINDOW_RULES = (
    part_rule(
        "`type: Sliding` and `duration` belong together; give both or none",
        lambda window: (window.type == "Sliding") == (window.duration is not None),
        Cel("(self.type == 'Sliding') == has(self.duration)", "training.window", "duration"),
    ),
)


class TrainingWindow(SpecModel):
    """Which past a model learns from."""

    type: Literal["Expanding", "Sliding"] = Field(
        "Expanding",
        description="Expanding: all rows of the past. Sliding: those of the last `duration`.",
        examples=["Expanding"],
    )
    duration: PositiveDuration | None = Field(
        None, description="Length of a sliding window; not for an expanding one.", examples=["90d"]
    )

    @model_validator(mode="after")
    def _length_for_sliding(self) -> TrainingWindow:
        return require(self, WINDOW_RULES)


class Choose(SpecModel):
    """How one candidate is chosen on the validation window."""

    metric: OwnMetric = Field(
        OWN_METRIC,
        description="Metric that decides; without it the task's own, for BinaryClassification rocAuc.",
        examples=["rocAuc"],
    )
    simplest_within: Number = Field(
        0.0,
        ge=0,
        description="Of all candidates within this distance of the best, the first in the list is taken.",
        examples=[0.005],
    )
    folds: Whole | None = Field(
        None,
        ge=2,
        le=20,
        description=(
            "Chooses by cross-validation: training and validation rows together are parted into so many folds, each "
            "candidate learns once for each fold and is judged on it, and the mean decides. Folds are drawn as "
            "`data.split` says. By time a fold is judged by what is older. Without it the validation rows alone decide."
        ),
        examples=[5],
    )
    baseline_alone: Literal["Refuse", "Accept"] = Field(
        "Refuse",
        description=(
            "What to do when every candidate but `mostFrequent` failed: let the run fail with their reasons, or take "
            "the baseline. Not used where the baseline wins against others, or is the only candidate."
        ),
        examples=["Accept"],
    )


class ResourceAmounts(SpecModel):
    """Processors and memory."""

    cpu: Cores | None = Field(
        None, description="Processor cores; without it the cluster decides.", examples=["500m"]
    )
    memory: Quantity | None = Field(
        None, description="Memory; without it the cluster decides.", examples=["1Gi"]
    )


class Resources(SpecModel):
    """What a process asks for and may use at most, in a cluster."""

    requests: ResourceAmounts = Field(
        default_factory=ResourceAmounts,
        description="What is reserved.",
        examples=[{"cpu": "1", "memory": "1Gi"}],
    )
    limits: ResourceAmounts = Field(
        default_factory=ResourceAmounts, description="What may be used at most.", examples=[{"memory": "2Gi"}]
    )


def usual_candidates(label: LabelKind = "Boolean") -> tuple[Candidate, ...]:
    """What is tried where the file names no candidates: a baseline, a linear model and trees, of those that can."""
    usual = (
        Candidate(name="baseline", most_frequent=MostFrequent()),
        Candidate(name="linear", linear_regression=LinearRegression()),
        Candidate(name="logistic", logistic_regression=LogisticRegression()),
        Candidate(name="trees", gradient_boosting=GradientBoosting()),
        Candidate(name="isolation", isolation_forest=IsolationForest()),
        Candidate(name="centres", k_means=KMeans(tune=Tune(trials=10))),
    )
    return tuple(candidate for candidate in usual if label in candidate.learns)


class Training(SpecModel):
    """Window, candidates and choice."""

    window: TrainingWindow = Field(
        default_factory=TrainingWindow,
        description="Which past a model learns from.",
        examples=[{"type": "Expanding"}],
    )
    candidates: tuple[Candidate, ...] = Field(
        default_factory=usual_candidates,
        min_length=1,
        max_length=100,
        description="Models that are tried, simplest first; without it a baseline, a linear model and trees, or a "
        "baseline and an isolation forest for AnomalyDetection, or a baseline and k-means, with ten numbers of "
        "clusters, for Clustering.",
        examples=[[{"name": "logistic", "logisticRegression": {"l2": 1}}]],
    )
    reweigh: Reweigh | None = Field(
        None,
        description=(
            "Gives training rows weights by group and label, so that the label does not depend on the "
            "group any more (Kamiran & Calders 2012). Without it all rows count alike. Predictions need "
            "no group."
        ),
        examples=[{"by": ["carrier"]}],
    )
    sample: Sample | None = Field(
        None,
        description=(
            "Each fit learns from at most so many rows, and at most so many choose. Those that judge are never "
            "sampled. The same seed draws the same rows. Without it all rows are taken."
        ),
        examples=[{"rows": 100_000, "method": "Stratified"}],
    )
    balance: Balance | None = Field(
        None,
        description=(
            "Makes the classes of the rows that a model learns from more alike, by imbalanced-learn. Rows that choose "
            "and judge stay as they are. Needs the extra `balance`."
        ),
        examples=[{"method": "SMOTE"}],
    )
    choose: Choose = Field(
        default_factory=Choose,
        description="How one candidate is chosen.",
        examples=[{"metric": "rocAuc", "simplestWithin": 0.005}],
    )
    fit_deadline: PositiveDuration = Field(
        timedelta(hours=12),
        description=(
            "How long a step that fits a model may take. A candidate that takes longer has failed; if the "
            "chosen one takes longer when it is refitted, the run has failed."
        ),
        examples=["12h"],
    )
    seed: Whole = Field(0, ge=0, lt=2**32, description="Seed of all randomness in training.", examples=[0])
    threads: Whole = Field(1, ge=1, le=256, description="Threads of each candidate's library.", examples=[1])
    resources: Resources = Field(
        default_factory=Resources,
        description=(
            "What a training asks for in a cluster. On one machine too, its tables take at most 0.6 of "
            "the memory that is named here (limit, else request), or half of the machine's where none is "
            "named. What does not fit is written to the disk."
        ),
        examples=[{"requests": {"cpu": "1", "memory": "1Gi"}}],
    )
    runner: Literal["Automatic", "Job", "KubeflowPipelines"] = Field(
        "Automatic",
        description=(
            "What runs a training in a cluster: Kubeflow Pipelines where the operator is told of it, else one Job. "
            "On one machine it is always a process."
        ),
        examples=["Job"],
    )
    node_selector: NodeSelector = Field(
        default_factory=dict,
        description="Labels of the nodes on which trainings may run in a cluster; not used on one machine.",
        examples=[{"kubernetes.io/arch": "amd64"}],
    )
    environment: tuple[EnvironmentVariable, ...] = Field(
        (),
        max_length=100,
        description="Variables of a training run in a cluster; not used on one machine.",
        examples=[[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]],
    )

"""Step 5: which models are tried, on which rows, and how one is chosen."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from capstan.spec.cluster import EnvironmentVariable, NodeSelector
from capstan.spec.fairness import Reweigh
from capstan.spec.grammar import OWN_METRIC, Factory, Name, OneOf, OwnMetric, SpecModel
from capstan.spec.own_code import OwnCode
from capstan.spec.rule import Cel, part_rule, require
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


class Tune(SpecModel):
    """Search of settings on the validation window."""

    trials: Whole = Field(5, ge=1, le=1000, description="How many settings are tried.", examples=[5])


class FamilySettings(SpecModel):
    """Settings of one family of models; what the family does with them is in `capstan.training.families`."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Boolean"})
    """Labels that it can learn."""
    is_baseline: ClassVar[bool] = False
    """Whether it looks at no feature, so that it is no success when it alone is left."""


class MostFrequent(FamilySettings):
    """The baseline: what the labels of training say without a feature."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Boolean", "Category", "Number", "Relevance"})
    is_baseline: ClassVar[bool] = True


class LinearRegression(FamilySettings):
    """A linear model of a number."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Number", "Relevance"})

    l2: Number = Field(1.0, ge=0, description="Strength of the penalty on squared weights.", examples=[1])


class LogisticRegression(FamilySettings):
    "A linear model of the probabilities of classes."

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Boolean", "Category"})

    l2: Number = Field(1.0, ge=0, description="Strength of the penalty on squared weights.", examples=[1])


class GradientBoosting(FamilySettings):
    """Boosted trees."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Boolean", "Category", "Number", "Relevance"})

    learning_rate: Number = Field(0.1, gt=0, le=1, description="Step of each tree.", examples=[0.1])
    iterations: Whole = Field(100, ge=1, le=10_000, description="Number of trees.", examples=[100])
    leaves: Whole = Field(31, ge=2, le=10_000, description="Most leaves of a tree.", examples=[31])
    quantile: Number | None = Field(
        None,
        gt=0,
        lt=1,
        description=(
            "For labels that are numbers: the quantile that is answered, such as 0.5 for the median, or "
            "0.9 for the value that nine of ten cases stay below. Without it the mean is answered."
        ),
        examples=[0.9],
    )
    tune: Tune | None = Field(
        None,
        description="Search learningRate, iterations and leaves; without it they are used as written.",
        examples=[{"trials": 5}],
    )


class Custom(FamilySettings, OwnCode):
    """A model of your own."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Boolean", "Category", "Number", "Relevance"})

    factory: Factory = Field(
        description=(
            "`module:name` of a function that returns a scikit-learn classifier, or a regressor where the "
            "label is a number. The module lies beside this file."
        ),
        examples=["mymodels:make"],
    )


class Candidate(OneOf):
    """One model that is tried."""

    members: ClassVar[tuple[str, ...]] = (
        "most_frequent",
        "linear_regression",
        "logistic_regression",
        "gradient_boosting",
        "custom",
    )

    name: Name = Field(description="Name of the candidate in tables and runs.", examples=["trees"])
    most_frequent: MostFrequent | None = Field(
        None,
        description=(
            "The baseline, which reads no feature. It always answers the shares of the classes in "
            "training, or the mean of the labels."
        ),
        examples=[{}],
    )
    linear_regression: LinearRegression | None = Field(
        None, description="A linear model of a number.", examples=[{"l2": 1}]
    )
    logistic_regression: LogisticRegression | None = Field(
        None, description="A linear model of the probabilities of classes.", examples=[{"l2": 1}]
    )
    gradient_boosting: GradientBoosting | None = Field(
        None, description="Boosted trees.", examples=[{"tune": {"trials": 5}}]
    )
    custom: Custom | None = Field(
        None, description="A model of your own.", examples=[{"factory": "mymodels:make"}]
    )

    @property
    def is_baseline(self) -> bool:
        """Whether it looks at no feature."""
        settings: FamilySettings = self.chosen
        return settings.is_baseline

    @property
    def learns(self) -> frozenset[LabelKind]:
        """Kinds of labels that it can learn."""
        settings: FamilySettings = self.chosen
        return settings.learns

    @classmethod
    def able(cls, label: LabelKind) -> tuple[str, ...]:
        """Families that can learn such labels, as the file names them."""
        return tuple(
            name
            for name, settings in cls.alternatives().items()
            if issubclass(settings, FamilySettings) and label in settings.learns
        )


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
        description="Models that are tried, simplest first; without it a baseline, a linear model and trees.",
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

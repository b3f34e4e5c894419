"""Step 5: the families of models that can be tried, each with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.cluster import VARIABLE_PATTERN
from capstan.spec.grammar import ColumnName, Factory, Name, OneOf, SpecModel
from capstan.spec.own_code import OwnCode
from capstan.spec.rule import UNTRIED, Cel, part_rule, require
from capstan.spec.tasks import LabelKind
from capstan.spec.units import Number, PositiveDuration, Share, Whole

CLASSES: frozenset[LabelKind] = frozenset({"Boolean", "Category"})
NUMBERS: frozenset[LabelKind] = frozenset({"Number", "Relevance"})
EVERY_LABEL: frozenset[LabelKind] = CLASSES | NUMBERS
ANOMALIES: frozenset[LabelKind] = frozenset({"Anomaly"})
CLUSTERS: frozenset[LabelKind] = frozenset({"Cluster"})
LEARNT_WITHOUT_LABELS: frozenset[LabelKind] = ANOMALIES | CLUSTERS
"""Kinds of labels that only judge: what learns such a task looks at rows alone."""


def _something(share: float) -> float:
    if share <= 0:
        raise PydanticCustomError("share", "is nothing; write a share above 0%")
    return share


def _at_most_half(share: float) -> float:
    if share > 0.5:
        raise PydanticCustomError("share", "leaves too few rows to learn from; write at most 50%")
    return share


def _leaves_units(share: float) -> float:
    if share > 0.9:
        raise PydanticCustomError("share", "leaves too little of a layer; write at most 90%")
    return share


SomeShare = Annotated[Share, AfterValidator(_something)]


class Tune(SpecModel):
    """Search of settings on the validation window."""

    trials: Whole = Field(5, ge=1, le=1000, description="How many settings are tried.", examples=[5])


class EarlyStopping(SpecModel):
    """When a model has learnt enough, by the newest rows."""

    share: Annotated[SomeShare, AfterValidator(_at_most_half)] = Field(
        0.1,
        description=(
            "Share of the training rows, the newest, that are not learnt from at first and say when to stop. All rows "
            "are learnt from afterwards, for as long."
        ),
        examples=["10%"],
    )
    patience: Whole = Field(
        10,
        ge=1,
        le=1000,
        description="After so many rounds without a smaller loss it stops: trees, or passes over the rows.",
        examples=[10],
    )


class FamilySettings(SpecModel):
    """Settings of one family of models; what the family does with them is in `capstan.training.families`."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Boolean"})
    """Labels that it can learn."""
    is_baseline: ClassVar[bool] = False
    """Whether it looks at no feature, so that it is no success when it alone is left."""
    only_for: ClassVar[Mapping[str, frozenset[LabelKind]]] = {}
    """Settings that mean something for some of these labels only; None is what they are when left out."""
    searched: ClassVar[tuple[str, ...]] = ()
    """Settings that a search changes by itself; where it looks is in `capstan.training.families`."""
    extra: ClassVar[str] = ""
    """Of the project, which brings what it learns with; empty: every installation has that."""
    goes_on: ClassVar[bool] = False
    """Whether a fitted model of it can learn further rows."""

    can_be_taught: ClassVar[bool] = True
    """Whether it can learn what another model answers in place of labels: classes by their shares of a row."""

    @property
    def anew(self) -> str:
        """The setting, as the file writes it, with which it learns from nothing only; empty: there is none."""
        return ""

    @property
    def made_of(self) -> tuple[str, ...]:
        """Names of the candidates that it is made of; none, but for an ensemble."""
        return ()

    def means_something_for(self, label: LabelKind) -> bool:
        """Whether every setting that is written does for such labels."""
        return all(label in labels or getattr(self, name) is None for name, labels in self.only_for.items())


class OfClasses(FamilySettings):
    """A family that can count the rows of rare classes more."""

    only_for: ClassVar[Mapping[str, frozenset[LabelKind]]] = {"class_weights": CLASSES}

    class_weights: Literal["Balanced", "EffectiveNumber"] | None = Field(
        None,
        description=(
            "Balanced: rows count so much that every class weighs the same. EffectiveNumber: a class of n rows weighs "
            "n (1 - 0.999) / (1 - 0.999^n) (Cui et al. 2019), so that rows of classes of some thousand rows and more "
            "count alike. Probabilities then are too high for a rare class. Without it all rows count alike."
        ),
        examples=["Balanced"],
    )


class MostFrequent(FamilySettings):
    """The baseline: what the labels of training say without a feature."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL | LEARNT_WITHOUT_LABELS
    is_baseline: ClassVar[bool] = True
    can_be_taught: ClassVar[bool] = False


LINEAR_RULES = (
    part_rule(
        "`loss: Huber` has no `l1`; drop one of the two",
        lambda line: line.loss is None or not line.l1,
        Cel(
            "!has(self.loss) || !has(self.l1) || double(self.l1) == 0.0",
            "training.candidates[].linearRegression",
            "l1",
        ),
    ),
)


class LinearRegression(FamilySettings):
    """A linear model of a number."""

    learns: ClassVar[frozenset[LabelKind]] = NUMBERS
    searched: ClassVar[tuple[str, ...]] = ("l2",)
    goes_on: ClassVar[bool] = True

    l2: Number = Field(1.0, ge=0, description="Strength of the penalty on squared weights.", examples=[1])
    l1: Number = Field(
        0.0,
        ge=0,
        description=(
            "Strength of the penalty on absolute weights, which makes weights of useless columns zero; with `l2` it is "
            "an elastic net."
        ),
        examples=[10],
    )
    loss: Literal["Huber"] | None = Field(
        None,
        description=(
            "Huber: errors beyond 1.35 times the usual ones count by their size and not by their square, so that few "
            "wild labels matter less. Without it squared errors."
        ),
        examples=["Huber"],
    )

    @property
    def anew(self) -> str:
        if self.loss is not None:
            return f"loss: {self.loss}"
        return f"l1: {self.l1:g}" if self.l1 else ""

    @model_validator(mode="after")
    def _one_way_to_fit(self) -> LinearRegression:
        return require(self, LINEAR_RULES)


class LogisticRegression(OfClasses):
    "A linear model of the probabilities of classes."

    learns: ClassVar[frozenset[LabelKind]] = CLASSES
    searched: ClassVar[tuple[str, ...]] = ("l2",)
    goes_on: ClassVar[bool] = True

    l2: Number = Field(1.0, ge=0, description="Strength of the penalty on squared weights.", examples=[1])
    l1: Number = Field(
        0.0,
        ge=0,
        description=(
            "Strength of the penalty on absolute weights, which makes weights of useless columns zero; with `l2` it is "
            "an elastic net."
        ),
        examples=[10],
    )

    @property
    def anew(self) -> str:
        return f"l1: {self.l1:g}" if self.l1 else ""


class DecisionTree(OfClasses):
    """One tree of questions."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("max_depth", "leaf_rows")

    max_depth: Whole = Field(
        6, ge=1, le=64, description="Most questions from the root to a leaf.", examples=[6]
    )
    leaf_rows: Whole = Field(
        20, ge=1, le=1_000_000, description="Fewest training rows of a leaf.", examples=[20]
    )
    pruning: Number = Field(
        0.0,
        ge=0,
        le=1,
        description="Branches that lower the impurity of all rows by less are cut off (cost-complexity pruning).",
        examples=[0.001],
    )
    tune: Tune | None = Field(
        None,
        description="Search maxDepth and leafRows; without it they are used as written.",
        examples=[{"trials": 5}],
    )


class RandomForest(OfClasses):
    """Trees of drawn rows and columns, averaged."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("max_depth", "leaf_rows", "column_share")
    goes_on: ClassVar[bool] = True

    trees: Whole = Field(100, ge=1, le=2000, description="Number of trees.", examples=[100])
    max_depth: Whole = Field(
        16, ge=1, le=64, description="Most questions from the root to a leaf.", examples=[16]
    )
    leaf_rows: Whole = Field(
        5, ge=1, le=1_000_000, description="Fewest training rows of a leaf.", examples=[5]
    )
    column_share: SomeShare = Field(
        0.33, description="Share of the columns that each question chooses from.", examples=["33%"]
    )
    row_share: SomeShare = Field(
        1.0,
        description="Rows that are drawn for a tree, with replacement, as a share of all.",
        examples=["50%"],
    )
    pruning: Number = Field(
        0.0,
        ge=0,
        le=1,
        description="Branches that lower the impurity of a tree's rows by less are cut off (cost-complexity pruning).",
        examples=[0.001],
    )
    tune: Tune | None = Field(
        None,
        description="Search maxDepth, leafRows and columnShare; without it they are used as written.",
        examples=[{"trials": 5}],
    )


BOOSTING_RULES = (
    part_rule(
        "`loss` and `quantile` say two things of what is answered; drop one of the two",
        lambda trees: trees.loss is None or trees.quantile is None,
        Cel("!has(self.loss) || !has(self.quantile)", "training.candidates[].gradientBoosting", "loss"),
    ),
)


class GradientBoosting(OfClasses):
    """Boosted trees."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("learning_rate", "iterations", "leaves")
    goes_on: ClassVar[bool] = True
    only_for: ClassVar[Mapping[str, frozenset[LabelKind]]] = {
        **OfClasses.only_for,
        "quantile": frozenset({"Number"}),
        "loss": NUMBERS,
        "focus": frozenset({"Boolean"}),
    }

    learning_rate: Number = Field(0.1, gt=0, le=1, description="Step of each tree.", examples=[0.1])
    iterations: Whole = Field(100, ge=1, le=10_000, description="Number of trees.", examples=[100])
    leaves: Whole = Field(31, ge=2, le=10_000, description="Most leaves of a tree.", examples=[31])
    leaf_rows: Whole = Field(
        20, ge=1, le=1_000_000, description="Fewest training rows of a leaf.", examples=[20]
    )
    l2: Number = Field(0.0, ge=0, description="Strength of the penalty on squared leaves.", examples=[1])
    column_share: SomeShare = Field(
        1.0, description="Share of the columns that each split chooses from.", examples=["50%"]
    )
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
    loss: Literal["Absolute", "Huber"] | None = Field(
        None,
        description=(
            "For labels that are numbers. Absolute: by the size of errors, which answers the median. Huber: by "
            "squares for the nine of ten rows with the smallest errors and by sizes for the others (Friedman 2001), so "
            "that few wild labels matter less. Without it squared errors."
        ),
        examples=["Huber"],
    )
    focus: Number | None = Field(
        None,
        gt=0,
        le=5,
        description=(
            "For labels that are true or false: the focal loss (Lin et al. 2017). A row counts by (1 - p)^focus, where "
            "p is the probability of its label, so that easy rows count less. Without it all count alike."
        ),
        examples=[2],
    )
    early_stopping: EarlyStopping | None = Field(
        None,
        description="The newest rows say after how many trees to stop; without it there are `iterations`.",
        examples=[{"share": "10%"}],
    )
    tune: Tune | None = Field(
        None,
        description="Search learningRate, iterations and leaves; without it they are used as written.",
        examples=[{"trials": 5}],
    )

    @model_validator(mode="after")
    def _one_answer(self) -> GradientBoosting:
        return require(self, BOOSTING_RULES)


class LambdaMart(FamilySettings):
    """Boosted trees that learn an order, pair by pair."""

    learns: ClassVar[frozenset[LabelKind]] = frozenset({"Relevance"})
    can_be_taught: ClassVar[bool] = False
    searched: ClassVar[tuple[str, ...]] = ("learning_rate", "iterations", "leaves")

    learning_rate: Number = Field(0.1, gt=0, le=1, description="Step of each tree.", examples=[0.1])
    iterations: Whole = Field(100, ge=1, le=10_000, description="Number of trees.", examples=[100])
    leaves: Whole = Field(31, ge=2, le=10_000, description="Most leaves of a tree.", examples=[31])
    leaf_rows: Whole = Field(
        20, ge=1, le=1_000_000, description="Fewest training rows of a leaf.", examples=[20]
    )
    l2: Number = Field(0.0, ge=0, description="Strength of the penalty on squared leaves.", examples=[1])
    depth: Whole = Field(
        30,
        ge=1,
        le=1000,
        description="Pairs count of which at least one item is among so many that stand first.",
        examples=[10],
    )
    tune: Tune | None = Field(
        None,
        description="Search learningRate, iterations and leaves; without it they are used as written.",
        examples=[{"trials": 5}],
    )


class NaiveBayes(OfClasses):
    """Each column by itself."""

    learns: ClassVar[frozenset[LabelKind]] = CLASSES
    searched: ClassVar[tuple[str, ...]] = ("smoothing",)
    goes_on: ClassVar[bool] = True

    smoothing: Number = Field(
        1e-6,
        ge=1e-12,
        le=1,
        description="Share of a column's variance that is added to its variance within each class.",
        examples=[0.01],
    )


class NearestNeighbors(FamilySettings):
    """The most similar rows of training."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("neighbors", "voting")
    can_be_taught: ClassVar[bool] = False

    neighbors: Whole = Field(25, ge=1, le=1000, description="How many rows vote.", examples=[25])
    voting: Literal["Equal", "Distance"] = Field(
        "Equal",
        description="Equal: all neighbours count alike. Distance: each counts by 1 / its distance.",
        examples=["Distance"],
    )
    rows: Whole = Field(
        20_000,
        ge=100,
        le=1_000_000,
        description=(
            "Most training rows that are kept; the model carries them. Of more, so many are taken evenly spread over "
            "time, and a warning says so."
        ),
        examples=[20_000],
    )
    tune: Tune | None = Field(
        None,
        description="Search neighbors and voting; without it they are used as written.",
        examples=[{"trials": 5}],
    )


class SupportVectorMachine(OfClasses):
    """A border with a wide margin."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("cost",)
    only_for: ClassVar[Mapping[str, frozenset[LabelKind]]] = {**OfClasses.only_for, "tolerance": NUMBERS}

    kernel: Literal["Linear", "RBF", "Polynomial"] = Field(
        "RBF",
        description=(
            "Linear: a straight border, which learns from all rows. RBF: by closeness to single rows. Polynomial: by "
            "products of up to `degree` columns."
        ),
        examples=["Linear"],
    )
    cost: Number = Field(
        1.0, gt=0, le=1_000_000, description="How much a row on the wrong side costs.", examples=[1]
    )
    gamma: Number | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="How quickly closeness falls with distance; without it 1 / number of columns.",
        examples=[0.1],
    )
    degree: Whole = Field(3, ge=2, le=6, description="With `kernel: Polynomial`.", examples=[2])
    tolerance: Number | None = Field(
        None,
        ge=0,
        le=10,
        description=(
            "For labels that are numbers: errors up to this cost nothing, in standard deviations of the label. Without "
            "it 0.1."
        ),
        examples=[0.1],
    )
    rows: Whole = Field(
        10_000,
        ge=100,
        le=100_000,
        description=(
            "Most training rows of a kernel that is not linear, whose time grows with their square. Of more, so many "
            "are taken evenly spread over time, and a warning says so."
        ),
        examples=[10_000],
    )
    tune: Tune | None = Field(
        None, description="Search cost; without it it is used as written.", examples=[{"trials": 5}]
    )


PERCEPTRON_RULES = (
    part_rule(
        "`optimizer: LBFGS` makes no passes that `earlyStopping` could count; take Adam or SGD, or drop earlyStopping",
        lambda net: net.optimizer != "LBFGS" or net.early_stopping is None,
        Cel(
            "!has(self.earlyStopping) || !has(self.optimizer) || self.optimizer != 'LBFGS'",
            "training.candidates[].multilayerPerceptron",
            "earlyStopping",
        ),
    ),
)


class MultilayerPerceptron(OfClasses):
    """A small neural network."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("learning_rate", "l2", "activation")
    goes_on: ClassVar[bool] = True

    layers: tuple[Annotated[Whole, Field(ge=1, le=10_000)], ...] = Field(
        (64, 32), min_length=1, max_length=10, description="Units of each hidden layer.", examples=[[64, 32]]
    )
    activation: Literal["ReLU", "Tanh", "Logistic"] = Field(
        "ReLU", description="Function of each hidden unit.", examples=["Tanh"]
    )
    optimizer: Literal["Adam", "SGD", "LBFGS"] = Field(
        "Adam",
        description="What finds the weights. LBFGS looks at all rows at once, which suits few rows.",
        examples=["SGD"],
    )
    learning_rate: Number = Field(
        0.005, gt=0, le=1, description="Step of Adam and SGD; not used by LBFGS.", examples=[0.001]
    )
    l2: Number = Field(
        0.0001, ge=0, le=1000, description="Strength of the penalty on squared weights.", examples=[0.0001]
    )
    batch_rows: Whole = Field(
        100, ge=1, le=1_000_000, description="Rows of each step of Adam and SGD.", examples=[200]
    )
    epochs: Whole = Field(
        40, ge=1, le=10_000, description="Passes over the rows, or steps of LBFGS.", examples=[40]
    )
    early_stopping: EarlyStopping | None = Field(
        None,
        description="The newest rows say after how many passes to stop; without it there are `epochs`.",
        examples=[{"share": "10%"}],
    )
    tune: Tune | None = Field(
        None,
        description="Search learningRate (of Adam and SGD), l2 and activation; without it they are used as written.",
        examples=[{"trials": 5}],
    )

    @property
    def anew(self) -> str:
        return "optimizer: LBFGS" if self.optimizer == "LBFGS" else ""

    @model_validator(mode="after")
    def _passes_to_count(self) -> MultilayerPerceptron:
        return require(self, PERCEPTRON_RULES)


class Embed(SpecModel):
    """Numbers that are learnt for each category."""

    dimensions: Whole | None = Field(
        None,
        ge=1,
        le=1000,
        description="Numbers of each category; without it 1.6 times the 0.56th power of how many categories there are.",
        examples=[8],
    )


class Convolve(SpecModel):
    """Layers that look at neighbouring pixels."""

    feature: ColumnName = Field(
        description="Name of the `image` feature whose pixels they look at.", examples=["picture"]
    )
    channels: tuple[Annotated[Whole, Field(ge=1, le=512)], ...] = Field(
        (16, 32),
        min_length=1,
        max_length=6,
        description="Maps that each convolution makes, one after the other.",
        examples=[[16, 32]],
    )
    kernel: Literal[1, 3, 5, 7] = Field(
        3,
        description="Pixels of each convolution's square, to a side; zeros stand beyond the border.",
        examples=[3],
    )
    pool: Whole = Field(
        2,
        ge=1,
        le=4,
        description="Of so many by so many neighbours the largest goes on, after each convolution; 1: all do.",
        examples=[2],
    )


NETWORK_RULES = (
    part_rule(
        "`momentum` is of `optimizer: Momentum` alone; write that, or drop momentum",
        lambda net: net.momentum is None or net.optimizer == "Momentum",
        Cel(
            "!has(self.momentum) || (has(self.optimizer) && self.optimizer == 'Momentum')",
            "training.candidates[].neuralNetwork",
            "momentum",
        ),
    ),
)


class NeuralNetwork(OfClasses):
    """A neural network, by PyTorch."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    extra: ClassVar[str] = "deep"
    searched: ClassVar[tuple[str, ...]] = ("learning_rate", "l2", "dropout", "activation")
    only_for: ClassVar[Mapping[str, frozenset[LabelKind]]] = {
        **OfClasses.only_for,
        "loss": NUMBERS,
        "focus": CLASSES,
        "entropy": CLASSES,
    }

    layers: tuple[Annotated[Whole, Field(ge=1, le=10_000)], ...] = Field(
        (64, 32), min_length=1, max_length=20, description="Units of each hidden layer.", examples=[[64, 32]]
    )
    activation: Literal["ReLU", "ELU", "Tanh", "Sigmoid"] = Field(
        "ReLU", description="Function of each hidden unit.", examples=["ELU"]
    )
    dropout: Annotated[Share, AfterValidator(_leaves_units)] = Field(
        0.0,
        description="Share of the hidden units that each step leaves out (Srivastava et al. 2014).",
        examples=["20%"],
    )
    embed: Embed | None = Field(
        None,
        description=(
            "Every category of `encode: Integer` without `order` becomes numbers that are learnt with the weights. "
            "A category that training did not see has the mean of the others. Without it a code is taken as a number."
        ),
        examples=[{"dimensions": 8}],
    )
    convolve: Convolve | None = Field(
        None,
        description=(
            "Convolutions look at the pixels of an image before the `layers` do; it is a convolutional network then. "
            "Other features join behind them."
        ),
        examples=[{"feature": "picture", "channels": [16, 32]}],
    )
    optimizer: Literal["SGD", "Momentum", "AdaGrad", "RMSProp", "Adam", "AdamW"] = Field(
        "Adam", description="How the weights follow the slopes of the loss.", examples=["AdamW"]
    )
    learning_rate: Number = Field(
        0.003,
        gt=0,
        le=10,
        description="Size of the first steps. SGD, Momentum and AdaGrad need larger ones than the others.",
        examples=[0.001],
    )
    momentum: Number | None = Field(
        None,
        gt=0,
        lt=1,
        description="With `optimizer: Momentum`: share of a step that the next one repeats. Without it 0.9.",
        examples=[0.9],
    )
    schedule: Literal["Constant", "Cosine", "Step"] = Field(
        "Constant",
        description=(
            "How steps shrink over the `epochs`. Cosine: to none, along a cosine. Step: to a tenth after half of the "
            "passes and to a hundredth after three quarters."
        ),
        examples=["Cosine"],
    )
    clip_norm: Number | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="Slopes whose norm is larger are shortened to it. Without it they are taken as they are.",
        examples=[1],
    )
    l1: Number = Field(
        0.0,
        ge=0,
        le=1000,
        description="Strength of the penalty on absolute weights: so many times their sum is added to the mean loss.",
        examples=[0.0001],
    )
    l2: Number = Field(
        0.0001,
        ge=0,
        le=1000,
        description=(
            "Strength of the penalty on squared weights: half of it times their sum is added to the mean loss. With "
            "AdamW each step takes learningRate times l2 of each weight away instead (Loshchilov & Hutter 2019)."
        ),
        examples=[0.0001],
    )
    entropy: Number | None = Field(
        None,
        gt=0,
        le=10,
        description=(
            "For classes: so many times the entropy of the answered probabilities is a gain, so that answers are less "
            "sure (Pereyra et al. 2017)."
        ),
        examples=[0.1],
    )
    focus: Number | None = Field(
        None,
        gt=0,
        le=5,
        description=(
            "For classes: the focal loss (Lin et al. 2017). A row counts by (1 - p)^focus, where p is the probability "
            "of its label, so that easy rows count less. Without it all count alike."
        ),
        examples=[2],
    )
    loss: Literal["Absolute", "Huber"] | None = Field(
        None,
        description=(
            "For labels that are numbers. Absolute: by the size of errors, which answers the median. Huber: by squares "
            "of errors up to 1.35 times the usual distance of a label from the median, and by sizes beyond, so that "
            "few wild labels matter less. Without it squared errors."
        ),
        examples=["Huber"],
    )
    batch_rows: Whole = Field(256, ge=1, le=1_000_000, description="Rows of each step.", examples=[256])
    epochs: Whole = Field(40, ge=1, le=10_000, description="Passes over the rows.", examples=[40])
    early_stopping: EarlyStopping | None = Field(
        None,
        description="The newest rows say after how many passes to stop; without it there are `epochs`.",
        examples=[{"share": "10%"}],
    )
    device: Literal["Automatic", "CPU"] = Field(
        "Automatic",
        description=(
            "Automatic: a GPU of CUDA where there is one, in mixed precision, and else processors. CPU: processors, "
            "where the same seed gives the same model byte for byte."
        ),
        examples=["CPU"],
    )
    processes: Whole = Field(
        1,
        ge=1,
        le=64,
        description=(
            "Processes on this machine that share the rows of each step (data parallel), each with `training.threads`. "
            "Several learn on processors."
        ),
        examples=[2],
    )
    tune: Tune | None = Field(
        None,
        description="Search learningRate, l2, dropout and activation; without it they are used as written.",
        examples=[{"trials": 5}],
    )

    @model_validator(mode="after")
    def _settings_of_others(self) -> NeuralNetwork:
        return require(self, NETWORK_RULES)


class FactorizationMachine(OfClasses):
    """A linear model with a number for every pair of columns."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("factors", "l2")

    factors: Whole = Field(
        8, ge=1, le=256, description="Numbers by which each column is known to the others.", examples=[8]
    )
    l2: Number = Field(1.0, gt=0, description="Strength of the penalty on squared weights.", examples=[1])
    iterations: Whole = Field(100, ge=1, le=10_000, description="Most steps of L-BFGS.", examples=[100])
    tune: Tune | None = Field(
        None,
        description="Search factors and l2; without it they are used as written.",
        examples=[{"trials": 5}],
    )


class IsolationForest(FamilySettings):
    """Trees of random questions, which part unusual rows from the others early."""

    learns: ClassVar[frozenset[LabelKind]] = ANOMALIES
    can_be_taught: ClassVar[bool] = False

    trees: Whole = Field(100, ge=1, le=2000, description="Number of trees.", examples=[200])
    tree_rows: Whole = Field(
        256,
        ge=2,
        le=1_000_000,
        description="Rows that are drawn for a tree; of a shorter table all.",
        examples=[512],
    )


class LocalOutlierFactor(FamilySettings):
    """How much emptier it is around a row than around its nearest neighbours."""

    learns: ClassVar[frozenset[LabelKind]] = ANOMALIES
    can_be_taught: ClassVar[bool] = False

    neighbors: Whole = Field(
        20, ge=1, le=10_000, description="How many nearest rows a row is compared with.", examples=[30]
    )
    rows: Whole = Field(
        20_000,
        ge=100,
        le=1_000_000,
        description="Most training rows that are kept, evenly over time: each answer looks through them.",
        examples=[50000],
    )


class KMeans(FamilySettings):
    """Centres of clusters, each row in the one whose centre is nearest."""

    learns: ClassVar[frozenset[LabelKind]] = CLUSTERS
    can_be_taught: ClassVar[bool] = False
    searched: ClassVar[tuple[str, ...]] = ("clusters",)

    clusters: Whole = Field(8, ge=2, le=1000, description="How many clusters.", examples=[5])
    tune: Tune | None = Field(
        None,
        description="Search how many clusters; without it so many as are written.",
        examples=[{"trials": 10}],
    )


VOTING_RULES = (
    part_rule(
        "`weights` are as many as the names in `of`; write one for each, or none",
        lambda voting: voting.weights is None or len(voting.weights) == len(voting.of),
        Cel(
            "!has(self.weights) || size(self.weights) == size(self.of)",
            "training.candidates[].voting",
            "weights",
        ),
    ),
)


class Voting(FamilySettings):
    """The mean of several candidates."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL

    of: tuple[Name, ...] = Field(
        min_length=2,
        max_length=20,
        description="Names of candidates that stand before it; each is fitted as it is written, without `tune`.",
        examples=[["logistic", "trees"]],
    )
    weights: tuple[Annotated[Number, Field(gt=0, le=1_000_000)], ...] | None = Field(
        None,
        min_length=2,
        max_length=20,
        description="How much each counts, in the order of `of`; without it all count alike.",
        examples=[[1, 2]],
    )

    @property
    def made_of(self) -> tuple[str, ...]:
        return self.of

    @model_validator(mode="after")
    def _one_weight_for_each(self) -> Voting:
        return require(self, VOTING_RULES)


class Bagging(FamilySettings):
    """The mean of one candidate that is fitted many times."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    searched: ClassVar[tuple[str, ...]] = ("row_share",)

    of: Name = Field(
        description="Name of a candidate that stands before it; it is fitted as it is written, without `tune`.",
        examples=["tree"],
    )
    members: Whole = Field(
        10, ge=2, le=200, description="How often it is fitted, each time to other drawn rows.", examples=[10]
    )
    row_share: SomeShare = Field(
        1.0,
        description="Rows that are drawn each time, with replacement, as a share of all; of rankings whole groups.",
        examples=["50%"],
    )

    @property
    def made_of(self) -> tuple[str, ...]:
        return (self.of,)


class Stacking(FamilySettings):
    """A last model that learns from what several candidates say."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL

    of: tuple[Name, ...] = Field(
        min_length=2,
        max_length=20,
        description="Names of candidates that stand before it; each is fitted as it is written, without `tune`.",
        examples=[["logistic", "trees"]],
    )
    final: Name | None = Field(
        None,
        description=(
            "Name of the candidate, before it too, that learns from their answers; without it a linear or logistic "
            "regression."
        ),
        examples=["logistic"],
    )
    folds: Whole = Field(
        5,
        ge=1,
        le=20,
        description=(
            "Parts of the rows that are answered by candidates that learnt the parts before alone. The last model "
            "learns from these answers."
        ),
        examples=[5],
    )

    @property
    def made_of(self) -> tuple[str, ...]:
        return self.of if self.final is None else (*self.of, self.final)


RANGE_RULES = (
    part_rule(
        "a range has `min` and `max`, or `choices`; write the two ends of a number, or the texts to choose from",
        lambda one: (
            (one.min is not None and one.max is not None) != (one.choices is not None)
            and (one.min is None) == (one.max is None)
        ),
        why_no_cel=UNTRIED,
    ),
    part_rule(
        "`min` is above `max`; write the smaller one first",
        lambda one: one.min is None or one.max is None or one.min <= one.max,
        why_no_cel=UNTRIED,
    ),
    part_rule(
        "`scale: Logarithmic` needs a `min` above 0; raise it, or write `scale: Linear`",
        lambda one: one.scale != "Logarithmic" or one.min is None or one.min > 0,
        why_no_cel=UNTRIED,
    ),
)


class SearchRange(SpecModel):
    """Where a search looks for one setting of one candidate."""

    of: Name = Field(description="Name of the candidate, one of the search's `of`.", examples=["trees"])
    setting: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN, max_length=63)] = Field(
        description=(
            "A setting of its family that is a number, a share or one of several texts; of `custom` a parameter. It "
            "need not be one that a search changes by itself."
        ),
        examples=["learningRate"],
    )
    min: Number | None = Field(
        None, description="Smallest value; a share as a number, such as 0.3.", examples=[0.01]
    )
    max: Number | None = Field(
        None,
        description="Largest value; with the same `min` the setting has this value in every trial.",
        examples=[0.3],
    )
    choices: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] | None = Field(
        None,
        min_length=1,
        max_length=20,
        description="For a setting that is a text: those that are tried.",
        examples=[["ReLU", "Tanh"]],
    )
    scale: Literal["Linear", "Logarithmic"] | None = Field(
        None,
        description="How values are drawn; without it Logarithmic where `max` is 10 times `min` or more.",
        examples=["Logarithmic"],
    )

    @model_validator(mode="after")
    def _two_ends_or_choices(self) -> SearchRange:
        return require(self, RANGE_RULES)


class Prune(SpecModel):
    """Which trials are ended before they have learnt from all rows."""

    rounds: Whole = Field(
        2,
        ge=1,
        le=4,
        description="How often a trial is compared before it learns from all rows.",
        examples=[2],
    )
    factor: Whole = Field(
        3,
        ge=2,
        le=10,
        description=(
            "Each round has so many times the rows of the one before. Of each candidate's trials that came to a round, "
            "the best 1 / `factor` go on."
        ),
        examples=[3],
    )


class Search(FamilySettings):
    """The best settings of several candidates."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    can_be_taught: ClassVar[bool] = False

    of: tuple[Name, ...] = Field(
        min_length=1,
        max_length=20,
        description=(
            "Names of candidates that stand before it. The first trials are these as they are written; the others "
            "change their settings. Their own `tune` is not used."
        ),
        examples=[["logistic", "trees"]],
    )
    trials: Whole = Field(
        50,
        ge=1,
        le=10_000,
        description="How many settings are tried, those that failed or were ended early included.",
        examples=[50],
    )
    time: PositiveDuration | None = Field(
        None,
        description=(
            "When it is over no trial begins, those that run are ended, and the best so far is taken. Without it 80 % "
            "of `training.fitDeadline`."
        ),
        examples=["10m"],
    )
    parallel: Whole = Field(
        1,
        ge=1,
        le=64,
        description="Trials at the same time, each a process with `training.threads`.",
        examples=[2],
    )
    prune: Prune | None = Field(
        None,
        description=(
            "A trial learns from a few rows first and goes on only if it is among the best (asynchronous successive "
            "halving, Li et al. 2020). Without it every trial learns from all rows."
        ),
        examples=[{"rounds": 2, "factor": 3}],
    )
    ranges: tuple[SearchRange, ...] = Field(
        (),
        max_length=100,
        description="Where it looks instead of each family's own ranges, and further settings that it changes.",
        examples=[[{"of": "trees", "setting": "learningRate", "min": 0.01, "max": 0.3}]],
    )

    @property
    def made_of(self) -> tuple[str, ...]:
        return self.of


class FineTune(FamilySettings):
    """The model that serves, which learns what came since."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL
    can_be_taught: ClassVar[bool] = False

    of: Name = Field(
        description=(
            "Name of a candidate that stands before it: its family and settings. Its `tune` and `earlyStopping` are "
            "not used."
        ),
        examples=["trees"],
    )
    rounds: Whole | None = Field(
        None,
        ge=1,
        le=10_000,
        description=(
            "How many more trees, or passes over the rows that came since. Without it a fifth of the trees or epochs "
            "of `of`, and 10 passes of a linear model. Not for naiveBayes, which counts each row once."
        ),
        examples=[20],
    )

    @property
    def made_of(self) -> tuple[str, ...]:
        return (self.of,)


class Distil(FamilySettings):
    """A small model that learns what a large one answers."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL

    of: Name = Field(
        description="Name of the teacher, a candidate that stands before it, fitted as written, without `tune`.",
        examples=["forest"],
    )
    into: Name = Field(
        description="Name of the student, another candidate that stands before it: its family and settings.",
        examples=["tree"],
    )
    label_share: Share = Field(
        0.0,
        description=(
            "How much of what the student learns of a row is its own label; the rest is the teacher's answer. With 0% "
            "it is the answer alone."
        ),
        examples=["20%"],
    )

    @property
    def made_of(self) -> tuple[str, ...]:
        return (self.of, self.into)


class Custom(FamilySettings, OwnCode):
    """A model of your own."""

    learns: ClassVar[frozenset[LabelKind]] = EVERY_LABEL | LEARNT_WITHOUT_LABELS

    factory: Factory = Field(
        description=(
            "`module:name` of a function that returns a scikit-learn classifier, a regressor where the "
            "label is a number, a detector with `score_samples` and `offset_` for AnomalyDetection, or a model with "
            "`transform` and `cluster_centers_` for Clustering. The module lies beside this file."
        ),
        examples=["mymodels:make"],
    )


class Candidate(OneOf):
    """One model that is tried."""

    members: ClassVar[tuple[str, ...]] = (
        "most_frequent",
        "linear_regression",
        "logistic_regression",
        "naive_bayes",
        "nearest_neighbors",
        "decision_tree",
        "random_forest",
        "gradient_boosting",
        "lambda_mart",
        "factorization_machine",
        "support_vector_machine",
        "multilayer_perceptron",
        "neural_network",
        "isolation_forest",
        "local_outlier_factor",
        "k_means",
        "voting",
        "bagging",
        "stacking",
        "search",
        "fine_tune",
        "distil",
        "custom",
    )

    name: Name = Field(description="Name of the candidate in tables and runs.", examples=["trees"])
    most_frequent: MostFrequent | None = Field(
        None,
        description=(
            "The baseline, which reads no feature. It always answers the shares of the classes in "
            "training, the mean of the labels, or that no row is unusual."
        ),
        examples=[{}],
    )
    linear_regression: LinearRegression | None = Field(
        None, description="A linear model of a number.", examples=[{"l2": 1}]
    )
    logistic_regression: LogisticRegression | None = Field(
        None, description="A linear model of the probabilities of classes.", examples=[{"l2": 1}]
    )
    naive_bayes: NaiveBayes | None = Field(
        None,
        description="Classes by each column by itself, as if columns knew nothing of each other.",
        examples=[{}],
    )
    nearest_neighbors: NearestNeighbors | None = Field(
        None, description="What the most similar rows of training had.", examples=[{"neighbors": 25}]
    )
    decision_tree: DecisionTree | None = Field(
        None, description="One tree of questions, which a person can read.", examples=[{"maxDepth": 6}]
    )
    random_forest: RandomForest | None = Field(
        None, description="Trees of drawn rows and columns, averaged.", examples=[{"trees": 100}]
    )
    gradient_boosting: GradientBoosting | None = Field(
        None, description="Boosted trees.", examples=[{"tune": {"trials": 5}}]
    )
    lambda_mart: LambdaMart | None = Field(
        None,
        description="Boosted trees that learn the order of a group's items (LambdaMART, Burges 2010).",
        examples=[{}],
    )
    factorization_machine: FactorizationMachine | None = Field(
        None,
        description="A linear model with a number for every pair of columns (Rendle 2010), for many one-hot columns.",
        examples=[{"factors": 8}],
    )
    support_vector_machine: SupportVectorMachine | None = Field(
        None, description="A border with a wide margin, straight or bent.", examples=[{"kernel": "Linear"}]
    )
    multilayer_perceptron: MultilayerPerceptron | None = Field(
        None, description="A small neural network.", examples=[{"layers": [64, 32]}]
    )
    neural_network: NeuralNetwork | None = Field(
        None,
        description=(
            "A neural network, by PyTorch: dropout, learnt numbers for categories, schedules, more optimizers and "
            "losses, several processes. Needs the extra `deep` where it is trained."
        ),
        examples=[{"layers": [128, 64], "dropout": "20%", "embed": {}}],
    )
    isolation_forest: IsolationForest | None = Field(
        None,
        description="Trees of random questions, which part unusual rows early (Liu et al. 2008). It needs no label.",
        examples=[{"trees": 200}],
    )
    local_outlier_factor: LocalOutlierFactor | None = Field(
        None,
        description=(
            "How much emptier it is around a row than around its nearest neighbours (Breunig et al. 2000). It needs no "
            "label."
        ),
        examples=[{"neighbors": 30}],
    )
    k_means: KMeans | None = Field(
        None,
        description=(
            "Centres of clusters, by scikit-learn; each row is in the cluster whose centre is nearest (Lloyd 1982). It "
            "needs no label."
        ),
        examples=[{"clusters": 5}],
    )
    voting: Voting | None = Field(
        None, description="The mean of what several candidates say.", examples=[{"of": ["logistic", "trees"]}]
    )
    bagging: Bagging | None = Field(
        None,
        description="The mean of one candidate that is fitted many times, to drawn rows (Breiman 1996).",
        examples=[{"of": "tree"}],
    )
    stacking: Stacking | None = Field(
        None,
        description="A last model that learns from what several candidates say (Wolpert 1992).",
        examples=[{"of": ["logistic", "trees"]}],
    )
    search: Search | None = Field(
        None,
        description="The best settings of several candidates, by trials on the validation rows.",
        examples=[{"of": ["logistic", "trees"], "trials": 50, "time": "10m"}],
    )
    fine_tune: FineTune | None = Field(
        None,
        description=(
            "The champion's model, which learns only the rows that came since. It is left out where there is no "
            "champion of the same features and settings, or where that one knows rows of the validation window."
        ),
        examples=[{"of": "trees", "rounds": 20}],
    )
    distil: Distil | None = Field(
        None,
        description="A small model that learns what a large one answers (Hinton et al. 2015), and is served alone.",
        examples=[{"of": "forest", "into": "tree"}],
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
    def families(cls) -> dict[str, type[FamilySettings]]:
        """Each family's key, as the file writes it, with its settings."""
        return {
            name: settings
            for name, settings in cls.alternatives().items()
            if issubclass(settings, FamilySettings)
        }

    @classmethod
    def able(cls, label: LabelKind) -> tuple[str, ...]:
        """Families that can learn such labels, as the file names them."""
        return tuple(name for name, settings in cls.families().items() if label in settings.learns)

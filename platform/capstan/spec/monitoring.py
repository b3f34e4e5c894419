"""What is watched while a version serves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from capstan.spec.cluster import RecordVolume
from capstan.spec.grammar import OWN_METRIC, OWN_NUMBER, Factory, OwnMetric, SpecModel
from capstan.spec.own_code import OwnCode
from capstan.spec.units import Flag, Number, PositiveDuration, Share, Whole

ALL_FEATURES = "all features"
"""What all features together are called where each feature is told."""


class MonitoringWindow(SpecModel):
    "Rows that are judged together."

    duration: PositiveDuration = Field(
        timedelta(days=7), description="Length of a window in event time.", examples=["7d"]
    )
    min_rows: Annotated[Whole, Field(ge=1)] = Field(
        1000, description="Windows with fewer rows are not judged.", examples=[1000]
    )


class CustomDrift(OwnCode):
    """A distance of your own."""

    factory: Factory = Field(
        description=(
            "`module:name` of a function that returns an object with `compare(reference, window)`, which "
            "gives the distance of two samples from 0 to 1. The module lies beside this file."
        ),
        examples=["mydetectors:make"],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the factory: numbers, texts and booleans.",
        examples=[{"points": 50}],
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    reads: Literal["Number", "Category"] = Field(
        description="What it compares in place of `numeric` or `categorical`: numbers, or codes of categories.",
        examples=["Number"],
    )

    @property
    def reading(self) -> Literal["numeric", "categorical"]:
        return "numeric" if self.reads == "Number" else "categorical"


class Drift(SpecModel):
    """How much inputs and predictions may move away from the training data."""

    numeric: Literal["KS", "CramerVonMises", "Wasserstein", "JensenShannon", "PSI"] = Field(
        "KS",
        description=(
            "Distance of two samples of a number: Kolmogorov-Smirnov, Cramér-von Mises, Wasserstein in standard "
            "deviations, Jensen-Shannon, or the population stability index."
        ),
        examples=["KS"],
    )
    categorical: Literal["ChiSquared", "FisherExact", "JensenShannon", "PSI"] = Field(
        "ChiSquared",
        description=(
            "Distance of two samples of a category: total variation with the chi-squared test or with Fisher's exact "
            "one, Jensen-Shannon, or the population stability index."
        ),
        examples=["ChiSquared"],
    )
    multivariate: Literal["MMD", "LSDD", "Classifier"] | None = Field(
        None,
        description=(
            "Distance of all features together, which finds what no feature shows alone: maximum mean discrepancy, "
            "least-squares density difference, or a classifier that learns to tell the window from the training data "
            "and says by which features. Without it each feature is compared alone."
        ),
        examples=["MMD"],
    )
    custom: CustomDrift | None = Field(
        None,
        description="A distance of your own, for numbers or for categories.",
        examples=[{"factory": "mydetectors:make", "reads": "Number"}],
    )
    min_effect: Annotated[Number, Field(gt=0, lt=1)] = Field(
        0.1,
        description="Distances below this never count, whatever the calibrated threshold.",
        examples=[0.1],
    )
    false_alarms_per_month: Annotated[Number, Field(gt=0, le=100)] = Field(
        0.1,
        description="How many alerts a month without drift are allowed; thresholds are calibrated to it on the "
        "training data.",
        examples=[0.1],
    )
    consecutive: Annotated[Whole, Field(ge=1, le=100)] = Field(
        2, description="Windows in a row that must drift before there is an alert.", examples=[2]
    )


if TYPE_CHECKING:
    OwnDrop = float
else:
    OwnDrop = Annotated[Number, Field(gt=0)] | None


class Quality(SpecModel):
    """How much online quality may fall."""

    metric: OwnMetric = Field(
        OWN_METRIC,
        description="Metric of labelled windows; without it the task's own, for BinaryClassification rocAuc.",
        examples=["rocAuc"],
    )
    max_drop: OwnDrop = Field(
        OWN_NUMBER,
        description=(
            "How much worse it may be than on the test window. Without it 0.05; for a metric in units of "
            "the label, a share of `objective.losses.maximumError`."
        ),
        examples=[0.05],
    )
    min_coverage: Share = Field(
        0.8,
        description="Least share of a window's rows that must have a label. Below it quality is not judged.",
        examples=["80%"],
    )


class Estimation(SpecModel):
    """Quality before labels come, as it probably is."""

    alert: Flag = Field(
        False,
        description=(
            "Whether an estimate that fell by more than `quality.maxDrop`, and by more than its own error, is an "
            "alert. Estimates are made and shown in any case."
        ),
        examples=[True],
    )


class Monitoring(SpecModel):
    """Windows, drift and quality."""

    window: MonitoringWindow = Field(
        default_factory=MonitoringWindow,
        description="Rows that are judged together.",
        examples=[{"duration": "7d", "minRows": 1000}],
    )
    drift: Drift = Field(
        default_factory=Drift,
        description="How much inputs and predictions may move.",
        examples=[{"minEffect": 0.1, "consecutive": 2}],
    )
    quality: Quality = Field(
        default_factory=Quality,
        description="How much online quality may fall.",
        examples=[{"metric": "rocAuc", "maxDrop": 0.05, "minCoverage": "80%"}],
    )
    estimate: Estimation = Field(
        default_factory=Estimation,
        description="What is made of quality that is estimated before labels come.",
        examples=[{"alert": True}],
    )
    volume: RecordVolume = Field(
        default_factory=RecordVolume,
        description=(
            "Where payloads, labels and the monitor's state are kept in a cluster; not used on one machine."
        ),
        examples=[{"size": "10Gi"}],
    )

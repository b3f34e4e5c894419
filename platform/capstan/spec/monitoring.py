"""What is watched while a version serves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from capstan.spec.cluster import RecordVolume
from capstan.spec.grammar import OWN_METRIC, OWN_NUMBER, Factory, OwnMetric, SpecModel
from capstan.spec.own_code import OwnCode
from capstan.spec.receivers import Receiver
from capstan.spec.slo import Slo
from capstan.spec.units import Flag, Number, PositiveDuration, Share, Whole

ALL_FEATURES = "all features"
"""What all features together are called where each feature is told."""


class MonitoringWindow(SpecModel):
    "Rows that are judged together."

    duration: PositiveDuration = Field(
        timedelta(days=7),
        description="Length of a window in event time; with `rows` the longest.",
        examples=["7d"],
    )
    rows: Annotated[Whole, Field(ge=1, le=10_000_000)] | None = Field(
        None,
        description=(
            "A window ends as soon as it has so many rows, and at the latest after `duration`, so that little traffic "
            "is judged too. Thresholds are found on stretches of as many rows. Without it windows end after `duration`."
        ),
        examples=[5000],
    )
    min_rows: Annotated[Whole, Field(ge=1)] = Field(
        1000, description="Windows with fewer rows are not judged.", examples=[1000]
    )
    every: PositiveDuration | None = Field(
        None,
        description=(
            "Time between the ends of two drift windows, so that windows overlap: `7d` of requests looked at each day "
            "with `1d`. Thresholds allow for the more looks. It divides `duration`. Quality is judged in windows that "
            "do not overlap. Without it no windows do."
        ),
        examples=["1d"],
    )

    @property
    def step(self) -> timedelta:
        """Time between the ends of two drift windows; of those by rows the longest."""
        return self.duration if self.every is None else self.every


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


class DriftSlices(SpecModel):
    """Drift in the slices of `evaluation.slices`: where it is, and whether it is an alert."""

    alert: Flag = Field(
        False,
        description=(
            "Whether a drift of one slice alone is an alert too. All slices together then take the share of one "
            "feature of `falseAlarmsPerMonth`. Without it they only say where a drift is."
        ),
        examples=[True],
    )
    min_rows: Annotated[Whole, Field(ge=20)] = Field(
        100, description="Slices with fewer rows in a window are not compared.", examples=[200]
    )
    most: Annotated[Whole, Field(ge=1, le=100)] = Field(
        20, description="So many of the largest slices are compared, over all columns.", examples=[50]
    )


_NEED_A_BACKEND = ("MMD", "LSDD")
"""Online detectors of alibi-detect that do not run on numpy."""


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
    reference: Literal["Training", "PreviousWindow", "Seasonal"] = Field(
        "Training",
        description=(
            "What a window is compared with: the training data, the window before it, or the window one "
            "`seasonLength` before it. The last two are recorded requests, and without them there is no verdict."
        ),
        examples=["Seasonal"],
    )
    season_length: PositiveDuration | None = Field(
        None,
        description=(
            "With `reference: Seasonal`, how far back the window lies: `7d` for the same hours of the week before, "
            "`364d` for the same week of the year before."
        ),
        examples=["7d"],
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
    online: tuple[Literal["CramerVonMises", "FisherExact"], ...] = Field(
        (),
        max_length=2,
        description=(
            "Detectors that look at requests and predictions as they come, beside the windows: `CramerVonMises` at "
            "numbers, `FisherExact` at the share of a category's most frequent value. alibi-detect's CVMDriftOnline "
            "and FETDriftOnline, or the same by SciPy. They take half of the windows' share of `falseAlarmsPerMonth`. "
            "Without it drift is looked for in windows alone."
        ),
        examples=[["CramerVonMises", "FisherExact"]],
    )
    slices: DriftSlices = Field(
        default_factory=DriftSlices,
        description="Drift in each slice of `evaluation.slices` that requests carry.",
        examples=[{"alert": True, "minRows": 200}],
    )

    @field_validator("online", mode="before")
    @classmethod
    def _runs_without_a_backend(cls, written: object) -> object:
        for word in written if isinstance(written, list | tuple) else ():
            if word in _NEED_A_BACKEND:
                raise PydanticCustomError(
                    "online_detector",
                    "{word} looks at all features together, and alibi-detect runs it on PyTorch or TensorFlow alone, "
                    "which a monitor does not have; write online: [CramerVonMises, FisherExact], or "
                    "multivariate: {word} to compare windows",
                    {"word": word},
                )
        return written

    @field_validator("online")
    @classmethod
    def _names_each_once(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(named)) < len(named):
            raise PydanticCustomError(
                "online_detector", "{word} stands twice; write each detector once", {"word": named[0]}
            )
        return named


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
    concept: Literal["ADWIN", "PageHinkley", "DDM"] | None = Field(
        None,
        description=(
            "Detector of concept drift by river on the losses of labelled rows, which also finds a small rise that "
            "lasts: ADWIN, Page-Hinkley, or DDM for classes. It takes half of the quality alert's share of "
            "`drift.falseAlarmsPerMonth`. Without it each window is judged alone."
        ),
        examples=["PageHinkley"],
    )


class Estimation(SpecModel):
    """Quality before labels come, as it probably is."""

    enabled: Flag = Field(
        True,
        description=(
            "Whether estimates are made at all. Without them a training fits nothing for them, and windows are "
            "measured a little sooner."
        ),
        examples=[False],
    )
    alert: Flag = Field(
        False,
        description=(
            "Whether an estimate that fell by more than `quality.maxDrop`, and by more than its own error, is an "
            "alert. Estimates are made and shown without it too."
        ),
        examples=[True],
    )


class Monitoring(SpecModel):
    """Windows, drift, quality and promises to users."""

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

    @property
    def reference_lag(self) -> timedelta | None:
        """How long before a window that lies with which it is compared; None: it is compared with training data."""
        if self.drift.reference == "PreviousWindow":
            return self.window.duration
        return self.drift.season_length

    slos: tuple[Slo, ...] = Field(
        (),
        max_length=20,
        description=(
            "Promises to users, each with the share of it that may fail; alerts tell when that budget is spent too "
            "fast."
        ),
        examples=[[{"name": "answered", "availability": {"objective": "99.9%"}}]],
    )
    receivers: tuple[Receiver, ...] = Field(
        (),
        max_length=20,
        description="People and programs that are told of alerts, besides the loop.",
        examples=[
            [{"name": "team", "slack": {"urlFrom": {"secretKeyRef": {"name": "slack", "key": "url"}}}}]
        ],
    )
    volume: RecordVolume = Field(
        default_factory=RecordVolume,
        description=(
            "Where payloads, labels and the monitor's state are kept in a cluster; not used on one machine."
        ),
        examples=[{"size": "10Gi"}],
    )

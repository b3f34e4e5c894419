"""Step 6: what a new model must show on the test window before it meets users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from capstan.spec.fairness import Fairness
from capstan.spec.gates import Gate
from capstan.spec.grammar import ColumnName, Factory, OwnMetricName, SpecModel, Text
from capstan.spec.location import Location
from capstan.spec.online import OnlineMetric
from capstan.spec.own_code import OwnCode
from capstan.spec.tasks import MetricFacts


class MetricCode(OwnCode):
    """What measures it."""

    factory: Factory = Field(
        description=(
            "`module:name` of a function that returns the metric: a function of the labels and the "
            "predictions of some rows that gives one number. The module lies beside this file."
        ),
        examples=["mymetrics:cost"],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the factory: numbers, texts and booleans.",
        examples=[{"miss": 10}],
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class CustomMetric(SpecModel):
    """A metric of your own."""

    name: OwnMetricName = Field(
        description="Name of the metric in this file, in tables and in runs; not that of a metric of the task.",
        examples=["cost"],
    )
    title: Text | None = Field(
        None,
        description="Title that people read; without it the name is shown.",
        examples=["cost of a flight, $"],
    )
    better: Literal["Lower", "Higher"] = Field(
        description="Whether lower or higher values are better.", examples=["Lower"]
    )
    custom: MetricCode = Field(
        description="What measures it.",
        examples=[{"factory": "mymetrics:cost", "parameters": {"miss": 10}}],
    )

    @property
    def facts(self) -> MetricFacts:
        """What the other metrics' facts say of them; nothing smaller than a window has a loss by it."""
        return MetricFacts(self.name, self.title or self.name, self.better, "window")


class Evaluation(SpecModel):
    """Metrics of your own, online metrics, slices, gates and fairness."""

    metrics: tuple[CustomMetric, ...] = Field(
        (),
        max_length=20,
        description=(
            "Metrics of your own, measured beside those of the task whenever a model is trained. "
            "`training.choose.metric` and gates may name them."
        ),
        examples=[[{"name": "cost", "better": "Lower", "custom": {"factory": "mymetrics:cost"}}]],
    )
    online: tuple[OnlineMetric, ...] = Field(
        (),
        max_length=20,
        description=(
            "What users do after an answer, measured for each version from events that are posted to `/events`; "
            "experiments may name them."
        ),
        examples=[
            [{"name": "revenue", "event": "purchase", "aggregate": "Sum", "window": "7d", "better": "Higher"}]
        ],
    )
    slices: tuple[ColumnName, ...] = Field(
        (),
        max_length=100,
        description="Columns. The metrics are also reported for each of their values.",
        examples=[["carrier", "origin"]],
    )
    gates: tuple[Gate, ...] = Field(
        (),
        max_length=100,
        description=(
            "Comparisons and bounds that a trained version must pass before its rollout begins. Missing "
            "evidence never passes. Without gates the rollout alone decides."
        ),
        examples=[[{"metric": "rocAuc", "against": "Champion", "margin": 0.005, "confidence": 0.95}]],
    )
    fairness: tuple[Fairness, ...] = Field(
        (),
        max_length=20,
        description=(
            "Gates of fairness, by fairlearn: groups must be answered alike before the rollout begins. Needs the extra "
            "`fair`."
        ),
        examples=[[{"by": ["carrier"], "metric": "DemographicParity", "maxDifference": 0.1}]],
    )
    explanations: bool = Field(
        True,
        description=(
            "Whether every training tells which columns matter to its model, what they contribute, and by a learning "
            "curve whether it over- or underfits. It changes no decision, and `/explain` does not depend on it."
        ),
        examples=[False],
    )

    def groupings(self) -> Iterator[tuple[Location, str]]:
        """The columns by whose values anything is reported or judged, and where in `evaluation` each stands."""
        for index, column in enumerate(self.slices):
            yield ("slices", index), column
        for index, gate in enumerate(self.gates):
            for at, column in enumerate(gate.slices):
                yield ("gates", index, "slices", at), column
        for index, fairness in enumerate(self.fairness):
            for at, column in enumerate(fairness.by):
                yield ("fairness", index, "by", at), column

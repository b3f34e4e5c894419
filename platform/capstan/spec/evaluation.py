"""Step 6: what a new model must show on the test window before it meets users."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from capstan.spec.grammar import ColumnName, MetricName, SpecModel
from capstan.spec.units import Number


class Gate(SpecModel):
    """One comparison that must be passed."""

    metric: MetricName = Field(description="Metric on the test window.", examples=["rocAuc"])
    against: Literal["Champion"] = Field(
        "Champion",
        description="With what it is compared: the version that serves. A first version passes.",
        examples=["Champion"],
    )
    decide: Literal["NotWorse", "UnlessWorse"] = Field(
        "NotWorse",
        description=(
            "Who carries the burden of proof. NotWorse: shown to be worse by less than `margin`. UnlessWorse: "
            "not shown to be worse by more than `margin`; for a champion that is under alert, where the rollout "
            "judges again."
        ),
        examples=["UnlessWorse"],
    )
    margin: Number = Field(
        0.0,
        ge=0,
        description="How much worse it may be.",
        examples=[0.005],
    )
    confidence: Number = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="Confidence of the one-sided bound of the difference.",
        examples=[0.95],
    )


class Evaluation(SpecModel):
    """Slices and gates."""

    slices: tuple[ColumnName, ...] = Field(
        (),
        max_length=100,
        description="Columns by whose values the metrics are also reported.",
        examples=[["carrier", "origin"]],
    )
    gates: tuple[Gate, ...] = Field(
        (),
        max_length=100,
        description="Comparisons that must be passed before the rollout begins; without any the rollout alone decides.",
        examples=[[{"metric": "rocAuc", "against": "Champion", "margin": 0.005, "confidence": 0.95}]],
    )

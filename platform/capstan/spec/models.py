"""Step 4, where one model is not enough: what each model learns, and how their answers become one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from capstan.spec.combination import RuleName
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.grammar import ColumnName, Name, SpecModel
from capstan.spec.units import Number, Whole

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

MOST_MODELS = 20


class Model(SpecModel):
    """One of several models: its inputs and what it says."""

    name: Name = Field(
        description="Name of the model in runs, answers and payloads.", examples=["departure-late"]
    )
    target: ColumnName | None = Field(
        None,
        description="Column of this model's own label; without it that of the system, `objective.target`.",
        examples=["departed_late"],
    )
    features: tuple[ColumnName, ...] | None = Field(
        None,
        min_length=1,
        max_length=5000,
        description="Names of the `features` that it reads; without it all.",
        examples=[["distance", "dep_hour"]],
    )
    candidates: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Names of the `training.candidates` that are tried for it; without it all.",
        examples=[["logistic", "trees"]],
    )
    weight: Number | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="How much its answer counts beside the others', with `combine: {rule: Weighted}`.",
        examples=[2],
    )


class Combine(SpecModel):
    """What the system answers, given what its models say."""

    rule: RuleName = Field(
        description=(
            "Any: the largest probability, so that the answer is true when that of any model is. All: the "
            "smallest probability, so that the answer is true when that of every model is. Max, Mean: the "
            "largest number or probability, or the mean. Weighted: the mean by `weight`. Sequence, for "
            "rankings: the first model chooses its best `keep` items of a request, the second puts them "
            "in order, and the other items follow in the order of the first."
        ),
        examples=["Any"],
    )
    keep: Whole | None = Field(
        None,
        ge=1,
        le=1000,
        description="With `Sequence`: how many items of a request go on to the second model.",
        examples=[20],
    )


@dataclass(frozen=True)
class PlannedModel:
    """One model that a training fits, with all that the file says of it."""

    name: str
    """Empty where the system has one model."""
    target: str
    """Column of its label."""
    features: tuple[Feature, ...]
    candidates: tuple[Candidate, ...]

    def fit_name(self, candidate: Candidate) -> str:
        """What the candidate is called in runs and tables: two models may try one of the same name."""
        return f"{self.name}/{candidate.name}" if self.name else candidate.name

    @property
    def fit_names(self) -> tuple[str, ...]:
        return tuple(self.fit_name(candidate) for candidate in self.candidates)


def planned_models(spec: MLSystemSpec) -> Iterator[PlannedModel]:
    """The models of a file in its order; the only one of a file without `models` has no name.

    Raises KeyError for a name that stands nowhere, which the rules refuse.
    """
    features = {feature.name: feature for feature in spec.features}
    candidates = {candidate.name: candidate for candidate in spec.training.candidates}
    target = spec.data.label.column
    if not spec.models:
        yield PlannedModel("", target, spec.features, spec.training.candidates)
    for model in spec.models:
        yield PlannedModel(
            model.name,
            model.target or target,
            tuple(features[name] for name in model.features or features),
            tuple(candidates[name] for name in model.candidates or candidates),
        )

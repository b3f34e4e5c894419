"""Which rows of many a model learns from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from capstan.spec.finding import UNKNOWN
from capstan.spec.grammar import ColumnName, SpecModel
from capstan.spec.rule import JOINED_LISTS, UNTRIED, Breach, Cel, part_rule, require, rule
from capstan.spec.tasks import TASK_FACTS
from capstan.spec.units import Whole

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

_BY = ("Stratified", "Importance", "Snowball")
SAMPLE_RULES = (
    part_rule(
        "Importance draws by a column of numbers and Snowball by the names that edges join; name the column in by",
        lambda sample: sample.method not in ("Importance", "Snowball") or sample.by is not None,
        Cel("!(self.method in ['Importance', 'Snowball']) || has(self.by)", "training.sample", "by"),
    ),
    part_rule(
        "by is of Stratified, Importance and Snowball; drop it",
        lambda sample: sample.by is None or sample.method in _BY,
        Cel(
            "!has(self.by) || self.method in ['Stratified', 'Importance', 'Snowball']",
            "training.sample",
            "by",
        ),
    ),
    part_rule(
        "edge and Snowball belong together; give both or none",
        lambda sample: (sample.edge is not None) == (sample.method == "Snowball"),
        Cel("has(self.edge) == (self.method == 'Snowball')", "training.sample", "edge"),
    ),
)


class Sample(SpecModel):
    """At most so many rows for each fit, and how they are drawn."""

    rows: Whole = Field(ge=2, description="At most so many rows are drawn.", examples=[100_000])
    method: Literal["Newest", "Random", "Stratified", "Reservoir", "Importance", "Snowball"] = Field(
        "Random",
        description=(
            "Newest: the last ones, a sample of convenience. Random: all alike. Stratified: with the same shares of "
            "the classes, or of the values of `by`. Reservoir: all alike, in one pass. Importance: in proportion to "
            "the numbers of `by`, and each row weighs the more the less likely it was drawn. Snowball: from rows drawn "
            "at random along the edges from `by` to `edge`."
        ),
        examples=["Stratified"],
    )
    by: ColumnName | None = Field(
        None,
        description=(
            "Stratified: column of the strata; without it the classes of the label. Importance: column of numbers "
            "above 0. Snowball: column with the name of each row's node."
        ),
        examples=["region"],
    )
    edge: ColumnName | None = Field(
        None,
        description="Snowball: column with the name of the node that the row leads to.",
        examples=["invited_by"],
    )
    starts: Whole = Field(
        10, ge=1, description="Snowball: so many nodes are drawn to begin with; not used else.", examples=[10]
    )

    @model_validator(mode="after")
    def _fits_its_method(self) -> Sample:
        return require(self, SAMPLE_RULES)


@rule(
    "draws rows by a time, or by classes, or one by one, and the file has none or keeps groups together; write another "
    "method, or drop it",
    why_no_cel=UNTRIED,
)
def a_sample_is_of_what_is_there(spec: MLSystemSpec) -> Iterator[Breach]:
    sample = spec.training.sample
    if sample is None or spec.objective.target == UNKNOWN:
        return
    place, facts = ("spec", "training", "sample"), TASK_FACTS[spec.objective.task]
    if spec.data.keys.group is not None:
        yield Breach(place, message="draws rows one by one, and data.keys.group keeps them together; drop it")
    if sample.method == "Newest" and spec.data.keys.time is None:
        message = "'Newest' needs data.keys.time; name the column, or write Random"
        yield Breach((*place, "method"), message=message)
    if sample.method == "Stratified" and sample.by is None and facts.label not in ("Boolean", "Category"):
        message = f"'Stratified' needs strata, and {facts.name} has no classes; name a column in by, or write Random"
        yield Breach((*place, "method"), message=message)


@rule(
    "gives rows weights, which training.balance and `encode: Target` do not count; drop one of the two",
    why_no_cel=JOINED_LISTS,
)
def weights_of_a_sample_are_counted(spec: MLSystemSpec) -> Iterator[Breach]:
    sample, place = spec.training.sample, ("spec", "training", "sample", "method")
    if sample is None or sample.method != "Importance":
        return
    if spec.training.balance is not None:
        message = (
            "'Importance' gives rows weights, which training.balance does not count; drop one of the two"
        )
        yield Breach(place, message=message)
    for feature in spec.features:
        if feature.categorical is not None and feature.categorical.encode == "Target":
            message = (
                "'Importance' gives rows weights, which `encode: Target` does not count (feature "
                f"{feature.name!r}); take another method or another `encode`"
            )
            yield Breach(place, message=message)


RULES = (a_sample_is_of_what_is_there, weights_of_a_sample_are_counted)

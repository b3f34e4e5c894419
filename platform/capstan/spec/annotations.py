"""Labels that several people gave by hand, and how they become one label for each item."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from capstan.spec.grammar import ColumnName, SpecModel, Text
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.units import Number, Whole

ANNOTATORS, AGREEMENT = "annotators", "agreement"
"""Columns that the table gets beside item and label."""
_PATH = "data.sources[].annotations"


ANNOTATION_RULES = (
    part_rule(
        "item, annotator and label are three columns; name three different ones",
        lambda one: len({one.item, one.annotator, one.label}) == 3,
        Cel("self.item != self.annotator && self.item != self.label && self.annotator != self.label", _PATH),
    ),
    part_rule(
        "annotators and agreement are columns that the table gets; rename the item's or the label's in the file",
        lambda one: not {one.item, one.label} & {ANNOTATORS, AGREEMENT},
        Cel(
            f"!(self.item in ['{ANNOTATORS}', '{AGREEMENT}']) && !(self.label in ['{ANNOTATORS}', '{AGREEMENT}'])",
            _PATH,
        ),
    ),
    part_rule(
        "trust and decide: Trusted belong together; write both, the most trusted annotator first, or neither",
        lambda one: (one.decide == "Trusted") == bool(one.trust),
        Cel("(self.decide == 'Trusted') == (has(self.trust) && size(self.trust) > 0)", _PATH, "trust"),
    ),
)


class Annotations(SpecModel):
    """A table in which each row is what one annotator said of one item."""

    item: ColumnName = Field(description="Column that says what was labelled.", examples=["comment_id"])
    annotator: ColumnName = Field(description="Column that says who labelled it.", examples=["who"])
    label: ColumnName = Field(
        description="Column with the label; empty where the annotator did not decide.", examples=["toxic"]
    )
    decide: Literal["Majority", "Unanimous", "Trusted"] = Field(
        "Majority",
        description=(
            "Which label an item gets. Majority: the one that most annotators gave. Unanimous: the one that all gave. "
            "Trusted: that of the first annotator of `trust` who gave one. Where there is none, as in a tie, the item "
            "has no label, and nothing is learnt from it."
        ),
        examples=["Unanimous"],
    )
    trust: tuple[Text, ...] = Field(
        (),
        max_length=1000,
        description="With `decide: Trusted` the annotators whose labels are taken, the most trusted first.",
        examples=[["anna", "ben"]],
    )
    min_annotators: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        1,
        description="An item that fewer annotators have labelled has no label.",
        examples=[2],
    )
    scale: Literal["Nominal", "Ordinal", "Interval"] = Field(
        "Nominal",
        description=(
            "What a difference between two labels is. Nominal: labels are equal or not. Ordinal: numbers in an order. "
            "Interval: numbers whose distance counts. It decides how agreement is measured."
        ),
        examples=["Ordinal"],
    )
    min_agreement: Annotated[Number, Field(ge=-1, le=1)] | None = Field(
        None,
        description=(
            "A training is refused where Krippendorff's alpha of the annotators is smaller or not known. 1 is perfect "
            "agreement, 0 that of chance. Without it alpha is only told."
        ),
        examples=[0.67],
    )

    @model_validator(mode="after")
    def _consistent(self) -> Annotations:
        return require(self, ANNOTATION_RULES)

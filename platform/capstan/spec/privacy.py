"""What becomes of columns that tell of persons, before anything of them is learnt from, stored or told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from capstan.spec.finding import UNKNOWN
from capstan.spec.grammar import ColumnName, OneOf, SpecModel
from capstan.spec.location import Location
from capstan.spec.rule import JOINED_LISTS, UNTRIED, Breach, Cel, part_rule, require, rule
from capstan.spec.secrets import ValueFrom
from capstan.spec.units import CellText, Number, Whole

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

OTHER = "other"
"""Parent of all values that the file gives no parent."""


class Pseudonymise(SpecModel):
    """The value's keyed hash (HMAC-SHA256) stands for it: the same value has the same one."""

    key_from: ValueFrom = Field(
        description=(
            "Secret with the key. Each of its lines is a number and a key of 16 characters or more, such as "
            "`2 WpVZ…`; one line with a key alone is key 1. The largest number is the current key, and each pseudonym "
            "begins with its number. Labels find requests by each of the keys that are there."
        ),
        examples=[{"secretKeyRef": {"name": "privacy", "key": "pseudonyms"}}],
    )


class Parent(SpecModel):
    """One value for many."""

    name: CellText = Field(description="The value that stands for all of `values`.", examples=["care"])
    values: tuple[CellText, ...] = Field(
        min_length=1, max_length=10_000, description="Values of the column.", examples=[["nurse", "doctor"]]
    )


PARENT_RULES = (
    part_rule(
        "a value stands in two lists, or is the name of another parent; write each value once, and no parent as a "
        "value of another",
        lambda made: _is_one_step(made.parents or ()),
        why_no_cel=JOINED_LISTS,
    ),
)


def _is_one_step(parents: tuple[Parent, ...]) -> bool:
    values = [value for parent in parents for value in parent.values]
    names = {parent.name for parent in parents}
    crossed = any(value in names and value != parent.name for parent in parents for value in parent.values)
    return (
        len({*values}) == len(values) and len(names) == len(parents) and not crossed and OTHER not in values
    )


class Generalise(OneOf):
    """A coarser value stands for the value."""

    members: ClassVar[tuple[str, ...]] = ("width", "date", "prefix", "parents")

    width: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        description="A number becomes the lower end of its band of this width: with 10, 37 becomes 30.",
        examples=[10],
    )
    date: Literal["Year", "Quarter", "Month", "Day"] | None = Field(
        None,
        description=(
            "A day or moment becomes the beginning of its year, quarter, month or day, in `data.timeZone`."
        ),
        examples=["Month"],
    )
    prefix: Annotated[Whole, Field(ge=1, le=1000)] | None = Field(
        None,
        description="A text becomes its first characters, so many: with 3, 80331 becomes 803.",
        examples=[3],
    )
    parents: Annotated[tuple[Parent, ...], Field(min_length=1, max_length=1000)] | None = Field(
        None,
        description=f"A value becomes its parent. Values that are in no list become `{OTHER}`.",
        examples=[[{"name": "care", "values": ["nurse", "doctor"]}]],
    )

    @model_validator(mode="after")
    def _one_step(self) -> Generalise:
        return require(self, PARENT_RULES)


class Mask(SpecModel):
    """`***` stands for what is not kept of the value."""

    keep: Annotated[Whole, Field(ge=0, le=1000)] = Field(
        0,
        description="So many characters at the beginning stay. A value that is not longer is hidden whole.",
        examples=[2],
    )


class DropColumn(SpecModel):
    """The column is never read of a table, and is taken off each request."""


class PrivateColumn(OneOf):
    """One marked column: its raw values are never stored or told."""

    members: ClassVar[tuple[str, ...]] = ("pseudonymise", "generalise", "mask", "drop")

    name: ColumnName = Field(description="Column of the query's result, and of requests.", examples=["email"])
    pseudonymise: Pseudonymise | None = Field(
        None,
        description="A keyed hash stands for the value. Rows of one person still belong together.",
        examples=[{"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "pseudonyms"}}}],
    )
    generalise: Generalise | None = Field(
        None, description="A coarser value stands for the value.", examples=[{"width": 10}]
    )
    mask: Mask | None = Field(
        None, description="The beginning of the value and `***` stand for it.", examples=[{"keep": 2}]
    )
    drop: DropColumn | None = Field(
        None, description="The column is left out of tables and requests.", examples=[{}]
    )

    @property
    def becomes_text(self) -> bool:
        """Whether what stands for a value is no number and no moment."""
        made = self.generalise
        return self.drop is None and (made is None or made.prefix is not None or made.parents is not None)


ANONYMITY_RULES = (
    part_rule(
        "`l` counts different values of `sensitive` columns; name them, or drop `l`",
        lambda asked: asked.l is None or bool(asked.sensitive),
        Cel(
            "!has(self.l) || (has(self.sensitive) && size(self.sensitive) > 0)",
            "data.privacy.anonymity",
            "l",
        ),
    ),
    part_rule(
        "a column stands in `by` and in `sensitive`; who knows it needs no group to find it out: keep one",
        lambda asked: not {*asked.by} & {*asked.sensitive},
        why_no_cel=JOINED_LISTS,
    ),
)


class Anonymity(SpecModel):
    """How many rows are alike in what others may know of a person."""

    by: tuple[ColumnName, ...] = Field(
        min_length=1,
        max_length=50,
        description=(
            "Quasi-identifiers: columns of the query's result that somebody may know of a person from elsewhere. Rows "
            "are alike if all of them are equal, as data.privacy.columns leave them; a missing value is one of its own."
        ),
        examples=[["age", "zip"]],
    )
    k: Annotated[Whole, Field(ge=2, le=1_000_000)] | None = Field(
        None,
        description=(
            "Each row must have so many alike (k-anonymity, Sweeney 2002), itself included, or no model learns from "
            "the table. Without it the run only tells how many they are."
        ),
        examples=[5],
    )
    sensitive: tuple[ColumnName, ...] = Field(
        (),
        max_length=50,
        description=(
            "Columns that nobody should find out of a person. The run tells how many different values rows that are "
            "alike have; the label may be one."
        ),
        examples=[["diagnosis"]],
    )
    l: Annotated[Whole, Field(ge=2, le=1_000_000)] | None = Field(  # noqa: E741 — l-diversity is its name
        None,
        description=(
            "Distinct l-diversity (Machanavajjhala et al. 2007): rows that are alike must have so many different "
            "values in each sensitive column, or no model learns from the table. A missing value is none."
        ),
        examples=[2],
    )

    @model_validator(mode="after")
    def _sensible(self) -> Anonymity:
        return require(self, ANONYMITY_RULES)


class Privacy(SpecModel):
    """Columns that tell of persons."""

    columns: tuple[PrivateColumn, ...] = Field(
        (),
        max_length=1000,
        description=(
            "Marked columns, each with what becomes of its values. It is done to tables as they are read and to "
            "requests as they come, so that models, checks, slices and stored payloads know what stands for a value, "
            "and never the value."
        ),
        examples=[[{"name": "age", "generalise": {"width": 10}}, {"name": "ssn", "drop": {}}]],
    )

    anonymity: Anonymity | None = Field(
        None,
        description=(
            "Whether a person can be singled out among the rows that a model learns from. Without it nobody looks."
        ),
        examples=[{"by": ["age", "zip"], "k": 5}],
    )

    @property
    def judged(self) -> tuple[str, ...]:
        """Columns by which rows are alike, or which nobody should find out."""
        return () if self.anonymity is None else (*self.anonymity.by, *self.anonymity.sensitive)

    @property
    def dropped(self) -> frozenset[str]:
        """Columns that are left out."""
        return frozenset(column.name for column in self.columns if column.drop is not None)

    @property
    def secrets(self) -> tuple[ValueFrom, ...]:
        """Where the keys of pseudonyms are."""
        return tuple(one.pseudonymise.key_from for one in self.columns if one.pseudonymise is not None)


def _marked(spec: MLSystemSpec) -> dict[str, tuple[int, PrivateColumn]]:
    return {column.name: (index, column) for index, column in enumerate(spec.data.privacy.columns)}


def _judged(spec: MLSystemSpec) -> Iterator[tuple[Location, str]]:
    asked = spec.data.privacy.anonymity
    for field, columns in () if asked is None else (("by", asked.by), ("sensitive", asked.sensitive)):
        for at, column in enumerate(columns):
            yield ("spec", "data", "privacy", "anonymity", field, at), column


def _at(index: int, *rest: Any) -> tuple[Any, ...]:
    return ("spec", "data", "privacy", "columns", index, *rest)


@rule(
    "is the label or a moment, of which Capstan needs the value itself; drop it from data.privacy, and treat it in "
    "data.query",
    why_no_cel=JOINED_LISTS,
)
def no_label_and_no_moment_is_marked(spec: MLSystemSpec) -> Iterator[Breach]:
    data = spec.data
    kept = {*spec.targets, data.label.column, data.label.available_at, data.keys.time} - {None, UNKNOWN}
    for name, (index, _) in _marked(spec).items():
        if name in kept:
            yield Breach(_at(index, "name"), name)


@rule(
    "is a key, which must go on telling cases or users apart; write pseudonymise, or drop it from data.keys",
    why_no_cel=JOINED_LISTS,
)
def keys_are_pseudonymised_or_unmarked(spec: MLSystemSpec) -> Iterator[Breach]:
    keys = spec.data.keys
    for name, (index, column) in _marked(spec).items():
        if name in (keys.id, keys.sticky_by, keys.group) and column.pseudonymise is None:
            yield Breach(_at(index, column.key), name)


@rule(
    "is dropped by data.privacy; name another column, or write generalise, mask or pseudonymise there",
    why_no_cel=JOINED_LISTS,
)
def nothing_reads_a_dropped_column(spec: MLSystemSpec) -> Iterator[Breach]:
    dropped = spec.data.privacy.dropped
    named: list[tuple[Location, str]] = [
        (("spec", "features", at, "name"), feature.column) for at, feature in enumerate(spec.features)
    ]
    named += [
        (("spec", "data", "checks", at, "column"), check.column) for at, check in enumerate(spec.data.checks)
    ]
    for place, column in (*named, *spec.groupings(), *_judged(spec)):
        if column in dropped:
            yield Breach(place, column)


@rule(
    "is a column of data.events, by whose raw values events are found and counted; drop it from data.privacy, or name "
    "another column there",
    why_no_cel=JOINED_LISTS,
)
def columns_of_events_are_unmarked(spec: MLSystemSpec) -> Iterator[Breach]:
    read = {
        name
        for one in spec.data.events
        for name in (one.entity, *(column for made in one.aggregates for column in (made.name, made.column)))
    }
    for name, (index, _) in _marked(spec).items():
        if name in read:
            yield Breach(_at(index, "name"), name)


@rule(
    "is pseudonymised or masked, so that a slice of it is one person or says nothing; name another column, or write "
    "generalise in data.privacy",
    why_no_cel=JOINED_LISTS,
)
def slices_are_of_many_persons(spec: MLSystemSpec) -> Iterator[Breach]:
    marked = _marked(spec)
    for place, column in spec.groupings():
        found = marked.get(column, (0, None))[1]
        if found is None or (place[1] == "data" and found.mask is None):
            continue
        if found.mask is not None or found.pseudonymise is not None:
            yield Breach(place, column)


@rule(
    "becomes text by data.privacy, and is read as a number here; read it as a category, or write generalise: "
    "{width: …}",
    why_no_cel=JOINED_LISTS,
)
def what_becomes_text_is_no_number(spec: MLSystemSpec) -> Iterator[Breach]:
    texts = {name for name, (_, column) in _marked(spec).items() if column.becomes_text}
    for at, feature in enumerate(spec.features):
        if feature.column in texts and (feature.reading == "numeric" or feature.image is not None):
            yield Breach(("spec", "features", at), feature.column)
    for at, check in enumerate(spec.data.checks):
        if check.column in texts and (check.min is not None or check.max is not None):
            yield Breach(("spec", "data", "checks", at), check.column)


@rule(
    "is pseudonymised, and the lists of an interleave step are recorded with the raw key of their user; drop the step, "
    "or name another column in data.keys.stickyBy",
    why_no_cel=JOINED_LISTS,
)
def interleaved_users_are_unmarked(spec: MLSystemSpec) -> Iterator[Breach]:
    column = spec.data.keys.sticky_by
    if column in _marked(spec) and any(step.kind == "interleave" for step in spec.rollout.steps):
        yield Breach(("spec", "data", "keys", "stickyBy"), column)


@rule(
    "marks columns, and Seldon's executor logs requests behind Istio as they come, with raw values; write provider: "
    "Envoy",
    why_no_cel=UNTRIED,
)
def marked_columns_have_no_other_log(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.data.privacy.columns and spec.serving.traffic.provider == "Istio":
        yield Breach(("spec", "data", "privacy"))


@rule(
    "tells every row apart, so that no two are alike; name columns that persons have in common",
    why_no_cel=JOINED_LISTS,
)
def rows_may_be_alike(spec: MLSystemSpec) -> Iterator[Breach]:
    for place, column in _judged(spec):
        if place[4] == "by" and column == spec.data.keys.id:
            yield Breach(place, column)


RULES = (
    rows_may_be_alike,
    no_label_and_no_moment_is_marked,
    keys_are_pseudonymised_or_unmarked,
    nothing_reads_a_dropped_column,
    columns_of_events_are_unmarked,
    slices_are_of_many_persons,
    what_becomes_text_is_no_number,
    interleaved_users_are_unmarked,
    marked_columns_have_no_other_log,
)

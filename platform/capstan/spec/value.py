"""What answers are worth, right or wrong: of cases that are true or false, of numbers, and of several classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from capstan.spec.grammar import SpecModel
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.tasks import USUAL_THRESHOLD, VALUE, MetricFacts
from capstan.spec.units import Number

PLACE = "objective.value"
MOST_PAIRS = 50

Worth = Annotated[Number, Field(ge=-1e9, le=1e9)]
Cost = Annotated[Number, Field(ge=-1e9, le=0)]
ClassText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ValuedLabel = Literal["Boolean", "Number", "Category"]

WORDS: dict[str, tuple[str, ...]] = {
    "Boolean": ("truePositive", "falsePositive", "trueNegative", "falseNegative"),
    "Number": ("over", "under"),
    "Category": ("right", "wrong", "pairs"),
}
"""By kind of label: the words that say what its answers are worth."""


def written(label: str, of: str = "self") -> str:
    """CEL that holds where any of the words is written."""
    found = [
        f"has({of}.{word})" if word != "pairs" else f"(has({of}.pairs) && size({of}.pairs) > 0)"
        for word in WORDS[label]
    ]
    return f"({' || '.join(found)})"


def _or_0(word: str) -> str:
    return f"(has(self.{word}) ? self.{word} : 0.0)"


VALUE_RULES = (
    part_rule(
        "says nothing of what answers are worth, or mixes several kinds; write truePositive, falsePositive, "
        "trueNegative and falseNegative, or over and under, or right, wrong and pairs",
        lambda value: len(value.kinds) == 1,
        Cel(" + ".join(f"({written(label)} ? 1 : 0)" for label in WORDS) + " == 1", PLACE),
    ),
    part_rule(
        "a right answer is worth no more than the wrong one about the same case; write truePositive above "
        "falseNegative, and trueNegative above falsePositive",
        lambda value: (
            "Boolean" not in value.kinds
            or (value.of_cases[0] > value.of_cases[2] and value.of_cases[3] > value.of_cases[1])
        ),
        Cel(
            f"!{written('Boolean')} || ({_or_0('truePositive')} > {_or_0('falseNegative')} && "
            f"{_or_0('trueNegative')} > {_or_0('falsePositive')})",
            PLACE,
        ),
    ),
    part_rule(
        "an error costs nothing in one direction, so the largest answer, or the smallest, would be the best; write "
        "over and under below 0",
        lambda value: "Number" not in value.kinds or ((value.over or 0) < 0 and (value.under or 0) < 0),
        Cel(f"!{written('Number')} || ({_or_0('over')} < 0.0 && {_or_0('under')} < 0.0)", PLACE),
    ),
    part_rule(
        "a wrong answer is worth as much as a right one; write right above wrong and above the worth of each of the "
        "pairs",
        lambda value: (
            "Category" not in value.kinds
            or all(
                (value.right or 0) > one
                for one in ((value.wrong or 0), *(pair.worth for pair in value.pairs))
            )
        ),
        Cel(
            f"!{written('Category')} || ({_or_0('right')} > {_or_0('wrong')} && (!has(self.pairs) || "
            f"self.pairs.all(p, p.worth < {_or_0('right')})))",
            PLACE,
        ),
    ),
    part_rule(
        "pairs are of a label and another class that was answered, each once; drop what is there twice or is right",
        lambda value: (
            len({(pair.label, pair.answer) for pair in value.pairs}) == len(value.pairs)
            and all(pair.label != pair.answer for pair in value.pairs)
        ),
        Cel(
            "!has(self.pairs) || self.pairs.all(p, p.label != p.answer && "
            "self.pairs.exists_one(q, q.label == p.label && q.answer == p.answer))",
            PLACE,
            "pairs",
        ),
    ),
)


class PairWorth(SpecModel):
    """What one class is worth as the answer to another."""

    label: ClassText = Field(description="The true class.", examples=["fraud"])
    answer: ClassText = Field(description="The class that was answered.", examples=["fine"])
    worth: Worth = Field(
        description="What this answer is worth. Write a cost as a negative number.", examples=[-500]
    )


class AnswerValue(SpecModel):
    """What answers are worth, right or wrong; a cost is a negative worth."""

    currency: Annotated[str, StringConstraints(min_length=1, max_length=20)] | None = Field(
        None, description="Unit that is shown beside these numbers; without it none is shown.", examples=["$"]
    )
    true_positive: Worth | None = Field(
        None,
        description=(
            "For labels that are true or false: worth of the answer true where the label is true. A worth "
            "that is left out is 0."
        ),
        examples=[35],
    )
    false_positive: Worth | None = Field(
        None, description="Worth of the answer true where the label is false.", examples=[-5]
    )
    true_negative: Worth | None = Field(
        None, description="Worth of the answer false where the label is false.", examples=[0]
    )
    false_negative: Worth | None = Field(
        None, description="Worth of the answer false where the label is true.", examples=[-60]
    )
    over: Cost | None = Field(
        None,
        description=(
            "For labels that are numbers: worth of each unit by which an answer is too high; at most 0."
        ),
        examples=[-2],
    )
    under: Cost | None = Field(
        None, description="Worth of each unit by which an answer is too low; at most 0.", examples=[-5]
    )
    right: Worth | None = Field(
        None,
        description="For labels that are one of several classes: worth of a right answer.",
        examples=[1],
    )
    wrong: Worth | None = Field(
        None, description="Worth of a wrong answer that `pairs` does not name.", examples=[-5]
    )
    pairs: tuple[PairWorth, ...] = Field(
        (),
        max_length=MOST_PAIRS,
        description="Wrong answers that are worth something else than `wrong`.",
        examples=[[{"label": "fraud", "answer": "fine", "worth": -500}]],
    )

    @model_validator(mode="after")
    def _right_answers_are_worth_more(self) -> AnswerValue:
        return require(self, VALUE_RULES)

    @property
    def kinds(self) -> tuple[ValuedLabel, ...]:
        """The kinds of label of whose answers anything is said; one, once its rules hold."""
        cases = (self.true_positive, self.false_positive, self.true_negative, self.false_negative)
        said: dict[ValuedLabel, bool] = {
            "Boolean": any(one is not None for one in cases),
            "Number": self.over is not None or self.under is not None,
            "Category": self.right is not None or self.wrong is not None or bool(self.pairs),
        }
        return tuple(label for label, is_said in said.items() if is_said)

    @property
    def of_cases(self) -> tuple[float, float, float, float]:
        """True positive, false positive, false negative, true negative."""
        return (
            self.true_positive or 0.0,
            self.false_positive or 0.0,
            self.false_negative or 0.0,
            self.true_negative or 0.0,
        )

    @property
    def threshold(self) -> float:
        """From which probability on answering true is worth more (Elkan 2001); between 0 and 1."""
        if self.kinds != ("Boolean",):
            return USUAL_THRESHOLD
        true_positive, false_positive, false_negative, true_negative = self.of_cases
        spared, won = true_negative - false_positive, true_positive - false_negative
        return spared / (spared + won)

    def spread(self, maximum_error: float | None) -> float:
        """Between the best and the worst answer; `maximum_error` is the largest error of a number that counts."""
        if "Number" in self.kinds:
            return max(-(self.over or 0.0), -(self.under or 0.0)) * (maximum_error or 1.0)
        if "Category" in self.kinds:
            worths = (self.right or 0.0, self.wrong or 0.0, *(pair.worth for pair in self.pairs))
        else:
            worths = self.of_cases
        return max(worths) - min(worths)

    @property
    def facts(self) -> MetricFacts:
        """Of the metric `value`, the mean worth of an answer."""
        what = "value of a case" if "Boolean" in self.kinds else "value of an answer"
        title = what if self.currency is None else f"{what}, {self.currency}"
        return MetricFacts(VALUE, title, "Higher", "row", power=1, margin=0.005, max_drop=0.02)

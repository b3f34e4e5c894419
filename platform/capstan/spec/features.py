"""Step 4: which columns become features, and how."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.feature_settings import FeatureSettings, Reading
from capstan.spec.grammar import ColumnName, Factory, OneOf
from capstan.spec.images import Image
from capstan.spec.own_code import OwnCode
from capstan.spec.rule import UNTRIED, Cel, part_rule, require
from capstan.spec.units import CellText, Flag, Number, Share, Whole


def _ways_to_cut(numeric: Any) -> int:
    ways = (numeric.bucket_edges, numeric.bucket_quantiles, numeric.bucket_widths)
    return sum(way is not None for way in ways)


_BUCKETS = ("has(self.bucketEdges)", "has(self.bucketQuantiles)", "has(self.bucketWidths)")
NUMERIC_RULES = (
    part_rule(
        "`impute: Default` and `default: NUMBER` belong together; give both or none",
        lambda numeric: (numeric.impute == "Default") == (numeric.default is not None),
        Cel("(self.impute == 'Default') == has(self.default)", "features[].numeric", "default"),
    ),
    part_rule(
        "cuts buckets in more ways than one; keep one of bucketEdges, bucketQuantiles, bucketWidths",
        lambda numeric: _ways_to_cut(numeric) <= 1,
        Cel(f"[{', '.join(_BUCKETS)}].filter(given, given).size() <= 1", "features[].numeric"),
    ),
    part_rule(
        "bucketEdges do not rise; sort them and drop doubles",
        lambda numeric: all(left < right for left, right in pairwise(numeric.bucket_edges or ())),
        why_no_cel=UNTRIED,
    ),
    part_rule(
        "leaves rows without a value out of training, so `indicator` says nothing; drop it, or impute Median",
        lambda numeric: not (numeric.indicator and numeric.impute == "DropRow"),
        Cel("!self.indicator || self.impute != 'DropRow'", "features[].numeric", "indicator"),
    ),
    part_rule(
        "scales and cuts buckets; buckets need no scale, so drop `scale`",
        lambda numeric: numeric.scale == "None" or not _ways_to_cut(numeric),
        Cel(f"self.scale == 'None' || !({' || '.join(_BUCKETS)})", "features[].numeric", "scale"),
    ),
)


class Numeric(FeatureSettings):
    """How a number becomes a feature."""

    impute: Literal["Median", "Mean", "Mode", "Default", "DropRow"] = Field(
        "Median",
        description="What replaces a missing value. DropRow leaves such rows out of training.",
        examples=["Median"],
    )
    default: Number | None = Field(
        None, description="The value that replaces a missing one with `impute: Default`.", examples=[0]
    )
    indicator: Flag = Field(
        False,
        description="Whether a second column says where the value was missing: 1 there, else 0.",
        examples=[True],
    )
    scale: Literal["None", "ZScore", "MinMax", "Log"] = Field(
        "None",
        description="How values are brought to one scale; Log is the signed logarithm of 1 + |x|.",
        examples=["ZScore"],
    )
    bucket_edges: tuple[Number, ...] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Borders of buckets, in rising order; without them the number itself is the feature.",
        examples=[[6, 12, 18]],
    )
    bucket_quantiles: Whole | None = Field(
        None, ge=2, le=1000, description="Cut into this many buckets of equal counts.", examples=[10]
    )
    bucket_widths: Whole | None = Field(
        None, ge=2, le=1000, description="Cut into this many buckets of equal widths.", examples=[10]
    )

    outside: Literal["Answer", "Refuse"] = Field(
        "Answer",
        description=(
            "What happens to a number outside the range of training: it is answered, counted and marked "
            "in the answer, or the request is refused with 422."
        ),
        examples=["Answer"],
    )

    @model_validator(mode="after")
    def _coherent(self) -> Numeric:
        return require(self, NUMERIC_RULES)

    @property
    def reading(self) -> Reading:
        return "numeric"

    @property
    def needs_value(self) -> bool:
        return self.impute == "DropRow"

    @property
    def refuses_unknown(self) -> bool:
        return self.outside == "Refuse"


def _encodes_today(value: Any) -> Any:
    if value == "Embedding":
        raise PydanticCustomError(
            "not_in_this_version",
            "is not in this version; encodings that run today: Integer, OneHot, Hashing, Target",
        )
    return value


CATEGORICAL_RULES = (
    part_rule(
        "`buckets` are those of `encode: Hashing`; write that, or drop `buckets`",
        lambda categorical: categorical.buckets is None or categorical.encode == "Hashing",
        Cel("!has(self.buckets) || self.encode == 'Hashing'", "features[].categorical", "buckets"),
    ),
    part_rule(
        "hashes, which keeps no list of categories; drop `minFrequency` and `unseen`, or take another `encode`",
        lambda categorical: (
            categorical.encode != "Hashing"
            or (categorical.min_frequency == 1 and categorical.unseen == "Other")
        ),
        Cel(
            "self.encode != 'Hashing' || (self.minFrequency == 1 && self.unseen == 'Other')",
            "features[].categorical",
        ),
    ),
    part_rule(
        "`order` gives the numbers of `encode: Integer`; write that, or drop `order`",
        lambda categorical: categorical.order is None or categorical.encode == "Integer",
        Cel("!has(self.order) || self.encode == 'Integer'", "features[].categorical", "order"),
    ),
    part_rule(
        "lists its categories in `order`, however rare they are; drop `minFrequency`",
        lambda categorical: categorical.order is None or categorical.min_frequency == 1,
        Cel("!has(self.order) || self.minFrequency == 1", "features[].categorical", "minFrequency"),
    ),
    part_rule(
        "`order` lists a category twice; keep each once",
        lambda categorical: len(set(categorical.order or ())) == len(categorical.order or ()),
        why_no_cel=UNTRIED,
    ),
)


class Categorical(FeatureSettings):
    """How a category becomes a feature."""

    encode: Annotated[Literal["Integer", "OneHot", "Hashing", "Target"], BeforeValidator(_encodes_today)] = (
        Field(
            "OneHot",
            description=(
                "OneHot: one column for each category. Integer: one whole number, in order of frequency or of "
                "`order`. Hashing: a fixed number of columns, which categories share by their hash. "
                "Target: the mean label of a category's rows, learnt from other rows than the one it stands in."
            ),
            examples=["OneHot"],
        )
    )
    order: tuple[CellText, ...] | None = Field(
        None,
        min_length=2,
        max_length=1000,
        description=(
            "All categories from the lowest to the highest, which Integer numbers from 0. A missing value is "
            "-1, any other -2. Without it the most frequent category is 0."
        ),
        examples=[["low", "mid", "high"]],
    )
    buckets: Whole | None = Field(
        None,
        ge=2,
        le=4096,
        description=(
            "Columns of Hashing, 32 if left out; one more stands for a missing value. The fewer columns, the "
            "more categories share one."
        ),
        examples=[64],
    )
    min_frequency: Whole = Field(
        1,
        ge=1,
        description="Categories with fewer training rows become one category, `other`.",
        examples=[20],
    )
    unseen: Literal["Other", "Refuse"] = Field(
        "Other",
        description="What happens to a category never seen in training: it counts as `other`, or the "
        "request is refused with 422.",
        examples=["Other"],
    )

    @model_validator(mode="after")
    def _coherent(self) -> Categorical:
        return require(self, CATEGORICAL_RULES)

    @property
    def reading(self) -> Reading:
        return "categorical"

    @property
    def refuses_unknown(self) -> bool:
        return self.unseen == "Refuse"


DatePart = Literal["Minute", "Hour", "Weekday", "Day", "DayOfYear", "Month", "Quarter", "Year"]
DATE_RULES = (
    part_rule(
        "`parts` names a part twice; keep each once",
        lambda date: len(set(date.parts)) == len(date.parts),
        why_no_cel=UNTRIED,
    ),
    part_rule(
        "a Year never comes again, so it is no point on a circle; write it in a second feature of the same column, "
        "without `cyclic`",
        lambda date: not (date.cyclic and "Year" in date.parts),
        Cel("!self.cyclic || !('Year' in self.parts)", "features[].date", "parts"),
    ),
)


class Date(FeatureSettings):
    """How a moment becomes a feature."""

    parts: tuple[DatePart, ...] = Field(
        min_length=1,
        max_length=8,
        description=(
            "What the model learns of the moment, each a number, by the clocks of `data.timeZone`. Weekday is 1 "
            "for Monday to 7 for Sunday, Hour 0 to 23."
        ),
        examples=[["Hour", "Weekday"]],
    )
    cyclic: Flag = Field(
        False,
        description=(
            "Whether each part is a point on a circle, in two columns, sine and cosine: 23 o'clock is beside "
            "0 o'clock then. A missing moment is the middle of the circle."
        ),
        examples=[True],
    )
    indicator: Flag = Field(
        False,
        description="Whether one more column says where the moment was missing: 1 there, else 0.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _coherent(self) -> Date:
        return require(self, DATE_RULES)

    @property
    def reading(self) -> Reading:
        return "categorical"

    @property
    def needs_moments(self) -> bool:
        return True

    @property
    def comes_back(self) -> bool:
        return False


TEXT_RULES = (
    part_rule(
        "`buckets` of words are those of `encode: Hashing`; write that, or drop `buckets`",
        lambda text: text.buckets is None or text.encode == "Hashing",
        Cel("!has(self.buckets) || self.encode == 'Hashing'", "features[].text", "buckets"),
    ),
    part_rule(
        "hashes, which keeps no list of words; drop `maxWords` and `minFrequency`, or take `encode: TfIdf`",
        lambda text: text.encode != "Hashing" or (text.max_words is None and text.min_frequency is None),
        Cel("self.encode != 'Hashing' || !(has(self.maxWords) || has(self.minFrequency))", "features[].text"),
    ),
    part_rule(
        "`embed` gets whole texts, so nothing is counted; drop `encode: Hashing`, `ngrams`, `maxWords`, `minFrequency` "
        "and `buckets`",
        lambda text: (
            text.embed is None
            or (
                text.encode == "TfIdf"
                and text.ngrams == 1
                and text.max_words is None
                and text.min_frequency is None
            )
        ),
        Cel(
            "!has(self.embed) || self.encode == 'TfIdf' && self.ngrams == 1 && !has(self.maxWords) && "
            "!has(self.minFrequency)",
            "features[].text",
            "embed",
        ),
    ),
)


class Text(FeatureSettings):
    """How a text of several words becomes a feature."""

    encode: Literal["TfIdf", "Hashing"] = Field(
        "TfIdf",
        description=(
            "TfIdf: a column for each word that training knows, in which frequent words of the text count more, and "
            "words of many texts less. Hashing: a fixed number of columns, which words share by their hash."
        ),
        examples=["TfIdf"],
    )
    ngrams: Whole = Field(
        1,
        ge=1,
        le=3,
        description="Up to so many neighbouring words count as one more word, such as `not good` with 2.",
        examples=[2],
    )
    max_words: Whole | None = Field(
        None,
        ge=2,
        le=4096,
        description="Columns of TfIdf: the most frequent words of training, 300 if left out.",
        examples=[500],
    )
    min_frequency: Whole | None = Field(
        None,
        ge=1,
        description="A word in fewer texts of training than this, 2 if left out, is none to TfIdf.",
        examples=[5],
    )
    buckets: Whole | None = Field(
        None, ge=2, le=4096, description="Columns of Hashing, 256 if left out.", examples=[512]
    )
    embed: OwnCode | None = Field(
        None,
        description=(
            "A function of yours makes the numbers: `factory` is `module:name` of what gives it, beside this file. It "
            "gets a list of texts, and gives one row of numbers for each."
        ),
        examples=[{"factory": "myembeddings:sentences"}],
    )

    @model_validator(mode="after")
    def _coherent(self) -> Text:
        return require(self, TEXT_RULES)

    @property
    def embedding(self) -> OwnCode | None:
        return self.embed

    @property
    def reading(self) -> Reading:
        return "categorical"

    @property
    def comes_back(self) -> bool:
        return False


class CustomFeature(FeatureSettings, OwnCode):
    """A feature of your own."""

    factory: Factory = Field(
        description=(
            "`module:name` of a function that returns a transformer with `fit(values)` and "
            "`transform(values)`, which gives one row of numbers for each value. The module lies beside "
            "this file."
        ),
        examples=["myfeatures:cycle"],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the factory: numbers, texts and booleans.",
        examples=[{"period": 24}],
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    reads: Literal["Number", "Category"] = Field(
        description=(
            "What the column holds for the transformer, for checks and for monitoring. Number: numbers, "
            "with nan for a missing one. Category: texts, with None for a missing one."
        ),
        examples=["Number"],
    )

    @property
    def reading(self) -> Reading:
        return "numeric" if self.reads == "Number" else "categorical"


class Feature(OneOf):
    """One input of the model."""

    members: ClassVar[tuple[str, ...]] = ("numeric", "categorical", "date", "text", "image", "custom")

    name: ColumnName = Field(description="Name of the feature.", examples=["dep_hour"])
    column: ColumnName = Field(
        default_factory=lambda earlier: earlier["name"],
        description="Column of the query's result that it is made from; the feature's name if left out.",
        examples=["dep_hour"],
    )
    optional: Flag = Field(
        False,
        description=(
            "Whether a request may leave the column out. It always may if the column had missing values "
            "in training."
        ),
        examples=[True],
    )
    max_missing: Share | None = Field(
        None,
        description=(
            "A training leaves the feature out, and says so by name, if a larger share of its rows than this has "
            "no value. Without it the feature stays, however many values are missing."
        ),
        examples=["60%"],
    )
    numeric: Numeric | None = Field(None, description="A number.", examples=[{"scale": "ZScore"}])
    categorical: Categorical | None = Field(None, description="A category.", examples=[{"encode": "OneHot"}])
    date: Date | None = Field(
        None, description="Parts of a moment.", examples=[{"parts": ["Hour", "Weekday"], "cyclic": True}]
    )
    text: Text | None = Field(
        None, description="A text of several words.", examples=[{"encode": "TfIdf", "maxWords": 500}]
    )
    image: Image | None = Field(
        None,
        description="An image, by its pixels.",
        examples=[{"width": 28, "height": 28, "channels": "Gray", "folder": "pictures"}],
    )
    custom: CustomFeature | None = Field(
        None,
        description="A feature of your own.",
        examples=[{"factory": "myfeatures:cycle", "parameters": {"period": 24}, "reads": "Number"}],
    )

    @property
    def settings(self) -> FeatureSettings:
        """Those of its kind."""
        settings: FeatureSettings = self.chosen
        return settings

    @property
    def reading(self) -> Reading:
        """How its column is read."""
        return self.settings.reading

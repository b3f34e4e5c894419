"""How an image becomes a feature."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from capstan.spec.feature_settings import FeatureSettings, Reading
from capstan.spec.grammar import Text
from capstan.spec.own_code import OwnCode
from capstan.spec.rule import Cel, part_rule, require
from capstan.spec.units import Whole

MOST_OUTPUTS = 12_288
"""Pixels times channels: 64 by 64 in colour."""
MOST_BYTES = 700_000
"""In base64 they fit into a request's body of 1 MiB."""


def _below(value: str) -> str:
    if "://" in value or value.startswith("/") or ".." in value.split("/"):
        raise PydanticCustomError(
            "folder", "is not below this file's folder; copy or mount the images there and write that folder"
        )
    return value


IMAGE_RULES = (
    part_rule(
        f"gives more than {MOST_OUTPUTS} columns, width times height times channels; make the image smaller",
        lambda image: image.width * image.height * image.planes <= MOST_OUTPUTS,
        Cel(
            f"self.width * self.height * (self.channels == 'RGB' ? 3 : 1) <= {MOST_OUTPUTS}",
            "features[].image",
        ),
    ),
    part_rule(
        "`normalize: ImageNet` has constants for red, green and blue; write `channels: RGB`, or another `normalize`",
        lambda image: image.normalize != "ImageNet" or image.channels == "RGB",
        Cel("self.normalize != 'ImageNet' || self.channels == 'RGB'", "features[].image", "normalize"),
    ),
    part_rule(
        "`embed` gets levels from 0 to 255 and normalizes them itself; drop `normalize`",
        lambda image: image.embed is None or image.normalize == "ZeroToOne",
        Cel("!has(self.embed) || self.normalize == 'ZeroToOne'", "features[].image", "normalize"),
    ),
)


class Image(FeatureSettings):
    """How an image becomes a feature."""

    width: Whole = Field(
        ge=1, le=256, description="Pixels to which every image is resized, from left to right.", examples=[28]
    )
    height: Whole = Field(
        ge=1, le=256, description="Pixels to which every image is resized, from top to bottom.", examples=[28]
    )
    channels: Literal["Gray", "RGB"] = Field(
        "Gray",
        description="Gray: one number for each pixel, its brightness. RGB: three, red, green and blue.",
        examples=["RGB"],
    )
    normalize: Literal["ZeroToOne", "ZScore", "ImageNet"] = Field(
        "ZeroToOne",
        description=(
            "ZeroToOne: black is 0 and white is 1. ZScore: that minus the mean of training, by its standard deviation, "
            "of each channel. ImageNet: the same with the constants that networks of ImageNet learnt with."
        ),
        examples=["ZScore"],
    )
    folder: Annotated[Text, AfterValidator(_below)] | None = Field(
        None,
        description=(
            "Folder beside this file below which the files are that the column of the table names. Without it the "
            "column holds the images themselves, in base64. A request always holds base64."
        ),
        examples=["pictures"],
    )
    unreadable: Literal["Refuse", "Missing"] = Field(
        "Refuse",
        description=(
            "What happens to a value that is no image that can be read. Refuse: a training ends, and a request gets "
            "422. Missing: it counts as missing, is counted, and marked in the answer."
        ),
        examples=["Missing"],
    )
    embed: OwnCode | None = Field(
        None,
        description=(
            "A function of yours makes the numbers: `factory` is `module:name` of what gives it, beside this file. It "
            "gets a list of arrays of whole numbers from 0 to 255, (height, width) or with RGB (height, width, 3), and "
            "gives one row of numbers for each."
        ),
        examples=[{"factory": "myembeddings:pictures"}],
    )
    max_bytes: Whole = Field(
        500_000, ge=100, le=MOST_BYTES, description="Bytes of an image file, at most.", examples=[100_000]
    )
    max_pixels: Whole = Field(
        16_777_216,
        ge=1,
        le=67_108_864,
        description=(
            "Width times height of an image file, at most. It is looked at before pixels are made, which take 4 bytes "
            "each: a file of few bytes may hold very many."
        ),
        examples=[4_000_000],
    )

    @model_validator(mode="after")
    def _coherent(self) -> Image:
        return require(self, IMAGE_RULES)

    @property
    def planes(self) -> int:
        """Numbers of each pixel."""
        return 3 if self.channels == "RGB" else 1

    @property
    def embedding(self) -> OwnCode | None:
        return self.embed

    @property
    def reading(self) -> Reading:
        return "categorical"

    @property
    def needs_images(self) -> bool:
        return True

    @property
    def comes_back(self) -> bool:
        return False

# ruff: noqa: E501 - tables of cases are read line by line
"""A network without an image to look at is refused before anything is trained: the value, the rule and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import parse

OWN = "      - {name: own, custom: "
PICTURE = "{name: picture, image: {width: 8, height: 8}}"
EMBEDDED = '{name: seen, image: {width: 8, height: 8, embed: {factory: "mine:seen"}}}'
REFUSED = {
    "no feature": (PICTURE, "{feature: photo}", ".feature", "'photo' gives no pixels; name an `image` feature without `embed`: picture"),
    "a number": (PICTURE, "{feature: distance}", ".feature", "'distance' gives no pixels"),
    "an embedding": (EMBEDDED, "{feature: seen}", ".feature", "of which the file has none"),
    "too small": (PICTURE, "{feature: picture, channels: [4, 4, 4, 4]}", "", "after 4 times `pool: 2` nothing is left of 8 by 8 pixels; write fewer `channels`"),
}  # fmt: skip


def mistakes(flights: str, feature: str, convolve: str) -> list[Mistake]:
    network = f"      - {{name: net, neuralNetwork: {{convolve: {convolve}}}}}\n{OWN}"
    changed = flights.replace("  features:\n", f"  features:\n    - {feature}\n").replace(OWN, network)
    assert feature in changed
    assert "net," in changed
    try:
        parse(changed, base_dir=Path())
    except InvalidSpecError as error:
        return error.mistakes
    return []


@pytest.mark.parametrize(("feature", "convolve", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_convolutions_without_an_image_are_refused(
    flights: str, feature: str, convolve: str, field: str, words: str
) -> None:
    (found,) = mistakes(flights, feature, convolve)
    assert found.path == f"training.candidates[3].neuralNetwork.convolve{field}"
    assert words in found.message


@pytest.mark.parametrize("convolve", ["{feature: picture}", "{feature: picture, channels: [4, 4, 4]}"])
def test_an_image_that_is_large_enough_is_looked_at(flights: str, convolve: str) -> None:
    assert mistakes(flights, PICTURE, convolve) == []

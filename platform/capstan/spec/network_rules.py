"""Rules of networks that look at pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.families import NeuralNetwork
from capstan.spec.location import Location
from capstan.spec.rule import JOINED_LISTS, Breach, rule

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


@rule("looks at an image that is there and large enough; name such", why_no_cel=JOINED_LISTS)
def convolutions_look_at_an_image(spec: MLSystemSpec) -> Iterator[Breach]:
    images = {
        feature.name: feature.image
        for feature in spec.features
        if feature.image is not None and feature.image.embed is None
    }
    for index, candidate in enumerate(spec.training.candidates):
        network = candidate.chosen
        if not isinstance(network, NeuralNetwork) or network.convolve is None:
            continue
        place: Location = ("spec", "training", "candidates", index, candidate.key, "convolve")
        convolve = network.convolve
        image = images.get(convolve.feature)
        if image is None:
            known = f": {', '.join(images)}" if images else ", of which the file has none"
            message = f"{convolve.feature!r} gives no pixels; name an `image` feature without `embed`{known}"
            yield Breach((*place, "feature"), message=message)
        elif not min(image.width, image.height) // convolve.pool ** len(convolve.channels):
            message = (
                f"after {len(convolve.channels)} times `pool: {convolve.pool}` nothing is left of {image.width} by "
                f"{image.height} pixels; write fewer `channels`, a smaller `pool`, or make the image larger"
            )
            yield Breach(place, message=message)


RULES = (convolutions_look_at_an_image,)

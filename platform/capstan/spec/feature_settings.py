"""What the rest of the house asks of a feature without knowing its kind."""

from __future__ import annotations

from typing import Literal

from capstan.spec.grammar import SpecModel
from capstan.spec.own_code import OwnCode

Reading = Literal["numeric", "categorical"]
"""How a feature's column is read, whatever is made of it: as numbers or as categories."""


class FeatureSettings(SpecModel):
    """Settings of one kind of feature.

    What the kind does is in `capstan.features.kinds`.
    """

    @property
    def reading(self) -> Reading:
        """How its column is read in checks, requests, payloads and drift."""
        raise NotImplementedError

    @property
    def needs_value(self) -> bool:
        """Whether it has nothing to stand for a missing value."""
        return False

    @property
    def needs_moments(self) -> bool:
        """Whether its column must hold days or times."""
        return False

    @property
    def needs_images(self) -> bool:
        """Whether its column must hold images, in base64."""
        return False

    @property
    def comes_back(self) -> bool:
        """Whether rows share values of its column, so that one can say what it does; not of texts, moments, images."""
        return True

    @property
    def embedding(self) -> OwnCode | None:
        """A function of the person's own that makes numbers of its values."""
        return None

    @property
    def refuses_unknown(self) -> bool:
        """Whether a request with a value beyond those of training is refused."""
        return False

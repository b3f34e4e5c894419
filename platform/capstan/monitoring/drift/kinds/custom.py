"""A detector of a person's own: whatever object their factory makes, if it has `compare(reference, window)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.monitoring.drift.distances import Distance
from capstan.monitoring.drift.kinds.detector import Detector
from capstan.own_code import made_by, require_methods
from capstan.recording.payloads import Kind


class CustomDetector(Detector):
    """Guards the person's code: what it raises or gives wrongly is told with the factory's name."""

    name: ClassVar[str] = "Custom"

    def __init__(self, factory: str, parameters: Mapping[str, Any], reads: Kind) -> None:
        """The factory's module must be importable now; raises InvalidDataError that names it."""
        self._factory, self._parameters, self._reads = factory, dict(parameters), reads
        self._made = made_by(factory, parameters)
        way_out = "return an object with `compare(reference, window)`, which gives a distance from 0 to 1"
        require_methods(self._made, factory, ("compare",), way_out)

    @property
    def reads(self) -> Kind:
        return self._reads

    @property
    def test(self) -> str:
        return type(self._made).__name__

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "name": self.name,
            "factory": self._factory,
            "parameters": self._parameters,
            "reads": self._reads,
        }

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        try:
            effect = float(self._made.compare(reference.copy(), window.copy()))
        except Exception as error:
            raise InvalidDataError(f"{self._factory}: compare: {type(error).__name__}: {error}") from error
        if not 0 <= effect <= 1:
            raise InvalidDataError(
                f"{self._factory}: compare gave {effect:g}; a distance lies from 0 (alike) to 1 (nothing in common)"
            )
        return Distance(effect, math.nan, effect)

    def noise(self, reference: NDArray[Any], window: int) -> float:
        """Its own `noise(reference, window)`, if it has one."""
        own = getattr(self._made, "noise", None)
        if not callable(own) or not len(reference) or not window:
            return 0.0
        try:
            found = float(own(reference.copy(), window))
        except Exception as error:
            raise InvalidDataError(f"{self._factory}: noise: {type(error).__name__}: {error}") from error
        return float(np.clip(found, 0, 1)) if math.isfinite(found) else 0.0

"""Detectors: compare the values of a window with a version's reference.

Two adapters of one protocol: alibi-detect's KSDrift and ChiSquareDrift (its licence is BSL 1.1; imported only when
loaded, by the monitor alone), and SciPy, which is free for everybody and gives the same numbers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tomllib
import warnings
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from capstan.errors import InvalidDataError, MissingToolError
from capstan.monitoring.drift.distances import Distance
from capstan.monitoring.drift.fitting import fit
from capstan.monitoring.drift.reference import FeatureReference, Reference, folder_of, load_reference

__all__ = ["DetectorKind", "FittedDetector", "Reference", "fit", "load", "load_reference", "save"]

DetectorKind = Literal["AlibiDetect", "Scipy"]


class FittedDetector(Protocol):
    """Compares one feature with its reference."""

    def compare(self, window: NDArray[Any]) -> Distance:
        """Distance of the values of a window, at least one and none missing: numbers, or category codes."""
        ...


def save(reference: Reference, folder: Path) -> None:
    """Write the reference into a model folder's `detectors/`."""
    reference.save(folder)


def load(folder: Path, reference: Reference, kind: DetectorKind) -> dict[str, FittedDetector]:
    """A detector for each feature that has values in the reference, by name; raises InvalidDataError."""
    features = [*reference.features, *reference.outputs]
    by_alibi = kind == "AlibiDetect"
    return {
        feature.name: _alibi_detector(folder_of(folder, reference, feature), feature)
        if by_alibi and feature.detector.alibi is not None
        else OwnDetector(feature)
        for feature in features
        if len(feature.sample)
    }


class OwnDetector:
    """The licence-free way: the detector's own computation."""

    def __init__(self, feature: FeatureReference) -> None:
        self._detector = feature.detector
        self._dtype = np.float64 if feature.kind == "numeric" else np.int64
        self._sample = feature.detector.prepared(feature.sample.astype(self._dtype))

    def compare(self, window: NDArray[Any]) -> Distance:
        return self._detector.compare(self._sample, window.astype(self._dtype))


class AlibiDetector:
    """alibi-detect's detector of one feature."""

    def __init__(self, detector: Any, feature: FeatureReference) -> None:
        self._detector = detector
        self._feature = feature

    def compare(self, window: NDArray[Any]) -> Distance:
        p_values, statistics = self._detector.score(window.reshape(-1, 1))
        effect = self._feature.detector.effect(self._feature.sample, window)
        return Distance(effect, float(p_values[0]), float(statistics[0]))


def _alibi_detector(folder: Path, feature: FeatureReference) -> FittedDetector:
    # A .dill or .pickle beside it would be executed by `load_detector(folder)`: only the config is ever named.
    unexpected = [path.name for path in folder.iterdir() if path.name not in ("config.toml", "x_ref.npy")]
    if unexpected:
        raise InvalidDataError(
            f"{folder}: {', '.join(sorted(unexpected))} does not belong to a detector; not loaded"
        )
    config = tomllib.loads((folder / "config.toml").read_text())
    assert feature.detector.alibi is not None
    known = {"name": feature.detector.alibi["name"], "x_ref": "x_ref.npy", "preprocess_fn": "None"}
    if any(config.get(key) != value for key, value in known.items()):
        raise InvalidDataError(f"{folder}: config.toml is not that of a plain {known['name']}; not loaded")
    load_detector = import_alibi_detect()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            detector = load_detector(folder / "config.toml")
    except Exception as error:
        raise InvalidDataError(f"{folder}: alibi-detect cannot load it: {error}") from error
    return AlibiDetector(detector, feature)


def usual_kind() -> DetectorKind:
    """alibi-detect where it is installed, else SciPy, which decides the same: Python 3.13 has no alibi-detect."""
    return "AlibiDetect" if importlib.util.find_spec("alibi_detect") is not None else "Scipy"


def import_alibi_detect() -> Any:
    """Seconds and 300 MB the first time."""
    # transformers prints that it found no torch; that is so on purpose.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from alibi_detect.saving import load_detector
    except ImportError as error:
        raise MissingToolError(
            "drift detection by alibi-detect needs it: pip install 'alibi-detect==0.13.*' (Python 3.11 or 3.12)"
        ) from error
    return load_detector

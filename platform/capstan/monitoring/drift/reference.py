"""What a version's inputs and predictions looked like at training: kept beside the model, small, and never as pickle.

Folder `detectors/`: `thresholds.json` and, per feature, `feature-NNN/` in alibi-detect's own saved format
(`config.toml` and `x_ref.npy`), so that alibi-detect loads it without us, and we write it without importing
alibi-detect, which costs seconds and 300 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType, category
from capstan.features.views import View
from capstan.files import write_whole
from capstan.monitoring.drift.atoms import Atoms
from capstan.monitoring.drift.calibration import Threshold, for_size
from capstan.monitoring.drift.distances import category_noise
from capstan.monitoring.drift.joint_rows import Encoding
from capstan.monitoring.drift.kinds import Detector, made_again
from capstan.monitoring.drift.online.reference import OnlineReference
from capstan.monitoring.drift.slices import SlicesReference
from capstan.recording.payloads import Kind

FORMAT = 6
ROWS = "rows.npy"
"""The sample of all features together."""
SLICES = "slices.npy"
"""How often each cell is in each slice."""
_CONFIG = """name = "{name}"
x_ref = "x_ref.npy"
preprocess_fn = "None"
input_shape = "None"
data_type = "tabular"
x_ref_preprocessed = false
p_val = 0.05
preprocess_at_init = true
update_x_ref = "None"
correction = "bonferroni"
{own}
n_features = "None"

[meta]
version = "{version}"
version_warning = false
"""


class Calibrated:
    """What a window is compared with, and how far it may be from it."""

    detector: Detector
    sample: NDArray[Any]
    distance: Threshold
    distance_noise: float

    def noise(self, window: int) -> float:
        """Mean distance of a window of so many values from this reference by chance alone."""
        return self.detector.noise(self.sample, window)

    def distance_threshold(self, window: int, min_effect: float) -> float:
        """What a window of so many values must exceed to breach."""
        return max(min_effect, for_size(self.distance.value, self.noise(window), self.distance_noise))


@dataclass(frozen=True)
class RowsReference(Calibrated):
    """All features together at training time."""

    detector: Detector
    encoding: Encoding
    sample: NDArray[np.float32]
    """Rows as the encoding writes them, evenly spaced in time."""
    distance: Threshold
    distance_noise: float


@dataclass(frozen=True)
class FeatureReference(Calibrated):
    """One feature, or one output, at training time."""

    name: str
    column: str
    detector: Detector
    type: ColumnType
    """What the column held in training; payloads are read as values of it."""
    sample: NDArray[Any]
    """Values without missing ones: float64, or codes into `vocabulary`; evenly spaced in time."""
    vocabulary: tuple[str, ...]
    """Categories in code order; a category beyond them has the code `len(vocabulary)`. Empty for numbers."""
    rows: int
    """Rows of the whole reference, missing ones too."""
    missing_rate: float
    distance: Threshold
    distance_noise: float
    """Mean distance of the calibration's blocks that chance alone explains."""
    rise: Threshold
    """Of the missing rate above the reference's."""
    rise_noise: float
    view: View | None = None
    """What is compared of the column's values; None: the values themselves."""

    @property
    def kind(self) -> Kind:
        """What the column is read as."""
        reads = self.detector.reads
        assert reads != "rows"
        return reads

    @cached_property
    def atoms(self) -> Atoms:
        """Frequent values of a feature of numbers."""
        return Atoms.of(self.sample.astype(np.float64))

    def codes(self, values: Sequence[object]) -> NDArray[np.int64]:
        """Category codes; missing values are -1."""
        known = {text: code for code, text in enumerate(self.vocabulary)}
        unseen = len(self.vocabulary)
        texts = (category(value, self.type) for value in values)
        return np.array([-1 if text is None else known.get(text, unseen) for text in texts], dtype=np.int64)

    def rise_threshold(self, window: int, min_effect: float) -> float:
        """What the rise of the missing rate must exceed to breach."""
        shares = np.array([self.missing_rate, 1 - self.missing_rate])
        noise = category_noise(float(np.sqrt(shares * (1 - shares)).sum()), window, self.rows)
        return max(min_effect, for_size(self.rise.value, noise, self.rise_noise))


@dataclass(frozen=True)
class Reference:
    """All features of a version, and its outputs."""

    features: tuple[FeatureReference, ...]
    outputs: tuple[FeatureReference, ...]
    """Of those whose drift is watched; empty: the version was packaged without predictions on its reference."""
    together: RowsReference | None = None
    """All features together; None: the file did not ask for it when the version was trained."""
    slices: SlicesReference | None = None
    """None: the file named no slices when the version was trained."""
    lag: timedelta | None = None
    """Time between the two windows that thresholds were found for; None: they are for windows beside these samples."""
    online: OnlineReference | None = None
    """Lots of neighbouring rows; None: the file named no online detector when the version was trained."""
    calibrated_for: Mapping[str, str] = field(default_factory=dict)
    """Fields of the file that thresholds were found for; empty: an earlier release did not tell."""

    def save(self, folder: Path) -> None:
        """Write the folder; the same reference gives the same bytes. Raises DiskFullError."""
        described = []
        for index, feature in enumerate(self._all()):
            part = folder / f"feature-{index:03d}"
            part.mkdir(parents=True, exist_ok=True)
            if feature.detector.alibi is not None:
                config = _CONFIG.format(**feature.detector.alibi, version=_alibi_version())
                write_whole(part / "config.toml", config.encode(), mode=0o644)
            dtype = np.float64 if feature.kind == "numeric" else np.int32
            with (part / "x_ref.npy").open("wb") as file:
                np.save(file, feature.sample.astype(dtype).reshape(-1, 1), allow_pickle=False)
            words = {
                name: value
                for name, value in vars(feature).items()
                if name not in ("sample", "distance", "rise", "vocabulary", "detector", "atoms", "view")
            }
            if feature.view is not None:
                words["view"] = asdict(feature.view)
            described.append(
                {
                    **words,
                    "detector": dict(feature.detector.facts),
                    "vocabulary": list(feature.vocabulary),
                    "distance": asdict(feature.distance),
                    "rise": asdict(feature.rise),
                    "folder": part.name,
                }
            )
        document: dict[str, Any] = {
            "format": FORMAT,
            "features": described,
            "outputs": len(self.outputs),
            "calibrated_for": dict(self.calibrated_for),
        }
        if self.together is not None:
            with (folder / ROWS).open("wb") as file:
                np.save(file, self.together.sample, allow_pickle=False)
            document["together"] = {
                "detector": dict(self.together.detector.facts),
                "encoding": self.together.encoding.facts(),
                "distance": asdict(self.together.distance),
                "distance_noise": self.together.distance_noise,
            }
        if self.lag is not None:
            document["lag_seconds"] = self.lag.total_seconds()
        if self.slices is not None:
            with (folder / SLICES).open("wb") as file:
                np.save(file, self.slices.numbers.astype(np.int32), allow_pickle=False)
            document["slices"] = self.slices.facts()
        if self.online is not None:
            self.online.save(folder)
        write_whole(
            folder / "thresholds.json", orjson.dumps(document, option=orjson.OPT_INDENT_2), mode=0o644
        )

    def _all(self) -> list[FeatureReference]:
        return [*self.features, *self.outputs]


def load_reference(folder: Path) -> Reference:
    """The folder that `Reference.save` wrote; raises InvalidDataError. Nothing in it is executed.

    The module of a person's own detector must be importable.
    """
    path = folder / "thresholds.json"
    try:
        document = orjson.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise InvalidDataError(
                f"{path}: format {document['format']} is not {FORMAT}; train the model again"
            )
        features = [_feature(folder, words) for words in document["features"]]
        outputs = int(document["outputs"])
        together = _together(folder, document["together"]) if "together" in document else None
        slices = _slices(folder, document["slices"]) if "slices" in document else None
        lag = timedelta(seconds=document["lag_seconds"]) if "lag_seconds" in document else None
        online = OnlineReference.load(folder)
        calibrated_for = {str(name): str(value) for name, value in document.get("calibrated_for", {}).items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{path}: cannot be read: {error}; train the model again") from error
    first = len(features) - outputs
    return Reference(
        tuple(features[:first]), tuple(features[first:]), together, slices, lag, online, calibrated_for
    )


def _together(folder: Path, words: dict[str, Any]) -> RowsReference:
    return RowsReference(
        detector=made_again(words["detector"]),
        encoding=Encoding.made_again(words["encoding"]),
        sample=np.load(folder / ROWS, allow_pickle=False),
        distance=Threshold(**words["distance"]),
        distance_noise=words["distance_noise"],
    )


def _slices(folder: Path, words: dict[str, Any]) -> SlicesReference:
    numbers = np.load(folder / SLICES, allow_pickle=False).astype(np.int64)
    return SlicesReference.made_again(words, numbers)


def _feature(folder: Path, words: dict[str, Any]) -> FeatureReference:
    fields = dict(words)
    part = folder / Path(fields.pop("folder")).name
    return FeatureReference(
        **{
            **fields,
            "detector": made_again(fields["detector"]),
            "type": ColumnType(fields["type"]),
            "sample": np.load(part / "x_ref.npy", allow_pickle=False).reshape(-1),
            "vocabulary": tuple(fields["vocabulary"]),
            "distance": Threshold(**fields["distance"]),
            "rise": Threshold(**fields["rise"]),
            "view": View.made_again(fields.get("view")),
        }
    )


def folder_of(folder: Path, reference: Reference, feature: FeatureReference) -> Path:
    """Where alibi-detect finds this feature's detector."""
    return folder / f"feature-{[f.name for f in reference._all()].index(feature.name):03d}"


def _alibi_version() -> str:
    try:
        return version("alibi-detect")
    except PackageNotFoundError:
        return "0.13.0"

"""Every detector keeps its suite, also one of a person's own, and the suite notices those that do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from capstan.errors import InvalidDataError
from capstan.monitoring.drift.distances import Distance, ks
from capstan.monitoring.drift.kinds import DETECTORS, CustomDetector, Detector, made_again
from capstan.monitoring.drift.kinds.ks import KolmogorovSmirnov
from capstan.recording.payloads import Kind
from capstan.spec.monitoring import Drift
from capstan.testing import NotConformingError, check_detector
from capstan.training.factories import importable

OWN = '''
import numpy as np

class Quantiles:
    """The largest difference of ranks at so many quantiles of the reference."""

    def __init__(self, points):
        self.points = points

    def compare(self, reference, window):
        at = np.quantile(reference, np.linspace(0, 1, self.points))
        ranks = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (reference, window)]
        return np.abs(ranks[0] - ranks[1]).max()

def make(points=50):
    return Quantiles(points)

def mute():
    return object()

def unbounded():
    return type("Far", (), {"compare": lambda self, reference, window: abs(window.mean() - reference.mean())})()
'''


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mydetectors.py").write_text(OWN)
    with importable(tmp_path):
        yield tmp_path


@pytest.mark.parametrize(
    "detector",
    [detector for members in DETECTORS.values() for detector in members.values()],
    ids=lambda detector: f"{detector.name}-{detector.reads}",
)
def test_a_detector_keeps_its_suite(detector: Detector) -> None:
    check_detector(detector)


@pytest.mark.parametrize("reads", get_args(Kind))
def test_every_detector_is_a_word_of_the_file(reads: Kind) -> None:
    assert {*DETECTORS[reads]} == {*Drift.model_json_schema()["properties"][reads]["enum"]}


@pytest.mark.usefixtures("beside")
def test_a_detector_of_a_persons_own_keeps_the_suite() -> None:
    check_detector("mydetectors:make", parameters={"points": 80})


@pytest.mark.usefixtures("beside")
def test_a_model_folder_keeps_which_detector_it_was() -> None:
    made = CustomDetector("mydetectors:make", {"points": 3}, "numeric")
    again = made_again(dict(made.facts))
    rng = np.random.default_rng(0)
    reference, window = rng.normal(0, 1, 500), rng.normal(1, 1, 500)
    assert again.compare(reference, window) == pytest.approx(made.compare(reference, window), nan_ok=True)
    assert "mydetectors" in sys.modules


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("mydetectors:mute", "has no compare"),
        ("mydetectors:unbounded", "a distance lies from 0"),
        ("mydetectors:absent", "mydetectors:absent"),
    ],
)
def test_a_detector_that_cannot_be_one_is_told_by_its_factory(factory: str, says: str) -> None:
    with pytest.raises(InvalidDataError, match=says):
        CustomDetector(factory, {}, "numeric").compare(np.zeros(9), np.full(9, 7.0))


class Constant(KolmogorovSmirnov):
    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        return Distance(0.5, 0.5, 0.5)


class Backwards(KolmogorovSmirnov):
    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        found = ks(reference, window)
        return found._replace(effect=1 - found.effect)


class Sorting(KolmogorovSmirnov):
    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        window.sort()
        return ks(reference, window)


class FirstRows(KolmogorovSmirnov):
    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        return ks(reference, window[:200])


class Calm(KolmogorovSmirnov):
    def from_rest(self, cells: NDArray[Any], block: NDArray[np.int64], whole: NDArray[np.int64]) -> float:
        return 0.0


class Louder(KolmogorovSmirnov):
    def noise(self, reference: NDArray[Any], window: int) -> float:
        return window / 10_000


class Forgetful(KolmogorovSmirnov):
    def stream(self, reference: NDArray[Any]) -> Any:
        last = super().stream(reference)
        return SimpleNamespace(add=lambda _values: None, result=lambda: (0.0, None, 0.0) if last else None)


@pytest.mark.parametrize(
    ("detector", "says"),
    [
        (Constant(), "two samples of one distribution are 0.500 apart"),
        (Backwards(), "alike, near and far give"),
        (Sorting(), "the window is another afterwards"),
        (FirstRows(), "in another order"),
        (Calm(), "from_rest gives 0.0000"),
        (Louder(), "noise of 50 rows"),
        (Forgetful(), "with an error of at most"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, KolmogorovSmirnov) else "",
)
def test_the_suite_notices_a_detector_that_is(detector: KolmogorovSmirnov, says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_detector(detector)

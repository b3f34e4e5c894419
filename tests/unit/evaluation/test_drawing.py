"""What the frame of a drawn confidence sequence holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.evaluation.experiments.drawing import draw_sequence, drawn


def frame(path: Path, lower: list[float], upper: list[float]) -> tuple[float, float]:
    with drawn(path, 1, named="report") as (panel,):
        middle = [(low + high) / 2 for low, high in zip(lower, upper, strict=True)]
        draw_sequence(panel, range(len(lower)), middle, lower, upper)
        low, high = panel.get_ylim()
    return low, high


def test_all_bounds_are_in_the_frame_where_they_fit(tmp_path: Path) -> None:
    low, high = frame(tmp_path / "short.svg", [-0.3, -0.2, -0.1, -0.05], [0.4, 0.3, 0.25, 0.2])
    assert low < -0.3
    assert high > 0.4


def test_early_bounds_that_would_flatten_the_rest_are_cut_off(tmp_path: Path) -> None:
    low, high = frame(tmp_path / "long.svg", [-80.0, -1.0, -0.1, -0.1], [80.0, 1.0, 0.2, 0.2])
    assert (low, high) == pytest.approx((-0.13, 0.23))

"""The Fréchet distance and the Inception Score equal what their formulas give where these can be worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.evaluation.offline.images import frechet_distance, inception_score


def cross(*scales: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Points on the axes, whose covariance is diagonal."""
    return np.concatenate([np.diag(scales), -np.diag(scales)])


def test_the_distance_of_diagonal_covariances_is_that_of_means_and_deviations() -> None:
    first, second = cross(1.0, 2.0), cross(3.0, 1.0) + np.array([4.0, 0.0])
    deviations = np.array([first.std(axis=0, ddof=1), second.std(axis=0, ddof=1)])
    expected = 16 + ((deviations[0] - deviations[1]) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_a_constant_feature_counts_by_its_mean_and_features_without_bounds_give_no_perfect_distance() -> None:
    first, second = cross(1.0, 0.0), cross(1.0, 0.0) + np.array([0.0, 2.0])
    assert frechet_distance(first, second) == pytest.approx(4)
    with np.errstate(all="ignore"):
        assert not frechet_distance(first * 1e200, second * 1e200) < 1


def test_the_score_is_1_where_all_images_look_alike_and_the_number_of_classes_where_each_is_sure() -> None:
    assert inception_score(np.full((20, 4), 0.25), splits=2) == pytest.approx((1.0, 0.0))
    assert inception_score(np.tile(np.eye(4), (5, 1)), splits=1)[0] == pytest.approx(4.0)
    halves = np.repeat([[0.9, 0.1], [0.1, 0.9]], 5, axis=0)
    told = math.exp(0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5))
    assert inception_score(halves, splits=1)[0] == pytest.approx(told)


def test_columns_and_lists_of_features_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made, real = rng.normal(size=(50, 3)), rng.normal(1.0, 2.0, size=(60, 3))
    pd.DataFrame(made, columns=[f"features.{at}" for at in range(3)]).to_csv(
        tmp_path / "made.csv", index=False
    )
    pd.DataFrame({"features": list(real)}).to_parquet(tmp_path / "real.parquet")
    asked = ["evaluate", str(tmp_path / "made.csv"), "--task", "ImageGeneration"]
    result = CliRunner().invoke(app, [*asked, "--reference", str(tmp_path / "real.parquet"), "--json"])
    assert result.exit_code == 0, result.output
    [fid] = json.loads(result.stdout)["metrics"]
    assert fid["value"] == pytest.approx(frechet_distance(made, real))
    assert fid["low"] is None

    pd.DataFrame({"features": [[1.0, 2.0], [1.0]]}).to_parquet(tmp_path / "ragged.parquet")
    wrong = CliRunner().invoke(app, [*asked, "--reference", str(tmp_path / "ragged.parquet")])
    assert "features of row 2 is not a list of 2 finite numbers" in " ".join(wrong.stderr.split())
    few = CliRunner().invoke(app, asked)
    assert few.exit_code == 1
    assert "needs --reference" in " ".join(few.stderr.split())

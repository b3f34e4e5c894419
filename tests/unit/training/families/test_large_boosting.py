"""Boosted trees of a matrix that lies in a file are those of one in memory, bit by bit."""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from threadpoolctl import threadpool_limits

from capstan.errors import CapstanError
from capstan.features import mapped_matrix
from capstan.features.transform import build_transform
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.tasks import LabelKind
from capstan.testing.lessons import lesson
from capstan.training.families import fit_model, large_boosting
from capstan.training.lesson import Lesson


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every matrix counts as large; returns the folder of temporary files."""
    monkeypatch.setattr(mapped_matrix, "IN_MEMORY", 0)
    monkeypatch.setattr(large_boosting, "BATCH_ROWS", 17)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def with_categories(given: Lesson) -> Lesson:
    """The second and the last column are codes of categories, of which one stands in a single row."""
    matrix, rng = given.matrix.copy(), np.random.default_rng(5)
    matrix[:, 1], matrix[:, -1] = rng.integers(0, 5, len(matrix)), rng.integers(0, 3, len(matrix))
    matrix[-1, 1] = 7
    return replace(given, matrix=matrix, categorical=np.array([False, True, False, True]))


def fitted(given: Lesson) -> Any:
    candidate = Candidate.model_validate({"name": "trees", "gradientBoosting": {"iterations": 12}})
    with threadpool_limits(1):
        return fit_model(candidate, {}, given)


@pytest.mark.parametrize("label", ["Boolean", "Category", "Number"])
def test_the_model_is_the_same_to_the_byte(
    label: LabelKind, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = with_categories(lesson(label))
    asked: list[int] = []
    monkeypatch.setattr(large_boosting, "empty_matrix", lambda *shape: asked.append(1) or np.empty(shape))
    large = pickle.dumps(fitted(given))
    assert asked, "the matrix was made in parts"
    monkeypatch.setattr(mapped_matrix, "IN_MEMORY", 2**40)
    assert pickle.dumps(fitted(given)) == large
    assert len(asked) == 1


def test_a_matrix_in_a_file_holds_what_one_in_memory_does_and_leaves_no_file(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = TypeAdapter(list[Feature]).validate_python(
        [{"name": "n", "numeric": {"scale": "ZScore"}}, {"name": "c", "categorical": {"encode": "OneHot"}}]
    )
    table = pa.table({"n": [float(at) for at in range(90)], "c": [f"kind {at % 4}" for at in range(90)]})
    transform = build_transform(features).fit(table)
    mapped = transform.transform_training(table, None)
    assert isinstance(mapped, np.memmap)
    assert list(small.iterdir()) == []
    monkeypatch.setattr(mapped_matrix, "IN_MEMORY", 2**40)
    plain = transform.transform_training(table, None)
    assert not isinstance(plain, np.memmap)
    assert np.array_equal(plain, mapped)


def test_a_folder_that_cannot_be_written_to_is_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small / "nowhere"))
    with pytest.raises(CapstanError, match="nowhere"):
        mapped_matrix.empty_matrix(3, 4)

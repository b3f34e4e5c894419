"""Samples are what they are called: chances, shares, one pass, waves along edges; the same seed draws the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chisquare
from sklearn.model_selection import train_test_split

from capstan.errors import InvalidDataError
from capstan.spec.sample import Sample
from capstan.training.sampling import (
    WEIGHT,
    draw,
    importance_rows,
    inclusion_probabilities,
    reservoir_rows,
    sampled,
    snowball_rows,
    stratified_rows,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_reservoir_passes_once_and_draws_every_item_alike() -> None:
    passed: list[int] = []

    def stream() -> Iterator[int]:
        for item in range(50):
            passed.append(item)
            yield item

    counts = np.zeros(50)
    generator = rng(1)
    for _ in range(4000):
        counts[reservoir_rows(stream(), 10, rng=generator).rows] += 1
        assert passed == list(range(50))
        passed.clear()
    assert counts.sum() == 40_000
    assert chisquare(counts).pvalue > 0.001


def test_a_stream_that_is_shorter_than_the_reservoir_is_taken_whole() -> None:
    assert reservoir_rows(iter([4, 9]), 10, rng=rng()).rows.tolist() == [4, 9]


@pytest.mark.parametrize("rows", [100, 333, 1000])
def test_strata_have_the_shares_that_scikit_learn_gives_them(rows: int) -> None:
    strata = np.repeat(["a", "b", "c"], [2300, 600, 100])
    _, theirs = train_test_split(strata, test_size=rows, stratify=strata, random_state=0)
    found = strata[stratified_rows(strata, rows, rng=rng()).rows]
    assert len(found) == rows
    ours, expected = (np.unique(one, return_counts=True)[1] for one in (found, theirs))
    assert np.abs(ours - expected).max() <= 1, "remainders of a half may be rounded either way"


def test_a_stratum_without_a_row_is_told() -> None:
    drawn = stratified_rows(np.array(["a"] * 999 + ["b"]), 10, rng=rng())
    assert drawn.words == "1 of 2 strata are too small to have a row in it"


def test_rows_are_drawn_in_proportion_to_their_size_and_weigh_one_over_their_chance() -> None:
    sizes = np.array([1.0, 1, 2, 4, 8, 100])
    chances = inclusion_probabilities(sizes, 3)
    assert chances.tolist() == pytest.approx([2 / 16, 2 / 16, 4 / 16, 8 / 16, 1, 1])
    counts, generator = np.zeros(6), rng(2)
    for _ in range(6000):
        drawn = importance_rows(sizes, 3, rng=generator)
        assert len(drawn.rows) == 3
        counts[drawn.rows] += 1
        assert drawn.weights is not None
        expected = 1 / chances[drawn.rows]
        assert drawn.weights == pytest.approx(expected / expected.mean())
    assert counts / 6000 == pytest.approx(chances, abs=0.02)


def test_a_weighted_mean_of_a_sample_is_that_of_all_rows() -> None:
    generator = rng(3)
    sizes = generator.lognormal(0, 1, 20_000)
    values = 3 + np.log(sizes) + generator.normal(size=20_000)
    means, plain = [], []
    for _ in range(50):
        drawn = importance_rows(sizes, 1000, rng=generator)
        means.append(np.average(values[drawn.rows], weights=drawn.weights))
        plain.append(values[drawn.rows].mean())
    assert np.mean(means) == pytest.approx(values.mean(), abs=0.02)
    assert np.mean(plain) > values.mean() + 0.5, "without weights the sample is one of large rows"


def test_a_snowball_goes_along_edges_wave_by_wave() -> None:
    """A chain of a hundred and a hundred nodes that nobody knows."""
    nodes = np.array([f"n{index}" for index in range(200)])
    edges = np.array([f"n{index + 1}" for index in range(100)] + [""] * 100)
    has_edge = np.arange(200) < 100
    inside = 0
    for seed in range(30):
        drawn = snowball_rows(nodes, edges, has_edge, 21, starts=1, rng=rng(seed))
        assert len(drawn.rows) == 21
        if drawn.words.startswith("from 1 starts in "):
            inside += 1
            assert (np.diff(drawn.rows) == 1).all(), "neighbours of neighbours of the one that it began with"
    assert inside > 5


def test_a_snowball_that_can_go_no_farther_starts_anew() -> None:
    nodes = np.array(list("aabbccdd"))
    edges = np.array(list("bbaaddcc"))
    drawn = snowball_rows(nodes, edges, np.ones(8, dtype=np.bool_), 6, starts=1, rng=rng())
    assert len(drawn.rows) == 6
    assert drawn.words.startswith("from 2 starts in ")
    alone = snowball_rows(nodes, edges, np.zeros(8, dtype=np.bool_), 5, starts=2, rng=rng())
    assert alone.words.startswith("from 3 starts in 0 waves")


TABLE = pa.table(
    {
        "amount": rng(5).lognormal(0, 1, 500),
        "region": rng(6).choice(["n", "s", "w"], 500),
        "node": [f"n{index % 120}" for index in range(500)],
        "knows": [f"n{(index * 7) % 120}" if index % 3 else None for index in range(500)],
        "place": np.arange(500),
    }
)
SAMPLES: dict[str, dict[str, Any]] = {
    "Newest": {},
    "Random": {},
    "Reservoir": {},
    "Stratified": {"by": "region"},
    "Importance": {"by": "amount"},
    "Snowball": {"by": "node", "edge": "knows", "starts": 2},
}


@pytest.mark.parametrize("method", SAMPLES)
def test_the_same_seed_draws_the_same_rows_in_their_order_and_another_seed_others(method: str) -> None:
    sample = Sample.model_validate({"rows": 60, "method": method, **SAMPLES[method]})
    found = [sampled(TABLE, sample, None, seed=seed) for seed in (1, 1, 2)]
    assert found[0].equals(found[1])
    assert found[0].num_rows == 60
    places = [one["place"].to_pylist() for one in found]
    assert places[0] == sorted(places[0])
    assert (places[0] == places[2]) is (method == "Newest")
    assert (WEIGHT in found[0].column_names) is (method == "Importance")
    if method == "Newest":
        assert places[0] == list(range(440, 500))


@pytest.mark.parametrize("method", SAMPLES)
def test_a_table_that_is_small_enough_is_taken_as_it_is(method: str) -> None:
    sample = Sample.model_validate({"rows": 500, "method": method, **SAMPLES[method]})
    assert sampled(TABLE, sample, None, seed=1) is TABLE
    assert draw(TABLE, sample, None, seed=1) is None


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["x"] * 500, r"by: 'amount' is no column of numbers.* write Stratified"),
        (
            [0.0, None, -1.0] + [1.0] * 497,
            r"by: 3 of 500 rows have no number above 0 .* write another method",
        ),
    ],
    ids=["texts", "never drawn"],
)
def test_numbers_by_which_nothing_can_be_drawn_are_refused_with_the_way_out(
    column: list[Any], words: str
) -> None:
    sample = Sample.model_validate({"rows": 60, "method": "Importance", "by": "amount"})
    with pytest.raises(InvalidDataError, match=words):
        sampled(TABLE.set_column(0, "amount", pa.array(column)), sample, None, seed=0)

"""Lists of two rankers and the credit of their clicks; biases are those of facts that were enumerated by hand."""

import itertools
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.verdicts.interleaving import (
    Credit,
    Method,
    Ranker,
    balanced,
    balanced_credit,
    coins,
    interleave,
    team_draft,
    team_draft_credit,
    unit_outcome,
)

A, B = (1, 2, 3), (2, 3, 1)
"""Rankings of the champion and of the challenger: B ranks 2 and 3 higher, A ranks 1 higher."""
RANKINGS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(st.permutations(range(size)), st.permutations(range(size)))
)


def thrown(*outcomes):
    left = iter(outcomes)
    return lambda: next(left)


def balanced_clicks(items, clicked):
    return [(items.index(item) + 1, A.index(item) + 1, B.index(item) + 1) for item in clicked]


def test_balanced_prefers_b_with_two_thirds_for_one_uniformly_random_click():
    outcomes = Counter()
    for coin, item in itertools.product((False, True), A):
        made = balanced(A, B, thrown(coin))
        outcomes[balanced_credit(balanced_clicks(made.items, [item])).outcome] += 1
    assert Fraction(outcomes[1], outcomes.total()) == Fraction(2, 3)
    assert Fraction(outcomes[-1], outcomes.total()) == Fraction(1, 3)


def test_team_draft_credits_clicks_on_3_alike_although_b_ranks_it_higher():
    drafters = Counter()
    for flips in itertools.product((False, True), repeat=2):
        made = team_draft(A, B, thrown(*flips))
        drafters[made.rankers[made.items.index(3)]] += 1
    assert drafters == {Ranker.CHAMPION: 2, Ranker.CHALLENGER: 2}


def test_team_draft_has_no_preference_for_one_uniformly_random_click():
    outcomes = Counter()
    for flips in itertools.product((False, True), repeat=2):
        for ranker in team_draft(A, B, thrown(*flips)).rankers:
            outcomes[team_draft_credit([ranker]).outcome] += 1
    assert outcomes[1] == outcomes[-1]


@pytest.mark.parametrize(
    ("clicked", "expected"),
    [
        pytest.param([], Credit(0, 0), id="no click"),
        pytest.param([2], Credit(0, 1), id="the top of B"),
        pytest.param([1], Credit(1, 0), id="the top of A"),
        pytest.param([1, 2], Credit(1, 1), id="both tops"),
        # The lowest click, on 3, is second in B: the top two of A hold 1 and 2, those of B 2 and 3.
        pytest.param([2, 3], Credit(1, 2), id="the lowest click says how deep one looks"),
    ],
)
def test_balanced_credit_looks_as_deep_as_the_lowest_click(clicked, expected):
    items = balanced(A, B, thrown(False)).items
    assert items == (1, 2, 3)
    assert balanced_credit(balanced_clicks(items, clicked)) == expected


@pytest.mark.parametrize("method", Method)
@given(rankings=RANKINGS, seed=st.text(max_size=8))
def test_each_item_stands_once_and_is_some_rankers(method, rankings, seed):
    made = interleave(method, *rankings, coins("salt", seed))
    assert sorted(made.items) == sorted(rankings[0])
    assert len(made.rankers) == len(made.items)


@given(rankings=RANKINGS, seed=st.text(max_size=8))
def test_teams_differ_by_at_most_one_after_every_place(rankings, seed):
    made = team_draft(*rankings, coins("salt", seed))
    difference = 0
    for ranker in made.rankers:
        difference += 1 if ranker is Ranker.CHAMPION else -1
        assert abs(difference) <= 1


@given(rankings=RANKINGS, seed=st.text(max_size=8))
def test_a_drafter_takes_its_best_item_that_is_free(rankings, seed):
    made = team_draft(*rankings, coins("salt", seed))
    of = dict(zip(Ranker, rankings, strict=True))
    for place, (item, ranker) in enumerate(zip(made.items, made.rankers, strict=True)):
        assert item == next(one for one in of[ranker] if one not in made.items[:place])


@given(rankings=RANKINGS, seed=st.text(max_size=8))
def test_every_prefix_of_a_balanced_list_is_the_tops_of_both(rankings, seed):
    made = balanced(*rankings, coins("salt", seed))
    champion, challenger = rankings
    for place in range(1, len(made.items) + 1):
        prefix = set(made.items[:place])
        assert any(
            prefix == set(champion[:first]) | set(challenger[:second])
            for first in range(place + 1)
            for second in (first - 1, first, first + 1)
            if second >= 0
        )


@pytest.mark.parametrize("method", Method)
@given(
    ranking=st.integers(1, 10).flatmap(lambda size: st.permutations(range(size))), seed=st.text(max_size=8)
)
def test_two_equal_rankings_give_their_own_order(method, ranking, seed):
    assert interleave(method, ranking, ranking, coins("salt", seed)).items == tuple(ranking)


def test_coins_of_a_request_are_the_same_each_time_and_fair_over_requests():
    first = [next_coin() for next_coin in [coins("r1", "abc")] * 600]
    assert first == [next_coin() for next_coin in [coins("r1", "abc")] * 600]
    heads = sum(coins("r1", str(number))() for number in range(10_000))
    assert abs(heads - 5_000) < 200
    assert any(coins("r1", str(number))() != coins("r2", str(number))() for number in range(20))


@pytest.mark.parametrize(
    "rankings",
    [
        pytest.param(([1, 2], [1, 3]), id="other items"),
        pytest.param(([1, 2], [1]), id="fewer"),
        pytest.param(([1, 1], [1, 1]), id="twice"),
    ],
)
def test_rankings_of_other_items_are_refused(rankings):
    with pytest.raises(ValueError, match="same items, each once"):
        interleave(Method.TEAM_DRAFT, *rankings, coins("salt", "r"))


def test_a_unit_counts_each_of_its_lists_once_however_often_it_was_clicked():
    assert unit_outcome([Credit(9, 0), Credit(0, 1), Credit(1, 2)]) == 1
    assert unit_outcome([Credit(9, 0), Credit(0, 1)]) == 0
    assert unit_outcome([Credit(1, 0), Credit(2, 2)]) == -1
    assert unit_outcome([]) == 0

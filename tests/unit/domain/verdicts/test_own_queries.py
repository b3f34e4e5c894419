import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain.verdicts.analysis import Latch, Verdict
from capstan.domain.verdicts.conditions import parse_condition
from capstan.domain.verdicts.evidence import QueryEvidence, QueryMeasurement
from capstan.domain.verdicts.own_queries import QueryRule, judge_query, with_names
from capstan.errors import InvalidSpecError
from capstan.spec.rollout import CONDITION_PATTERN

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def measured(*values, series=1):
    """One value at the end of each minute; None where there was no data."""
    ends = [START + MINUTE * number for number in range(1, len(values) + 1)]
    found = tuple(
        QueryMeasurement(at, value) for at, value in zip(ends, values, strict=True) if value is not None
    )
    return QueryEvidence(found, len(values), ends[-1] if ends else None, series)


def rule(success="result < 0.05", failure=None, **more):
    conditions = [None if text is None else parse_condition(text) for text in (success, failure)]
    return QueryRule("up", *conditions, **{"measurements": 3, **more})


@pytest.mark.parametrize(
    ("text", "so", "not_so"),
    [
        ("result < 0.05", [0.0, -3], [0.05, 1]),
        ("result<=0.05", [0.05], [0.051]),
        ("result >= 1 and result <= 10", [1, 10], [0.9, 10.1]),
        ("result < -1e-3 or result > 1e3", [-0.01, 1001], [0, 1000]),
        ("result == 2", [2.0], [2.1]),
        ("result != 2", [2.1], [2.0]),
    ],
)
def test_a_condition_compares_the_result(text, so, not_so):
    condition = parse_condition(text)
    assert [condition.holds(value) for value in so] == [True] * len(so)
    assert [condition.holds(value) for value in not_so] == [False] * len(not_so)
    assert str(condition) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "result",
        "result < x",
        "0.05 > result",
        "result < 1 and result > 0 or result == 5",
        "__import__('os').system('true')",
        "result < nan",
        "result < 1 and",
        " and ".join(["result < 1"] * 5),
        "result < 1\n",
    ],
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(InvalidSpecError, match="is no condition"):
        parse_condition(text)
    assert re.search(CONDITION_PATTERN.replace("$", r"\Z"), text) is None


WORDS = st.sampled_from(
    [
        "result",
        " ",
        "  ",
        "<",
        "<=",
        ">",
        "==",
        "=",
        "and",
        "or",
        " and ",
        " or ",
        "1",
        "-1",
        ".5",
        "0.5",
        "1e3",
    ]
)


@given(st.lists(WORDS, max_size=14).map("".join))
def test_the_file_and_the_parser_accept_the_same_conditions(text):
    accepted = re.fullmatch(CONDITION_PATTERN, text) is not None
    try:
        parse_condition(text)
    except InvalidSpecError:
        assert not accepted
    else:
        assert accepted


@pytest.mark.parametrize(
    ("success", "failure", "value", "verdict"),
    [
        ("result < 1", None, 0.5, Verdict.SUCCESSFUL),
        ("result < 1", None, 1.5, Verdict.FAILED),
        (None, "result > 2", 1.5, Verdict.SUCCESSFUL),
        (None, "result > 2", 2.5, Verdict.FAILED),
        ("result < 1", "result > 2", 1.5, Verdict.INCONCLUSIVE),
        ("result < 1", "result < 2", 0.5, Verdict.FAILED),
    ],
)
def test_failure_comes_first_and_what_is_neither_is_inconclusive(success, failure, value, verdict):
    assert judge_query(measured(value, value, value), rule(success, failure)).verdict is verdict


def test_a_query_passes_by_its_newest_measurement_once_there_are_enough():
    early = judge_query(measured(0.01, 0.01), rule())
    assert (early.verdict, early.premature) == (Verdict.INCONCLUSIVE, True)
    passed = judge_query(measured(0.01, 0.01, 0.02), rule())
    assert passed.verdict is Verdict.SUCCESSFUL
    assert passed.message == "0.02 at the last of 3 measurements (success when result < 0.05)"


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param(QueryEvidence(), id="not asked yet"),
        pytest.param(measured(None, None, None, None, series=0), id="no series"),
        pytest.param(measured(0.01, 0.01, 0.01, None), id="none at the end"),
        pytest.param(measured(0.01, None, 0.01), id="too few"),
        pytest.param(QueryEvidence((), 4, START + 4 * MINUTE, 2), id="two series"),
    ],
)
@pytest.mark.parametrize("conditions", [("result < 0.05", None), (None, "result > 1")])
def test_missing_data_never_passes_and_never_fails(evidence, conditions):
    assert judge_query(evidence, rule(*conditions)).verdict is Verdict.INCONCLUSIVE


def test_failures_beyond_those_that_are_borne_are_latched_and_counted_once_each():
    bearing = rule(failures=1)
    once = judge_query(measured(0.9, 0.01, 0.01), bearing)
    assert once.verdict is Verdict.SUCCESSFUL
    assert "1 failed, 1 may" in once.message
    twice = judge_query(measured(0.9, 0.01, 0.8), bearing)
    assert (twice.verdict, twice.latch) == (Verdict.FAILED, Latch(Verdict.FAILED, 3))
    assert twice.message == (
        "2 of 3 measurements failed (at most 1 may; success when result < 0.05); last 0.8 at 2026-01-01 00:03:00 UTC"
    )
    later = judge_query(measured(0.01, 0.01, 0.01), bearing, latched=twice.latch)
    assert later.verdict is Verdict.FAILED


@given(st.lists(st.none() | st.floats(0, 1), max_size=30), st.integers(1, 30))
def test_an_earlier_failure_is_found_by_every_later_look(values, cut):
    bearing = rule("result < 0.5", failures=2)
    early = judge_query(measured(*values[:cut]), bearing)
    if early.verdict is Verdict.FAILED:
        assert judge_query(measured(*values), bearing).verdict is Verdict.FAILED
    result = judge_query(measured(*values), bearing)
    assert all(math.isfinite(number) for number in result.numbers.values())
    if result.verdict is Verdict.SUCCESSFUL:
        assert values[-1] is not None
        assert values[-1] < 0.5


def test_names_are_put_in_and_nothing_else_is_touched():
    written = 'sum(rate(x{version="$challenger",old="${champion}",system="$system",path=~"a.*$"}[5m]))'
    assert with_names(written, champion="v1", challenger="v2", system="shop") == (
        'sum(rate(x{version="v2",old="v1",system="shop",path=~"a.*$"}[5m]))'
    )

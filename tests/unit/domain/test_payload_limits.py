"""What may be said in a request and in its payload."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.domain import payload_limits as limits


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("10000-01-01T00:00:00Z", "is after 2199"),
        ("+12013-01-01T00:00:00Z", "is after 2199"),
        ("9999-12-31T23:59:59-12:00", "is after 2199"),
        ("2200-01-01T00:00:00Z", "is after 2199"),
        ("1899-12-31T23:59:59Z", "is before 1900"),
        ("0001-01-01T00:00:00+14:00", "is before 1900"),
        ("-0044-03-15T00:00:00Z", "is before 1900"),
        ("2013-02-30T00:00:00Z", "is no time of the calendar"),
        ("yesterday", "is no time of the calendar"),
        ("2013-02-01T00:00:00", "has no offset"),
        (1700000000, "must be a time written as RFC 3339"),
        (None, "must be a time written as RFC 3339"),
    ],
)
def test_a_moment_that_cannot_be_is_told_what_is_wrong_with_it(value: object, rule: str) -> None:
    assert rule in str(limits.moment_rule(value))
    assert limits.parse_moment(value) is None


def test_a_moment_without_an_offset_is_one_where_the_file_has_a_zone() -> None:
    assert limits.moment_rule("2013-02-01 12:00", zone="America/New_York") is None
    assert limits.moment_rule("2013-02-01", zone="America/New_York") is None
    assert limits.moment_rule("1700000000", zone="America/New_York") is not None


@given(
    st.datetimes() | st.datetimes(timezones=st.timezones()),
    st.sampled_from([None, "UTC", "America/New_York", "Asia/Tokyo"]),
)
def test_every_moment_has_a_rule_or_is_read(moment: datetime, zone: str | None) -> None:
    text = moment.isoformat()
    parsed = limits.parse_moment(text)
    assert (parsed is None) == (limits.moment_rule(text) is not None)
    if parsed is not None:
        assert parsed.tzinfo is UTC
        # The text alone: a moment in the gap of a zone's clock equals no other, not even itself in UTC.
        assert parsed == datetime.fromisoformat(text)
    limits.moment_rule(text, zone=zone)


@given(st.text() | st.integers() | st.floats() | st.none())
def test_rules_answer_for_any_value(value: object) -> None:
    for rule in (limits.id_rule, limits.column_rule, limits.input_rule, limits.moment_rule):
        said = rule(value)
        assert said is None or said

"""Where the test of a training ends when the recorded data ended long before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from capstan.data.parts import last_judged

TIMES = np.array(["2013-12-01T10:00:00", "2013-12-31T23:00:00"], dtype="datetime64[us]")
TWO_WEEKS = timedelta(days=14)


def test_recorded_data_is_judged_on_its_own_last_days() -> None:
    until = datetime(2026, 1, 1, tzinfo=UTC)
    assert last_judged(TIMES, until, TWO_WEEKS) == datetime(2013, 12, 31, 23, tzinfo=UTC)


def test_data_that_goes_on_is_judged_up_to_the_moment() -> None:
    until = datetime(2014, 1, 5, tzinfo=UTC)
    assert last_judged(TIMES, until, TWO_WEEKS) == until

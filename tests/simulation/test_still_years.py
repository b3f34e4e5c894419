"""A year in which nothing changes gives no more false alarms than the file allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation.still_years import STILL, YEAR, Still, live

MOST = 1
"""`falseAlarmsPerMonth` is 0.1 by default: 1.2 in a year, of all four data alerts together."""


@pytest.mark.parametrize("still", STILL, ids=lambda still: still.name)
def test_a_still_year_alarms_no_more_often_than_the_file_allows(still: Still, tmp_path: Path) -> None:
    lived = live(still, tmp_path, seed=1)
    assert lived.judged == YEAR
    assert lived.alarms.total() <= MOST, dict(lived.alarms)
    # One that never ends is one alarm, and no chance.
    assert lived.longest <= 2, dict(lived.alarms)

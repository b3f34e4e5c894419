"""A card says what the file asks of its versions, and how much is expected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from capstan.evaluation.card.asked import asked_of
from capstan.spec.objective import Requirements

AS_OF = datetime(2026, 1, 15, tzinfo=UTC)


def asked(**requirements: Any) -> dict[str, str]:
    return dict(asked_of(Requirements.model_validate(requirements), AS_OF))


def test_each_bound_is_told() -> None:
    assert asked(
        latencyP99="50ms",
        modelSize="50Mi",
        throughput=1500,
        place="OnDevice",
        trainingTime="2h",
        trainingCost={"most": 5, "perHour": 1.2, "currency": "$"},
    ) == {
        "99 of 100 answers within": "50ms",
        "model at most": "50 MiB",
        "rows a second of one core at least": "1,500",
        "place": "a device: a graph of ONNX must answer alike",
        "a training takes at most": "2h",
        "a training costs at most": "5 $",
    }


def test_what_is_expected_is_told_with_the_month_in_which_it_has_doubled() -> None:
    scale = {"users": 100_000, "items": 5000, "requestsPerDay": 2_000_000, "growthPerMonth": "10%"}
    # 1.1 to the power of 7.3 is 2, and 7.3 months after the middle of January is August.
    assert asked(scale=scale)["made for"].split(", ") == [
        *("100,000 users", "5,000 items", "2,000,000 requests a day"),
        *("10% more each month", "twice as many by 2026-08"),
    ]


def test_a_file_that_asks_nothing_tells_nothing() -> None:
    assert asked() == {}


def test_a_scale_of_nobody_is_refused() -> None:
    with pytest.raises(ValidationError, match="users"):
        asked(scale={"users": 0})

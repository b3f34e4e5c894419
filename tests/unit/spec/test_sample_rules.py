"""A sample is refused where the file has nothing to draw it by, with the field and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from unit.spec.test_fairness_rules import mistakes

REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "importance without a column": ("flight-delays", {"method": "Importance"}, "", "name the column in by"),
    "a column for nothing": ("flight-delays", {"by": "carrier"}, "", "drop it"),
    "a snowball without edges": (
        "flight-delays",
        {"method": "Snowball", "by": "carrier"},
        "",
        "give both or none",
    ),
    "edges for nothing": ("flight-delays", {"edge": "carrier"}, "", "give both or none"),
    "groups": ("flight-ranking", {}, "", "data.keys.group keeps them together"),
    "strata of numbers": ("flight-minutes", {"method": "Stratified"}, ".method", "name a column in by"),
    "by the label": (
        "flight-delays",
        {"method": "Stratified", "by": "late"},
        ".by",
        "known only with the label",
    ),
    "unknown": ("flight-delays", {"method": "Systematic"}, ".method", "Reservoir"),
}


@pytest.mark.parametrize(("example", "sample", "field", "words"), REFUSED.values(), ids=REFUSED)
def test_a_sample_of_nothing_is_refused_with_the_way_out(
    example: str, sample: dict[str, Any], field: str, words: str
) -> None:
    found = dict(mistakes(example, training={"sample": {"rows": 1000, **sample}}))
    assert words in found[f"training.sample{field}"]


def test_balanced_rows_and_weights_of_a_sample_are_refused_together() -> None:
    changes = {
        "sample": {"rows": 9, "method": "Importance", "by": "distance"},
        "balance": {"method": "Oversample"},
    }
    ((path, message),) = mistakes("flight-delays", training=changes)
    assert path == "training.sample.method"
    assert "training.balance does not count" in message


@pytest.mark.parametrize(
    "sample",
    [
        {},
        {"method": "Newest"},
        {"method": "Stratified"},
        {"method": "Snowball", "by": "carrier", "edge": "origin"},
    ],
    ids=str,
)
def test_samples_of_what_is_there_are_taken(sample: dict[str, Any]) -> None:
    assert mistakes("flight-delays", training={"sample": {"rows": 1000, **sample}}) == []

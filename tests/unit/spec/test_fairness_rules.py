"""Fairness and reweighing are refused where the task's labels give them no meaning, with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from capstan.errors import InvalidSpecError
from capstan.spec import parse

EXAMPLES = Path(__file__).parents[3] / "examples"


def mistakes(example: str, **changes: dict[str, Any]) -> list[tuple[str, str]]:
    document = YAML(typ="safe").load((EXAMPLES / example / "system.yaml").read_text())
    for part, change in changes.items():
        document["spec"].setdefault(part, {}).update(change)
    try:
        parse(document, base_dir=EXAMPLES / example)
    except InvalidSpecError as error:
        return [(mistake.path, mistake.message) for mistake in error.mistakes]
    return []


FAIR = {"fairness": [{"by": ["carrier"], "maxDifference": 0.1}]}
REWEIGH = {"reweigh": {"by": ["carrier"]}}


@pytest.mark.parametrize("example", ["flight-minutes", "flight-bands", "flight-ranking"])
def test_fairness_is_of_true_and_false(example: str) -> None:
    ((path, message),) = mistakes(example, evaluation=FAIR)
    assert path == "evaluation.fairness"
    assert "use `evaluation.gates` with `slices`" in message


@pytest.mark.parametrize("example", ["flight-minutes", "flight-ranking"])
def test_numbers_and_orders_are_not_reweighed(example: str) -> None:
    ((path, message),) = mistakes(example, training=REWEIGH)
    assert path == "training.reweigh"
    assert "the task's labels are no classes; drop it" in message


@pytest.mark.parametrize("example", ["flight-bands", "flight-delays", "two-models"])
def test_classes_are_reweighed(example: str) -> None:
    assert mistakes(example, training=REWEIGH) == []

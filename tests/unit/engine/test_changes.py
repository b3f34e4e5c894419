"""What a changed file means, told before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.two_models_system import two_models_document
from unit.data.test_without_labels import system

from capstan.domain.system import SystemState
from capstan.engine.changes import compare, consequences
from capstan.spec import parse


@pytest.mark.parametrize(
    "parts",
    [
        {"combine": {"rule": "Mean"}},
        {"models": [{"name": "leaves", "features": ["rain", "depot", "traffic"]}, {"name": "travels"}]},
    ],
    ids=["another rule", "other models"],
)
def test_other_models_or_another_rule_wait_for_a_training(parts: dict[str, object]) -> None:
    old, new = (parse(two_models_document(**one), base_dir=Path()) for one in ({}, parts))
    changes = compare(old, new)
    assert {change.path.partition("[")[0].partition(".")[0] for change in changes} == set(parts)
    told = consequences(old, new, changes, state=SystemState(), rollout=None)
    assert told == ["data, features, training, models: the first training goes by it"]


def test_a_label_that_is_named_by_now_is_a_change(tmp_path: Path) -> None:
    old, new = system(tmp_path), system(tmp_path, label={"column": "odd"})
    assert "data.label" in [change.path for change in compare(old, new)]
    assert not compare(old, system(tmp_path))

"""Without labels candidates are compared by the share that they flag; a model that flags nothing has no part in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit.data.test_without_labels import system

from capstan.errors import InvalidDataError
from capstan.spec.loading import parse
from capstan_pipelines.steps.choose import _choice


def chosen(folder: Path, **gaps: float | None) -> Any:
    given = system(folder)
    document = given.model_dump(mode="json", by_alias=True, exclude_none=True)
    del document["spec"]["data"]["label"]
    document["spec"]["training"]["candidates"] = [
        {"name": "baseline", "mostFrequent": {}},
        {"name": "forest", "isolationForest": {}},
        {"name": "neighbours", "localOutlierFactor": {}},
    ]
    given = parse(document, base_dir=folder)
    (model,) = given.spec.planned_models
    found = {
        name: {
            "metrics": {} if gap is None else {"flaggedShareGap": gap},
            "failure": "it ran out of memory" if gap is None else "",
        }
        for name, gap in gaps.items()
    }
    return _choice(cast(Any, SimpleNamespace(system=given)), model, found)


def test_the_baseline_misses_a_small_share_by_little_and_is_not_taken(tmp_path: Path) -> None:
    assert chosen(tmp_path, baseline=0.01, forest=0.01, neighbours=0.02).name == "forest"
    assert chosen(tmp_path, baseline=0.01, forest=0.03, neighbours=0.02).name == "neighbours"


def test_where_nothing_else_can_be_used_the_baseline_is_refused_as_ever(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="baseline"):
        chosen(tmp_path, baseline=0.01, forest=None, neighbours=None)

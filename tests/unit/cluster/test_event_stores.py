"""A cluster looks no events up, so a store for them is refused and not ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cluster.toy_versions import toy_system

from capstan.cluster.wiring.events import require_no_store
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse

COUNTED = {
    "source": "t",
    "entity": "customer",
    "time": "at",
    "aggregates": [{"name": "before", "function": "Count", "window": "6h"}],
}


def with_events(**more: Any) -> MLSystem:
    document = toy_system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["data"]["events"] = [{**COUNTED, **more}]
    return parse(document, base_dir=Path())


def test_a_store_is_refused_with_the_way_out() -> None:
    store = {"urlFrom": {"secretKeyRef": {"name": "shop-events", "key": "url"}}}
    with pytest.raises(
        InvalidSpecError, match=r"spec\.data\.events\[0\]\.online: .*requests carry the features; drop it"
    ):
        require_no_store(with_events(online=store))


def test_events_without_one_are_taken() -> None:
    require_no_store(with_events())

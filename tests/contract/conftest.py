"""The tier of ports: files run side by side, those that take longest first, so that no worker ends up alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract.model_services import EventLoop

LONGEST = (
    "test_traffic_fleet.py",
    "test_monitor.py",
    "test_pipelines_kube_jobs.py",
    "test_pipelines_kfp_local.py",
    "test_traffic_envoy.py",
    "test_serving_bento.py",
    "test_registry_mlflow.py",
    "test_collector.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order that `--dist loadfile --no-loadscope-reorder` hands them out."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="module")
def loop() -> Iterator[EventLoop]:
    """Of all services and clients of a module."""
    loop = EventLoop()
    yield loop
    loop.close()

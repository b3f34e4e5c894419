"""Claims about what is in the way of a system: refused objects, alert rules, and what mends missing files."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from capstan.adapters.kubernetes.troubles import PodTroubles
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.missing_files import way_to_bring
from capstan.cluster.names import DATA_MOUNT, SystemNames
from capstan.cluster.troubles import FIRST_RULES_SECONDS, SystemTroubles, part_of
from capstan.domain.versions import SystemName
from capstan.errors import CapstanError

NAMES = SystemNames("shop", SystemName("churn"))


class Rules:
    """Alert rules that lack what one says."""

    missing: str | CapstanError = ""

    def ensure(self) -> str:
        if isinstance(self.missing, CapstanError):
            raise self.missing
        return self.missing

    def remove(self) -> None:
        return


def told(rules: Rules, clock: list[float]) -> SystemTroubles:
    pods = PodTroubles(MemoryKube(), "shop", {}, part_of)
    return SystemTroubles(pods, dict, rules, clock=lambda: clock[0])


def test_rules_that_prometheus_reads_in_its_own_time_are_no_trouble_of_a_start() -> None:
    rules, clock = Rules(), [0.0]
    tell = told(rules, clock)
    rules.missing = "alert rules are written; Prometheus has not read them yet"
    assert tell() == ()
    clock[0] = FIRST_RULES_SECONDS - 1
    assert tell() == ()
    clock[0] = FIRST_RULES_SECONDS
    (trouble,) = tell()
    assert (trouble.part, trouble.reason) == ("alerting", "AlertingIncomplete")
    rules.missing = ""
    assert tell() == ()


def test_rules_that_are_refused_are_told_at_once_and_end_nothing() -> None:
    rules, clock = Rules(), [0.0]
    tell = told(rules, clock)
    rules.missing = CapstanError("the ConfigMap is full")
    assert [trouble.message for trouble in tell()] == ["the ConfigMap is full"]


@pytest.mark.parametrize(
    ("labels", "part"),
    [
        ({"app.kubernetes.io/name": "model", "capstan.dev/version": "v2"}, "v2"),
        (
            {"app.kubernetes.io/name": "graph", "capstan.dev/part": "v2", "capstan.dev/version": "v2"},
            "graph v2",
        ),
        ({"app.kubernetes.io/name": "graph", "capstan.dev/part": "router"}, "graph router"),
        ({"app.kubernetes.io/name": "page"}, ""),
    ],
    ids=["a version", "a version in the graph", "the graph's router", "nobody's concern"],
)
def test_what_is_in_trouble_is_named(labels: dict[str, str], part: str) -> None:
    assert part_of({"metadata": {"labels": labels}}) == part


@pytest.mark.parametrize(
    "source",
    [{"csv": {"path": "rides.csv", "timeColumn": "t"}}, {"parquet": {"path": "rides", "timeColumn": "t"}}],
    ids=["file", "folder"],
)
def test_files_that_nobody_pushed_are_told_with_capstan_push(source: dict[str, object]) -> None:
    said = _said_of(source)
    way = way_to_bring(NAMES, f"extract: {said}")
    assert "`capstan push FILE --context . --namespace shop`" in way


def _said_of(source: dict[str, object]) -> str:
    """What the reader of sources itself says when nothing is in the data volume."""
    from capstan.data.sources import Reading, open_source
    from capstan.spec.data import Source

    try:
        reading = Reading(
            duckdb.connect(),
            Source.model_validate({"name": "rides", **source}),
            as_of=None,
            base_dir=Path(DATA_MOUNT),
            secrets=Path("/secrets"),
            zone="UTC",
        )
        open_source(reading)
    except CapstanError as error:
        return str(error)
    raise AssertionError("nothing was missing")


def test_a_missing_module_is_told_with_capstan_push_and_another_failure_is_not() -> None:
    missing = f"'mine:make': there is no mine.py in {DATA_MOUNT} and no installed package 'mine'"
    assert "capstan push" in way_to_bring(NAMES, missing)
    assert way_to_bring(NAMES, "check: distance has 3 values below 1") == ""

"""Pages to look things up are complete and name nothing that is gone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from capstan import errors

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "platform/docs"
MEASURED = (
    "platform/capstan/serving/metrics.py",
    "platform/capstan/serving/gpus.py",
    "platform/capstan/recording/collector/metrics.py",
    "platform/capstan/monitoring/exposition.py",
    "platform/capstan/monitoring/questions",
    "platform/capstan/engine/standstill.py",
    "platform/capstan/dashboard/own_metrics.py",
    "operators/capstan_operator/metrics.py",
    "operators/capstan_page/app.py",
)
"""Where Capstan's metrics are made."""


def rows(page: str) -> list[list[str]]:
    """Cells of all rows of tables, headings left out."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "`" in line]


def test_metrics_are_those_that_prometheus_reads() -> None:
    files = [file for place in MEASURED for file in [ROOT / place, *sorted((ROOT / place).rglob("*.py"))]]
    code = "".join(file.read_text() for file in files if file.is_file())
    # By the collector, of labels and of events.
    made = {"capstan_collector_label_requests", "capstan_collector_event_requests"}
    made |= set(re.findall(r'"(capstan_[a-z_]+)"', code))
    told = {name for row in rows("metrics.md") for name in re.findall(r"`(capstan_[a-z_]+)`", row[0])}
    assert {name.removesuffix("_total") for name in told} == {name.removesuffix("_total") for name in made}


def test_a_metric_is_called_total_where_it_is_a_counter() -> None:
    for row in rows("metrics.md"):
        names = re.findall(r"`(capstan_[a-z_]+)`", row[0])
        assert {name.endswith("_total") for name in names} == {row[1] == "counter"}, row[0]


def test_messages_of_errors_stand_in_the_code_and_in_order() -> None:
    places = [ROOT / place for place in ("platform/capstan", "pipelines", "operators")]
    files = [file for place in places for file in place.rglob("*.py")]
    code = "\n".join(file.read_text() for file in files)
    messages = [row[0].split("`")[1] for row in rows("errors.md") if len(row) == 3]
    gone = [part for message in messages for part in message.split("…") if part.strip() not in code]
    assert gone == []
    assert messages == sorted(messages, key=str.casefold)
    assert len(messages) > 25


def test_all_classes_of_errors_are_told() -> None:
    classes = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if name.endswith("Error")}
    told = {row[0].strip("`") for row in rows("errors.md") if len(row) == 2}
    assert classes - {"CapstanError"} == told


def test_words_of_the_glossary_are_in_order() -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\*", (DOCS / "glossary.md").read_text(), re.M)
    assert words == sorted(words, key=str.casefold)
    assert len(words) > 40


def test_settings_of_the_charts_are_all_told_and_none_is_gone() -> None:
    text = (DOCS / "kubernetes/settings.md").read_text()
    for chart, part in zip(("capstan", "capstan-stack"), text.split("\n## ")[1:], strict=True):
        values = YAML(typ="safe").load(ROOT / f"charts/{chart}/values.yaml")
        cells = re.findall(r"^\| (`[^|]+`) \|", part, re.M)
        told = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
        assert sorted(told) == sorted(settings(values)), chart


def settings(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Names of all values, as `helm --set` takes them; resources and volumes are one each."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in ("resources", "storage"):
            yield from settings(value, f"{before}{key}.")
        else:
            yield before + key

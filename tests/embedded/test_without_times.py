"""A table without times and ids lives with all real parts: trained, served, and a challenger promoted by requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml
from embedded.running import Running, left_behind
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import capstan
from capstan.adapters.processes.ports_in_use import free_port
from capstan.domain.versions import SystemName
from capstan.embedded.clocks import WallClock
from capstan.embedded.layout import StateDir
from capstan.embedded.supervisor import Supervisor
from capstan.embedded.wiring import Addresses, wire
from capstan.engine import commands
from capstan.spec import load

pytestmark = [pytest.mark.real, pytest.mark.slow]
COLUMNS = ("mean_radius", "mean_texture", "mean_smoothness")
BLOCK = 20


class Live(Running):
    """A system in wall time, asked with the table's own rows."""

    def __init__(self, file: Path, state: StateDir) -> None:
        self.file, self.system = file, load(file)
        self.name = SystemName(self.system.metadata.name)
        self.state = state
        addresses = Addresses(page_port=free_port(), gateway_port=free_port())
        self.local = wire(self.system, state, addresses=addresses, clock=WallClock())
        self.supervisor = Supervisor(self.local)
        self._is_stopped = False

    def start(self) -> None:
        self.supervisor.start()
        self.supervisor.bring_up()

    def stop(self) -> None:
        """Again and again is fine."""
        if not self._is_stopped:
            self._is_stopped = True
            self.supervisor.stop()
            self.local.close()

    def answered(self, rows: list[dict[str, Any]], truth: list[bool]) -> None:
        """Ask for the rows one by one, and tell at once what was true."""
        labels: list[dict[str, object]] = []
        with httpx.Client(base_url=self.local.addresses.gateway, trust_env=False, timeout=6) as client:
            for row, true in zip(rows, truth, strict=True):
                answer = client.post("/predict", json=row)
                assert answer.status_code == 200, answer.text
                labels.append({"requestId": answer.json()["request_id"], "label": true})
        self.supervisor.store_answers()
        self.supervisor.post_labels(labels)
        self.supervisor.store_answers()
        # Guardrails are asked of Prometheus, and a look before its scrape would know nothing of these rows.
        self.supervisor.await_scrape(time.time())

    def reasons(self, after: int) -> list[str]:
        return [event.reason for event in self.events(after=after)]


def cells() -> tuple[list[dict[str, Any]], list[bool]]:
    """Rows in the order of the table, so that classes come mixed."""
    table = load_breast_cancer(as_frame=True).frame
    table.columns = [name.replace(" ", "_") for name in table.columns]
    return table[list(COLUMNS)].to_dict("records"), [not target for target in table["target"]]


def write(folder: Path) -> Path:
    rows, truth = cells()
    lines = [",".join((*COLUMNS, "malignant"))]
    lines += [
        ",".join([*(str(row[name]) for name in COLUMNS), str(true).lower()])
        for row, true in zip(rows, truth, strict=True)
    ]
    (folder / "cells.csv").write_text("\n".join(lines) + "\n")
    spec = {
        "objective": {"task": "BinaryClassification", "target": "malignant"},
        "data": {
            "sources": [{"name": "cells", "csv": {"path": "cells.csv"}}],
            "label": {"column": "malignant"},
        },
        "features": [{"name": name, "numeric": {}} for name in COLUMNS],
        "training": {"candidates": [{"name": "logistic", "logisticRegression": {}}]},
        "evaluation": {"gates": [{"metric": "rocAuc", "against": "Baseline", "decide": "Better"}]},
        "rollout": {
            "blockRequests": BLOCK,
            "steps": [
                {"shadow": {"minRequests": 100, "minLabels": 100, "minBlocks": 7, "analyses": ["quality"]}},
                {"canary": {"weight": 50, "minRequests": 20}},
            ],
        },
        "retraining": {"cooldown": "1s"},
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": "cells"}, "spec": spec
    }  # fmt: skip
    file = folder / "system.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("cells")
    system = Live(write(folder), StateDir(folder / ".capstan"))
    try:
        system.start()
        yield system
    finally:
        system.stop()
    assert not left_behind(folder)


def test_a_challenger_is_promoted_after_enough_requests_however_few_days_pass(running: Live) -> None:
    champion, before = running.champion, running.last_event
    rows, truth = cells()
    running.inject(running.model_of(champion), "again")
    running.eventually(lambda: running.rollout is not None and running.rollout.step_since is not None)

    # Seven blocks need 140 requests and one that shows that the last is full: with fewer nothing passes.
    running.answered(rows[: 6 * BLOCK], truth[: 6 * BLOCK])
    running.supervisor.look()
    assert "AnalysisSucceeded" not in running.reasons(before)
    assert running.rollout is not None
    assert running.rollout.step == 0

    asked = 6 * BLOCK
    while asked < len(rows) and "Promoted" not in running.reasons(before):
        running.answered(rows[asked : asked + BLOCK], truth[asked : asked + BLOCK])
        running.supervisor.look()
        asked += BLOCK
    running.eventually(lambda: "Promoted" in running.reasons(before), what="\n".join(running.story()))
    assert running.champion.name != champion.name


def test_a_new_training_of_the_same_table_is_judged_on_the_same_rows(running: Live) -> None:
    known = {version.name for version in running.local.registry.versions()}
    commands.issue(running.local.store, running.name, "retrain")
    running.eventually(
        lambda: {version.name for version in running.local.registry.versions()} != known, seconds=240
    )
    (first, *_, last) = sorted(running.local.registry.versions(), key=lambda version: version.as_of)
    assert last.metrics == first.metrics
    # The next test begins a rollout of its own.
    running.eventually(lambda: running.rollout is not None)
    commands.issue(running.local.store, running.name, "abort")
    running.eventually(lambda: running.rollout is None)


def test_a_notebook_brings_it_back_asks_tells_what_was_true_and_takes_it_down(running: Live) -> None:
    """Last of its group, because it needs the state directory for itself."""
    champion = running.champion.name
    running.stop()
    system = capstan.System.from_file(running.file, state=running.state.root)
    rows, truth = cells()
    frame = pd.DataFrame(rows[:BLOCK], index=range(100, 100 + BLOCK))
    told: list[str] = []
    with system.up(page_port=free_port(), gateway_port=free_port(), tell=told.append):
        answers = system.predict(frame)
        assert list(answers.index) == list(frame.index)
        assert set(answers["version"]) == {champion}
        assert answers["request_id"].nunique() == BLOCK
        first = system.feedback(answers.assign(malignant=truth[:BLOCK]))
        assert (first.accepted, first.matched, first.refused) == (BLOCK, BLOCK, ())
        assert system.feedback(answers.assign(malignant=truth[:BLOCK])).duplicates == BLOCK
        # The same file is no change, and what runs keeps its ports.
        assert system.up().gateway == system.gateway
        assert f"gateway  {system.gateway}/predict" in "".join(told)
        assert system.versions.loc[champion, "role"] == "champion"

        # A model that was fitted here is served by a process of its own, and its rollout begins.
        learnt = pd.DataFrame(rows)
        made = system.deploy(
            LogisticRegression(max_iter=500).fit(learnt, truth), sample=learnt.assign(malignant=truth)
        )
        assert made.metrics["rocAuc"] > 0.9
        deadline = time.monotonic() + 120
        while f"step 1 (shadow 100 %) of {made.version}" not in set(system.story()["message"]):
            assert time.monotonic() < deadline, system.story().to_string()
            time.sleep(0.5)
        assert system.versions.loc[made.version, "role"] == "challenger"
    assert system.gateway is None
    assert not left_behind(running.state.root.parent)

"""The report of a run's data loads nothing, escapes what others wrote, and tells drift from the champion's data."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from unit.evaluation.test_card import EVIL, Tags
from unit.pipelines.test_own_metric import AS_OF, EARLIER, Trained, document, write_home

from capstan.data.fingerprint import table_digest
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.errors import InvalidDataError
from capstan.evaluation.data_report import DATA_REPORT
from capstan.training.job import Job, Places, write_job
from capstan_pipelines.steps import check, extract
from capstan_pipelines.steps.cases import read_table
from capstan_pipelines.steps.documents import read_document
from capstan_pipelines.steps.register import Made

COLUMN = 'on <b onclick="x()">time</b> & more'


def changed(spec: dict[str, Any], *checks: dict[str, Any]) -> dict[str, Any]:
    made = deepcopy(spec)
    made["spec"]["training"]["candidates"] = made["spec"]["training"]["candidates"][1:2]
    made["spec"]["data"]["checks"] = list(checks)
    made["spec"]["evaluation"]["gates"] = []
    made["spec"]["features"].append({"name": "kind", "column": COLUMN, "categorical": {"encode": "OneHot"}})
    return made


def home_of(folder: Path) -> Path:
    """Half of the last ten days are much later than before, and a category and a column have evil names."""
    home = write_home(folder)
    lines = (home / "rows.csv").read_text().splitlines()
    last = (AS_OF - timedelta(days=14)).isoformat()
    shifted = [f'{lines[0]},"{COLUMN.replace(chr(34), chr(34) * 2)}"']
    for at, line in enumerate(lines[1:]):
        cells = line.split(",")
        if cells[1] > last:
            cells[3] = f"{float(cells[3]) + 3:.3f}"
        evil = EVIL.replace('"', '""')
        shifted.append(",".join(cells) + (f',"{evil}"' if at % 3 else ",plain"))
    (home / "rows.csv").write_text("\n".join(shifted) + "\n")
    return home


DROP = {"column": "delay", "min": -2.2, "severity": "Drop"}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = home_of(tmp_path_factory.mktemp("visits") / "home")
    spec = changed(document(choose={"metric": "rocAuc"}), DROP)
    return Trained(tmp_path_factory.mktemp("first"), home, spec, as_of=EARLIER)


@pytest.fixture(scope="module")
def second(first: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    champion = replace(first.packaged(), as_of=EARLIER)
    job = Job(first.folder / "job")
    return Trained(tmp_path_factory.mktemp("second"), Path(job.places.base_dir), job.spec, champion=champion)


@pytest.fixture(scope="module")
def html(second: Trained) -> str:
    return (second.folder / "job" / DATA_REPORT).read_text()


def test_it_loads_and_runs_nothing_and_is_small(html: str) -> None:
    found = Tags(html).found
    assert not {tag for tag, _ in found} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "image",
        "a",
        "form",
        "b",
    }
    for tag, attrs in found:
        assert not [name for name in attrs if name.startswith("on")], tag
        assert not {"src", "href", "xlink:href"} & set(attrs), tag
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html
    assert len(html) < 40_000


def test_hostile_names_and_values_are_text(html: str) -> None:
    assert EVIL not in html
    assert "<b onclick" not in html
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in html
    assert "on &lt;b onclick=" in html


def test_it_tells_checks_parts_missing_values_strengths_and_sources(html: str, second: Trained) -> None:
    for title in (
        "Checks",
        "Parts",
        "Missing values",
        "With the label",
        "Distributions",
        "Where it comes from",
    ):
        assert f"<h2>{title}</h2>" in html, title
    document = second.evaluation["data"]
    (broken,) = document["checks"]["broken"]
    assert broken["severity"] == "Drop"
    assert broken["rows"] == document["checks"]["left_out"] > 0
    assert len(broken["listed"]) == min(20, broken["rows"])
    assert f"<th scope='row'>{broken['listed'][0][0]}</th>" in html
    assert document["parts"] == ["training", "validation", "test"]
    (source,) = document["lineage"]["sources"]
    home = Path(Job(second.folder / "job").places.base_dir)
    assert (source["files"], source["bytes"]) == (1, (home / "rows.csv").stat().st_size)
    assert str(home) not in html, "no path is told"


def test_drift_is_told_where_the_new_rows_differ_from_those_of_the_champion(
    html: str, second: Trained
) -> None:
    drift = second.evaluation["data"]["drift"]
    assert drift["champion"] == "v1"
    features = {one["name"]: one["groups"] for one in drift["features"]}
    assert features["delay"]["newer rows"]["distance"] > 0.5
    assert features["delay"]["newer rows"]["distance"] > features["delay"]["all rows"]["distance"]
    kind = features["kind"]["newer rows"]
    assert kind["distance"] < kind["threshold"]
    assert html.count(" drifts") >= 1


def test_without_a_champion_it_says_so(first: Trained) -> None:
    assert first.evaluation["data"]["drift"]["champion"] is None
    assert "There is no champion yet" in (first.folder / "job" / DATA_REPORT).read_text()


def test_a_champion_that_cannot_be_read_is_told_and_the_run_goes_on(
    second: Trained, first: Trained, tmp_path: Path
) -> None:
    from capstan_pipelines.steps.data_drift import drift_from_champion

    job = Job(second.folder / "job")
    assert job.champion is not None
    (tmp_path / "champion.json").write_text(
        json.dumps({**json.loads((job.folder / "champion.json").read_text()), "digest": f"sha256:{'0' * 64}"})
    )
    for name in ("spec.json", "places.json", "request.json"):
        (tmp_path / name).write_bytes((job.folder / name).read_bytes())
    found = drift_from_champion(Job(tmp_path), read_table(second.folder / "table"), lambda _: None)
    assert found["champion"] == "v1"
    assert found["why_not"]


def test_why_a_champion_cannot_be_read_is_told_by_the_step_and_no_path_is_in_the_report(
    second: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capstan_pipelines.steps import data_drift

    def unreadable(*_: object) -> Path:
        raise FileNotFoundError(2, "No such file or directory", "/stores/of/somebody/detectors")

    monkeypatch.setattr(data_drift, "champion_folder", unreadable)
    said: list[str] = []
    job = Job(second.folder / "job")
    found = data_drift.drift_from_champion(job, read_table(second.folder / "table"), said.append)
    assert found["why_not"] == "they could not be read, the message of the step says why"
    assert len(said) == 1
    assert "/stores/of/somebody" in said[0]


def test_the_version_carries_digest_and_commit_as_tags_and_the_registry_gets_the_report(
    second: Trained,
) -> None:
    second.packaged()
    files = (second.folder / name for name in ("report", "choice", "evaluation", "package"))
    made = Made(
        Job(second.folder / "job"),
        *(read_document(str(file)) for file in files),
        manifests={0: read_document(str(second.model / "manifest.json"))},
    )
    digest = table_digest(read_table(second.folder / "table"))
    assert made.tags["data.digest"] == digest
    assert made.tags["code.commit"].startswith("unknown: ")
    report = made.data_report[DATA_REPORT]
    assert digest in report
    assert "<h2>Groups</h2>" in report
    lineage = next(one for one in second.evaluation["details"]["tables"] if one["title"] == "Lineage")
    assert lineage["cells"][0][:2] == [
        digest.removeprefix("sha256:")[:12],
        read_table(second.folder / "table").num_rows,
    ]


def test_a_run_tells_when_it_began_and_is_judged_by_its_time_where_it_is_no_backtest(
    first: Trained, tmp_path: Path
) -> None:
    from capstan_pipelines.steps.register import _seconds_since

    seconds = _seconds_since(str(first.folder / "evaluation"))
    assert seconds is not None
    assert 0 < seconds < 3600
    spec = deepcopy(Job(first.folder / "job").spec)
    spec["spec"]["requirements"] = {"trainingTime": "1s"}
    for name in ("places.json", "request.json"):
        (tmp_path / name).write_bytes((first.folder / "job" / name).read_bytes())
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    documents = ({}, {"chosen": []}, first.evaluation, {"gates": []})
    assert Made(Job(tmp_path), *documents).gates == []
    (gate,) = Made(Job(tmp_path), *documents, is_judged_by_time=True, seconds=seconds).gates
    assert gate.passed is False
    assert gate.metric == "trainingTime"


def test_a_run_that_a_check_stops_leaves_its_report_behind(first: Trained, tmp_path: Path) -> None:
    before = Job(first.folder / "job")
    spec = changed(document(choose={"metric": "rocAuc"}), {"column": "delay", "min": 0})
    request = TrainingRequest(
        RunName("run"), SystemName("visits"), Trigger(TriggerKind.INITIAL, AS_OF, "a test"), None
    )
    places = Places(before.places.base_dir, str(tmp_path / "secrets"), "", "", str(tmp_path / "bentos"))
    write_job(tmp_path / "job", request=request, spec=spec, places=places, champion=None)
    extract.run(str(tmp_path / "job"), str(tmp_path / "table"))
    with pytest.raises(InvalidDataError, match="1 rule is broken"):
        check.run(str(tmp_path / "job"), str(tmp_path / "table"), str(tmp_path / "report"))
    html = (tmp_path / "job" / DATA_REPORT).read_text()
    assert "delay is below the minimum 0" in html
    assert "<h2>Distributions</h2>" in html


def test_a_report_that_cannot_be_made_is_told_and_costs_nothing_else(
    first: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capstan_pipelines.steps import data_described

    monkeypatch.setattr(data_described, "describe_run", lambda *_: 1 / 0)
    said: list[str] = []
    job = Job(first.folder / "job")
    assert (
        data_described.tell_data(job, read_table(first.folder / "table"), {}, None, None, said.append) is None
    )
    assert said == ["the report of the data could not be written: ZeroDivisionError: division by zero"]

"""A system in Python says what the commands say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from unit.cli.conftest import Machine

import capstan
from capstan.errors import InvalidSpecError, NotFoundError


def changed(flights: capstan.System, **spec: Any) -> None:
    document = json.loads(flights.file.read_text())
    document["spec"].update(spec)
    flights.file.write_text(json.dumps(document))


def test_importing_capstan_imports_nothing_heavy() -> None:
    heavy = ("pandas", "numpy", "pydantic", "duckdb", "mlflow", "pyarrow", "httpx")
    code = (
        "import sys, capstan; capstan.System.from_file\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'capstan' has no attribute 'Sistem'"):
        capstan.Sistem  # noqa: B018


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"system\.yaml: there is no such file"):
        capstan.System.from_file(tmp_path / "system.yaml")


def test_the_state_is_that_of_the_commands(
    flights: capstan.System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAPSTAN_STATE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert capstan.System.from_file(flights.file).state == tmp_path / ".capstan"
    monkeypatch.setenv("CAPSTAN_STATE", str(tmp_path / "other"))
    assert capstan.System.from_file(flights.file).state == tmp_path / "other"


def test_validate_returns_the_mistakes_that_the_command_prints(
    flights: capstan.System, serving: Machine
) -> None:
    changed(flights, retraining={"cooldown": "14 days"})
    checked = flights.validate(data=False)
    assert not checked
    said = json.loads(_command("validate", str(flights.file), "--json"))
    assert [vars(one) for one in checked.mistakes] == said["mistakes"]
    assert "retraining.cooldown" in checked._repr_html_()
    assert "retraining.cooldown" in repr(checked)
    with pytest.raises(InvalidSpecError, match=r"retraining\.cooldown"):
        checked.require()


def test_validate_reads_the_data(tmp_path: Path) -> None:
    from unit.cli.test_plan import small_traffic

    checked = capstan.System.from_file(small_traffic(tmp_path, 84)).validate()
    assert checked
    assert checked.found is not None
    assert [part.name for part in checked.found.parts] == ["training", "validation", "test"]
    assert "<th" in checked._repr_html_()
    checked.require()


def test_plan_returns_what_the_command_prints(flights: capstan.System, serving: Machine) -> None:
    assert flights.plan().changes == []
    changed(flights, suspend=True)
    plan = flights.plan()
    said = json.loads(serving.run("plan", str(flights.file), "--json").stdout)
    assert [one.path for one in plan.changes] == ["suspend"] == [one["path"] for one in said["changes"]]
    assert plan.consequences == said["consequences"]
    assert '<td style="text-align:left">suspend</td>' in plan._repr_html_()
    assert "suspend" in repr(plan)


def test_explain_is_the_commands_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    found = capstan.System.explain("data.split")
    assert found.path == "data.split"
    assert repr(found).splitlines() == _command("explain", "data.split").rstrip("\n").splitlines()
    assert "byTime" in found._repr_html_()
    with pytest.raises(NotFoundError, match="did you mean"):
        capstan.System.explain("data.spilt")


def test_runs_are_a_frame_of_what_the_command_lists(flights: capstan.System, serving: Machine) -> None:
    runs = flights.runs()
    said = json.loads(serving.run("runs", "--json").stdout)["trainings"]
    assert list(runs.index) == [one["run"] for one in said] != []
    assert list(runs["version"]) == [one["version"] for one in said]
    assert str(runs["as_of"].dtype).endswith("UTC]")


def test_where_nothing_ever_ran_runs_versions_and_story_are_empty_frames(
    flights: capstan.System, tmp_path: Path
) -> None:
    fresh = capstan.System.from_file(flights.file, state=tmp_path / "nothing")
    assert list(fresh.runs().columns)[:2] == ["trigger", "reason"]
    assert list(fresh.versions.columns) == ["role", "run", "as_of", "digest"]
    assert list(fresh.story().columns) == ["at", "reason", "message"]
    assert not (tmp_path / "nothing").exists()


def test_the_story_is_that_of_the_store(flights: capstan.System, serving: Machine) -> None:
    story = flights.story()
    told = [event for _, event in serving.world.store.events()]
    assert list(story["message"]) == [event.message for event in told] != []
    assert list(story["at"]) == [event.at for event in told]


def test_a_system_shows_itself(flights: capstan.System) -> None:
    assert "flights" in repr(flights)
    assert str(flights.file) in flights._repr_html_()
    flights.file.write_text("{}")
    assert "with mistakes" in repr(flights)


def _command(*arguments: str) -> str:
    from typer.testing import CliRunner

    from capstan.cli.main import app

    return CliRunner().invoke(app, list(arguments)).stdout

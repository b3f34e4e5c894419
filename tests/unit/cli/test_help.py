"""Every command explains itself by an example, and the list of commands is there at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from capstan.cli.main import app

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
PROMISED = (
    *("up", "down", "status", "validate", "explain", "plan", "train", "promote", "pause", "resume", "abort"),
    *("rollback", "retrain", "approve", "runs", "logs", "report", "doctor", "demo", "power", "image"),
    *("render", "push", "experiment", "compare", "open"),
)
HEAVY = (
    *("mlflow", "kfp", "bentoml", "alibi_detect", "duckdb", "sklearn", "scipy", "numpy", "pandas", "pyarrow"),
    *("pydantic", "httpx", "starlette", "uvicorn", "matplotlib"),
)


def test_every_promised_command_is_there() -> None:
    assert set(COMMANDS) == set(PROMISED)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_holds_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: capstan {command}" in result.output


@pytest.mark.parametrize(
    "command",
    sorted(set(COMMANDS) - {"validate", "explain", "power", "plan", "render", "push", "experiment"}),
)
def test_commands_of_a_running_system_name_its_directory(command: str) -> None:
    assert "--state" in CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"up", "experiment", "power"}))
def test_machines_get_json(command: str) -> None:
    assert "--json" in CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom capstan.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "Usage" in done.stdout

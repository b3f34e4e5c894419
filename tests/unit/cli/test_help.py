"""Every command explains itself by an example, and the list of commands is there at once."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from capstan.cli.main import Group, app, summary_of

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
PROMISED = (
    *("up", "down", "status", "validate", "explain", "plan", "train", "promote", "pause", "resume", "abort"),
    *("rollback", "retrain", "approve", "runs", "logs", "report", "doctor", "replay", "power", "image"),
    *("render", "push", "experiment", "compare", "open", "init", "predict", "feedback", "ls", "traffic"),
    *("drift", "profile", "diff", "import", "demo", "backtest", "calibrate", "audit", "dashboards", "why"),
    *("trigger", "evaluate", "card", "export", "etl", "labels", "features", "forget", "anonymity"),
)
HEAVY = (
    *("mlflow", "kfp", "bentoml", "alibi_detect", "duckdb", "sklearn", "scipy", "numpy", "pandas", "pyarrow"),
    *("pydantic", "httpx", "starlette", "uvicorn", "matplotlib"),
    *(
        "rich",
        "typer.rich_utils",
        "orjson",
        "yaml",
        "importlib.metadata",
        "email",
        "asyncio",
        "urllib.request",
    ),
    *("capstan.cli.console", "capstan.errors", "capstan.spec", "capstan.domain", "capstan.api"),
)
"""What the list of verbs is told without; each costs it between 10 and 2,000 ms."""


def test_every_promised_command_is_there() -> None:
    assert set(COMMANDS) == set(PROMISED)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_holds_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: capstan {command}" in result.output


@pytest.mark.parametrize(
    "command",
    sorted(
        set(COMMANDS)
        - {
            "validate",
            "explain",
            "power",
            "plan",
            "render",
            "push",
            "evaluate",
            "experiment",
            "init",
            "profile",
            "dashboards",
        }
    ),
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
    assert all(f"\n  {command} " in done.stdout for command in PROMISED)


def test_the_list_of_verbs_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom capstan.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*[name for name in sys.modules if name.startswith('capstan.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) == {"capstan.cli", "capstan.cli.app", "capstan.cli.main"}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_list_says_of_a_verb_is_the_first_paragraph_of_its_help(command: str) -> None:
    group = typer.main.get_command(app)
    help_ = group.commands[command].help  # type: ignore[attr-defined]
    assert summary_of(command) == " ".join(help_.partition("\n\n")[0].split())


def test_a_verb_whose_text_is_not_there_is_imported_for_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capstan.cli.main.summary_of", lambda verb: "")
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Show the end of a log, or list all logs." in text


def test_the_list_of_verbs_stands_in_groups_and_tells_each_whole() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    groups = [line.removesuffix(":") for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert groups == ["Options", *Group]
    assert not [line for line in text.splitlines() if line.endswith("...") and line.startswith("  ")]
    assert all(f"\n  {command} " in text for command in PROMISED)


def test_options_of_a_cluster_stand_apart() -> None:
    text = CliRunner().invoke(app, ["status", "--help"], env={"COLUMNS": "200"}).output
    usual, _, cluster = text.partition("In a cluster:\n")
    assert "--json" in usual
    assert [line.split()[0].rstrip(",") for line in cluster.splitlines() if line.startswith("  -")] == [
        "--context",
        "-n",
    ]


def test_a_verb_imports_no_other_verb() -> None:
    code = (
        "import sys\nfrom capstan.cli.main import app\n"
        "try:\n    app(['plan', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(*[name for name in sys.modules if name.startswith('capstan.cli.verbs.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["capstan.cli.verbs.plan"]


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"capstan {version('capstan-mlops')}\n"


def test_a_shell_completes_verbs() -> None:
    asked = {"_CAPSTAN_COMPLETE": "complete_bash", "COMP_WORDS": "capstan ro", "COMP_CWORD": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("capstan")], env=asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["rollback"]


def test_a_verb_that_is_not_there_is_told_with_what_is_meant() -> None:
    result = CliRunner().invoke(app, ["stauts"])
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.output

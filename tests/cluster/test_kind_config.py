"""kind takes `kind-config.yaml`; its own loader reads it, since kind itself needs Docker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "kind-config.yaml"


def _load(config: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("go") is None:
        pytest.fail("Go is needed to build kind's loader: https://go.dev/dl")
    return subprocess.run(
        ["go", "run", ".", str(config)], cwd=HERE / "kind_config", capture_output=True, text=True, check=False
    )


def test_kind_takes_our_configuration() -> None:
    done = _load(CONFIG)
    assert done.returncode == 0, done.stderr
    name, role, image = done.stdout.split()
    assert (name, role) == ("capstan", "control-plane")
    assert "@sha256:" in image


def test_the_loader_refuses_what_kind_does_not_know(tmp_path: Path) -> None:
    wrong = tmp_path / "kind.yaml"
    wrong.write_text(CONFIG.read_text().replace("role: control-plane", "roll: control-plane"))
    done = _load(wrong)
    assert done.returncode != 0
    assert "roll" in done.stderr

"""A process that lives beside a loop starts without libraries that only some decisions need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("scipy.stats", "pandas", "sklearn", "mlflow", "kfp", "alibi_detect", "matplotlib", "optuna")


@pytest.mark.parametrize(
    "module", ["capstan.embedded.wiring", "capstan.monitoring.monitor", "capstan_operator.main"]
)
def test_a_start_imports_no_library_that_only_some_decisions_need(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

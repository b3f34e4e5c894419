"""The folders of the project must not shadow the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_platform_folder_is_no_package():
    """`platform/__init__.py` would shadow the standard library's `platform` for everything started in the root."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "tests" / "platform").exists()


def test_standard_library_platform_is_found_from_the_root():
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3.")


def test_tests_are_no_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []

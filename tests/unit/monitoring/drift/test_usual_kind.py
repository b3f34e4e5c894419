"""Who measures drift where nobody says so."""

from __future__ import annotations

import importlib.util

import pytest

from capstan.monitoring.drift.fitted_detectors import usual_kind


def test_alibi_detect_measures_where_it_is_installed() -> None:
    assert usual_kind() == "AlibiDetect"


def test_scipy_measures_where_alibi_detect_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "alibi_detect" else there(name, *rest),
    )
    assert usual_kind() == "Scipy"

"""Observe, plan, apply, and keep the status: the loop that every substrate shares."""

from __future__ import annotations

from capstan.domain.actions import Waiting
from capstan.engine.outcome import Outcome
from capstan.engine.reconcile import Engine

__all__ = ["Engine", "Outcome", "Waiting"]

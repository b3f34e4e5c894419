"""Rows from sources through transforms into files or databases, counted at each step."""

from __future__ import annotations

from capstan.data.etl.job import run_etl
from capstan.data.etl.report import Dropped, EtlReport, EtlStep

__all__ = ["Dropped", "EtlReport", "EtlStep", "run_etl"]

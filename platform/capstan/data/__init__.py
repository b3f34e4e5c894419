"""From sources to a table of cases that is right for a given moment: read, checked and parted."""

from __future__ import annotations

from capstan.data.checks import CheckReport, Violation, check_table
from capstan.data.extraction import (
    LABEL_AVAILABLE_AT,
    agreements_told,
    extract,
    given_columns,
    needed_columns,
    trainable,
)
from capstan.data.leakage import find_leaks, parts_of_label, refuse_leaks, told_alone
from capstan.data.parts import PartedCases, part_cases
from capstan.data.privacy import treated_columns
from capstan.data.requests import ColumnSchema, request_schema

__all__ = [
    "LABEL_AVAILABLE_AT",
    "CheckReport",
    "ColumnSchema",
    "PartedCases",
    "Violation",
    "agreements_told",
    "check_table",
    "extract",
    "find_leaks",
    "given_columns",
    "needed_columns",
    "part_cases",
    "parts_of_label",
    "refuse_leaks",
    "request_schema",
    "told_alone",
    "trainable",
    "treated_columns",
]

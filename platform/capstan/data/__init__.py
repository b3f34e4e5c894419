"""From sources to a table of cases that is right for a given moment: read, checked and parted."""

from __future__ import annotations

from capstan.data.extraction import LABEL_AVAILABLE_AT, extract, needed_columns, trainable

__all__ = ["LABEL_AVAILABLE_AT", "extract", "needed_columns", "trainable"]

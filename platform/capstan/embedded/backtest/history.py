"""What all backtests of one process share of a history: rows as columns, and the models that were asked about them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capstan.embedded.backtest.loaded_model import LoadedModel
from capstan.embedded.backtest.recorded_columns import RecordedColumns
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.recording.collector.declarations import kinds_of

MOST_MODELS = 32
"""Models that are held at once, each with what it said; those that were asked longest ago are loaded again."""


class History:
    """Recorded traffic with what was worked out about it."""

    def __init__(self, traffic: RecordedTraffic, spec: Mapping[str, Any]) -> None:
        """`spec` is the file's, which says how inputs are stored."""
        self.traffic = traffic
        self.kinds = kinds_of(spec)
        self.columns = RecordedColumns.of(traffic, self.kinds)
        """None: each request is asked by itself."""
        self._models: OrderedDict[Path, LoadedModel] = OrderedDict()

    def model(self, folder: Path) -> LoadedModel:
        """The model of a verified folder, whose name follows from its content; raises InvalidDataError."""
        if folder not in self._models:
            self._models[folder] = LoadedModel(folder, self.columns)
        self._models.move_to_end(folder)
        while len(self._models) > MOST_MODELS:
            self._models.popitem(last=False)
        return self._models[folder]

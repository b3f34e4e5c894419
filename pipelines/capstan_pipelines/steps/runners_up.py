"""What the step `refit` leaves of a run's runners-up: one folder with a model folder for each, by its rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capstan_pipelines.steps.documents import read_document, write_document

_INDEX = "index.json"
"""Stands in the folder of every run: an artifact store keeps no empty folder."""


@dataclass(frozen=True)
class RunnersUp:
    """Which of them are there."""

    made: Mapping[int, str]
    """Its candidate by the rank, of which 1 is the first runner-up."""
    left_out: Mapping[str, str]
    """Candidate that is not there -> why."""

    @staticmethod
    def folder(all_of_them: str, rank: int) -> Path:
        """The model folder of one."""
        return Path(all_of_them) / str(rank)

    def write(self, all_of_them: str) -> None:
        write_document(
            str(Path(all_of_them) / _INDEX),
            {
                "made": [{"rank": rank, "candidate": name} for rank, name in self.made.items()],
                "left_out": dict(self.left_out),
            },
        )

    @classmethod
    def read(cls, all_of_them: str) -> RunnersUp:
        found = read_document(str(Path(all_of_them) / _INDEX))
        return cls({one["rank"]: one["candidate"] for one in found["made"]}, found["left_out"])

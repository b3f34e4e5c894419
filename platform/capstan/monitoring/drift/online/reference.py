"""What lots of rows are compared with, and how unlike they may be: kept beside the references of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import orjson

from capstan.files import write_whole
from capstan.monitoring.drift.online.detectors import (
    OnlineDetector,
    OnlineKind,
    OwnCramerVonMises,
    OwnFisherExact,
)

FILE, FORMAT = "online.json", 2


@dataclass(frozen=True)
class OnlineColumn:
    """The lots of one feature, or of one output, at training time."""

    feature: str
    """As in the reference of windows; `:` and the name of an output."""
    detector: OnlineKind
    category: int | None
    """Code of the category that is yes, the most frequent one; None: the feature is a number."""
    means: tuple[float, ...]
    """Of lots, in order of size; empty for yes and no."""
    lots: int
    yes: int
    """Of the lots those that say yes; 0 for a number."""
    usual: tuple[float, ...]
    """Of each size, the largest score of three months without a drift, usually: scores count in units of it."""

    @property
    def is_output(self) -> bool:
        """Whether the watched version alone can give it."""
        return self.feature.startswith(":")

    def begin(self, sizes: Sequence[int], *, by_alibi: bool = False) -> OnlineDetector:
        """A detector that has seen no row; raises MissingToolError where alibi-detect is wanted and not there."""
        if by_alibi:
            # Only a monitor that was told to imports it.
            from capstan.monitoring.drift.online.alibi import AlibiCramerVonMises, AlibiFisherExact

            if self.detector == "CramerVonMises":
                return AlibiCramerVonMises(self.means, sizes)
            return AlibiFisherExact(self.lots, self.yes, sizes)
        if self.detector == "CramerVonMises":
            return OwnCramerVonMises(self.means, sizes)
        return OwnFisherExact(self.lots, self.yes, sizes)


@dataclass(frozen=True)
class OnlineReference:
    """All columns that are watched as rows come."""

    detectors: tuple[OnlineKind, ...]
    """Those that the file named."""
    cell: timedelta
    """Time of a lot."""
    least: int
    """Rows of a lot; hours with fewer are joined."""
    sizes: tuple[int, int]
    """Lots that are looked at together."""
    columns: tuple[OnlineColumn, ...]
    level: float | None
    """What the score of any column must exceed, in units of what is usual for it; None: it could not be told."""
    alarms: float | None = None
    """False alarms a month at the level, on days of the training drawn again."""
    why_not: str = ""
    """Why there is no level."""
    left_out: tuple[str, ...] = ()
    """Features and outputs that are not watched so, and why."""

    def save(self, folder: Path) -> None:
        """Write it into a folder of references; raises DiskFullError."""
        document = {"format": FORMAT, **asdict(self), "cell": self.cell.total_seconds()}
        write_whole(folder / FILE, orjson.dumps(document, option=orjson.OPT_INDENT_2), mode=0o644)

    @classmethod
    def load(cls, folder: Path) -> OnlineReference | None:
        """What `save` wrote; None: nothing. Raises OSError, ValueError, KeyError or TypeError."""
        path = folder / FILE
        if not path.exists():
            return None
        document: dict[str, Any] = orjson.loads(path.read_bytes())
        if document.pop("format") != FORMAT:
            raise ValueError(f"{FILE} is not of format {FORMAT}")
        columns = tuple(_column(words) for words in document.pop("columns"))
        unknown = {*document["detectors"], *(one.detector for one in columns)} - set(get_args(OnlineKind))
        if unknown:
            raise ValueError(f"no online detector is called {', '.join(sorted(unknown))}")
        return cls(
            **{
                **document,
                "detectors": tuple(document["detectors"]),
                "cell": timedelta(seconds=document["cell"]),
                "sizes": tuple(document["sizes"]),
                "columns": columns,
                "left_out": tuple(document["left_out"]),
            }
        )


def _column(words: dict[str, Any]) -> OnlineColumn:
    return OnlineColumn(**{**words, "means": tuple(words["means"]), "usual": tuple(words["usual"])})

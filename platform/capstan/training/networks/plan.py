"""What a network learns and from which rows, free of PyTorch and of the file's grammar; other processes read it too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

Loss = Literal["CrossEntropy", "Squared", "Absolute", "Huber"]
_LISTS = ("tables", "weights", "biases", "kernels", "kernel_biases")
_PLAN, _LEARNT = "plan.json", "learnt.npz"


@dataclass(frozen=True)
class Plan:
    """Every setting of the family, as the learning takes it."""

    layers: tuple[int, ...]
    activation: str
    outputs: int
    """1 for a number and for two classes, else one for each class."""
    numbers: int
    """Columns that are numbers."""
    embedded: tuple[tuple[int, int], ...] = ()
    """Of each column of codes how many codes there are, and how many numbers stand for one."""
    image: tuple[int, int, int] | None = None
    """Channels, height and width of the pixels that are the first of the numbers; None: none are."""
    kernels: tuple[int, ...] = ()
    """Maps that each convolution makes of them."""
    kernel: int = 3
    pool: int = 1
    dropout: float = 0.0
    optimizer: str = "Adam"
    learning_rate: float = 0.003
    momentum: float = 0.9
    schedule: str = "Constant"
    clip_norm: float | None = None
    l1: float = 0.0
    l2: float = 0.0
    entropy: float = 0.0
    focus: float = 0.0
    loss: Loss = "CrossEntropy"
    batch_rows: int = 256
    epochs: int = 40
    older_rows: int | None = None
    """How many rows are older than those that say when to stop; None: all passes are made."""
    patience: int = 0
    seed: int = 0
    is_on_gpu: bool = False


@dataclass(frozen=True)
class Table:
    """Rows as the learning takes them."""

    numbers: Singles
    """(rows, numbers), made alike."""
    codes: Codes
    """(rows, columns of codes)."""
    targets: npt.NDArray[Any]
    """(rows,): the place of each row's class, or its number made alike."""
    weights: Singles
    """(rows,), 1 on average."""
    tried_numbers: Floats
    """Some of the rows in double precision: what the network says of them is kept, as the proof of what is served."""
    tried_codes: Codes

    def write(self, folder: Path) -> None:
        for name, values in vars(self).items():
            np.save(folder / f"{name}.npy", values)

    @classmethod
    def read(cls, folder: Path) -> Table:
        """Shared with all processes that read it, and copied nowhere."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in names})


@dataclass(frozen=True)
class Learnt:
    """What came of it."""

    tables: Sequence[Floats]
    """Of each column of codes (codes, numbers)."""
    weights: Sequence[Floats]
    """Of each layer (inputs, units)."""
    biases: Sequence[Floats]
    said: Floats
    """(rows that are tried, outputs), before the last function."""
    losses: Floats = field(default_factory=lambda: np.zeros(0))
    """Mean loss of each pass over all rows, penalties included."""
    kernels: Sequence[Floats] = ()
    """Of each convolution (maps, maps before, height, width)."""
    kernel_biases: Sequence[Floats] = ()

    def write(self, folder: Path) -> None:
        """Whole, or not at all."""
        parts = {"said": self.said, "losses": self.losses}
        for name in _LISTS:
            parts |= {f"{name}{at}": values for at, values in enumerate(getattr(self, name))}
        np.savez(folder / f"half-{_LEARNT}", **parts)
        (folder / f"half-{_LEARNT}").rename(folder / _LEARNT)

    @classmethod
    def read(cls, folder: Path) -> Learnt:
        with np.load(folder / _LEARNT, allow_pickle=False) as parts:
            found = {
                name: [parts[f"{name}{at}"] for at in range(len(parts)) if f"{name}{at}" in parts]
                for name in _LISTS
            }
            return cls(**found, said=parts["said"], losses=parts["losses"])


def write_plan(plan: Plan, folder: Path) -> None:
    (folder / _PLAN).write_text(json.dumps(asdict(plan)))


def read_plan(folder: Path) -> Plan:
    document = json.loads((folder / _PLAN).read_text())
    lists: dict[str, Any] = {name: tuple(document[name]) for name in ("layers", "kernels")}
    lists["embedded"] = tuple(map(tuple, document["embedded"]))
    lists["image"] = None if document["image"] is None else tuple(document["image"])
    return Plan(**{**document, **lists})

"""Writes data/cells.csv beside this file: measures of the cells of lumps, few of them malignant, by scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

DATA = Path(__file__).parent / "data"
MALIGNANT = 40
"""Of 212, so that they are rare: one in ten of the rows."""


def prepare(target: Path = DATA) -> Path:
    """The table; a second call writes the same bytes."""
    frame = load_breast_cancer(as_frame=True).frame
    malignant = frame.pop("target") == 0
    frame.columns = [name.replace(" ", "_") for name in frame.columns]
    frame.insert(0, "id", [f"lump-{row}" for row in range(len(frame))])
    frame["malignant"] = malignant
    rare = np.flatnonzero(malignant)[:MALIGNANT]
    kept = np.sort(np.concatenate([np.flatnonzero(~malignant), rare]))
    target.mkdir(parents=True, exist_ok=True)
    file = target / "cells.csv"
    frame.iloc[kept].to_csv(file, index=False)
    return file


if __name__ == "__main__":
    sys.stdout.write(f"{prepare()}: written\n")

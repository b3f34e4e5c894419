"""Writes data/wines.csv beside this file: what a chemist measured of 178 wines of three cultivars, by scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_wine

DATA = Path(__file__).parent / "data"
CULTIVARS = ("Barolo", "Grignolino", "Barbera")


def prepare(target: Path = DATA) -> Path:
    """The table; a second call writes the same bytes."""
    frame = load_wine(as_frame=True).frame
    cultivar = frame.pop("target").map(dict(enumerate(CULTIVARS)))
    frame.columns = [name.replace("/", "_") for name in frame.columns]
    frame.insert(0, "id", [f"wine-{row}" for row in range(len(frame))])
    frame["cultivar"] = cultivar
    target.mkdir(parents=True, exist_ok=True)
    file = target / "wines.csv"
    frame.to_csv(file, index=False)
    return file


if __name__ == "__main__":
    sys.stdout.write(f"{prepare()}: written\n")

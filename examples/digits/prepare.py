"""Writes data/digits.csv and a PNG for each of its rows beside this file: digits that people wrote, by scikit-learn."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

DATA = Path(__file__).parent / "data"
WHITE = 16
"""Of scikit-learn's levels."""


def prepare(target: Path = DATA) -> Path:
    """The table and its images; a second call writes the same bytes."""
    digits = load_digits()
    pictures = target / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    file = target / "digits.csv"
    with file.open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(["id", "picture", "digit"])
        for row, (image, digit) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
            levels = np.round(image * 255 / WHITE).astype(np.uint8)
            Image.fromarray(levels).save(pictures / f"{row:04}.png")
            table.writerow([f"digit-{row}", f"{row:04}.png", f"d{digit}"])
    return file


if __name__ == "__main__":
    sys.stdout.write(f"{prepare()}: written\n")

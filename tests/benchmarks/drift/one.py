"""One detector on one size, in an environment of its own: prints a line of JSON. Started by run.py."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings

import numpy as np

warnings.simplefilter("ignore")
COLUMNS = 20


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Reference of 10,000 rows and a window; a quarter of the columns is shifted."""
    rng = np.random.default_rng(0)
    shift = np.where(np.arange(COLUMNS) % 4 == 0, 0.2, 0.0)
    return rng.normal(size=(10_000, COLUMNS)), rng.normal(size=(rows, COLUMNS)) + shift


def sketch(reference: np.ndarray, window: np.ndarray):
    from capstan.monitoring.drift.sketch import Sketch

    columns = [np.ascontiguousarray(column) for column in window.T]
    fitted = [np.ascontiguousarray(column) for column in reference.T]

    def run() -> list[float]:
        found = []
        for sample, column in zip(fitted, columns, strict=True):
            one = Sketch(sample)
            for first in range(0, len(column), 65_536):
                one.add(column[first : first + 65_536])
            found.append(one.distance().effect)
        return found

    return run


def scipy_detector(reference: np.ndarray, window: np.ndarray):
    from capstan.monitoring.drift.distances import ks

    return lambda: [ks(reference[:, n], window[:, n]).effect for n in range(COLUMNS)]


def alibi(reference: np.ndarray, window: np.ndarray):
    from alibi_detect.cd import KSDrift

    detector = KSDrift(reference, p_val=0.05)
    return lambda: detector.predict(window)["data"]["distance"].tolist()


def evidently(reference: np.ndarray, window: np.ndarray):
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    names = [f"c{n}" for n in range(COLUMNS)]
    old, new = pd.DataFrame(reference, columns=names), pd.DataFrame(window, columns=names)

    def run() -> list[float]:
        # Its default; it tells p-values, not distances, so nothing is compared with the exact ones.
        Report([DataDriftPreset(num_method="ks")]).run(new, old).dict()
        return []

    return run


def nannyml(reference: np.ndarray, window: np.ndarray):
    import nannyml as nml
    import pandas as pd

    names = [f"c{n}" for n in range(COLUMNS)]
    old, new = pd.DataFrame(reference, columns=names), pd.DataFrame(window, columns=names)
    calculator = nml.UnivariateDriftCalculator(
        column_names=names, continuous_methods=["kolmogorov_smirnov"], chunk_number=1
    ).fit(old)

    def run() -> list[float]:
        frame = calculator.calculate(new).filter(period="analysis").to_df()
        return [float(frame[(name, "kolmogorov_smirnov", "value")].iloc[0]) for name in names]

    return run


METHODS = {
    "capstan sketch": sketch,
    "capstan scipy": scipy_detector,
    "alibi-detect": alibi,
    "evidently": evidently,
    "nannyml": nannyml,
}


def main() -> None:
    method, rows = sys.argv[1], int(sys.argv[2])
    run = METHODS[method](*data(rows))
    run()
    wall, cpu = time.perf_counter(), time.process_time()
    distances = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak, "distances": distances}))


if __name__ == "__main__":
    main()

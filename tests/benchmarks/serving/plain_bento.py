"""A BentoML service as its documentation would have it: the fitted pipeline behind one route. `MODEL` is its file."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Plain:
    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, rows: list[list[float]]) -> list[list[float]]:
        return self.pipeline.predict_proba(np.asarray(rows)).tolist()

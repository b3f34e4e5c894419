"""A model of XGBoost as the bytes that its own library writes, which hold trees and no code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError, MissingExtraError
from capstan.features.foreign.answers import Floats, numbers, probabilities

_FORMAT = "ubj"


class XgboostModel:
    """Answers rows of a data frame by the trees; holds their bytes."""

    def __init__(
        self, content: bytes, columns: Sequence[str], classes: Sequence[object] | None, *, rounds: int
    ) -> None:
        """`columns`: those that it reads, in order. `rounds`: of boosting that count, the first ones; 0: all.

        `classes`: in the order of the probabilities; None: it predicts numbers.
        """
        self.content = content
        self.feature_names_in_ = list(columns)
        self.rounds = rounds
        if classes is not None:
            self.classes_ = list(classes)
        self._booster = booster_of(content)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_booster"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._booster = booster_of(self.content)

    def predict(self, frame: Any) -> Floats:
        """(rows,)."""
        return numbers(self.answers(frame), len(frame))

    def predict_proba(self, frame: Any) -> Floats:
        """(rows, classes)."""
        return probabilities(self.answers(frame), len(frame))

    def answers(self, frame: Any) -> Any:
        """What the trees give; raises InvalidDataError."""
        matrix = np.ascontiguousarray(frame[self.feature_names_in_].to_numpy(dtype=np.float32))
        try:
            return self._booster.inplace_predict(matrix, iteration_range=(0, self.rounds))
        except Exception as error:
            raise InvalidDataError(f"XGBoost: {type(error).__name__}: {error}") from error


def booster_of(content: bytes | Path) -> Any:
    """The trees of a file or of its bytes, ready to answer on one core; raises MissingExtraError, InvalidDataError."""
    require_xgboost()
    import xgboost

    try:
        booster = xgboost.Booster(
            model_file=str(content) if isinstance(content, Path) else bytearray(content)
        )
    except Exception as error:
        raise InvalidDataError(
            f"XGBoost cannot read it as a model: {str(error).strip().splitlines()[-1]}; write it by `save_model`"
        ) from error
    # A service answers several requests at once: threads of one would only wait for those of another.
    booster.set_param({"nthread": 1})
    return booster


def parts_of(model: Any) -> tuple[bytes, list[str] | None, list[object] | None, int]:
    """Bytes, columns, classes and rounds of a Booster, of an estimator as scikit-learn has them, or of a file.

    None: it does not say them. Raises InvalidDataError, MissingExtraError.
    """
    require_xgboost()
    import xgboost

    classes = None
    if isinstance(model, str | Path):
        booster = booster_of(Path(model))
        is_estimator = booster.attr("scikit_learn") is not None
    elif isinstance(model, xgboost.Booster):
        booster, is_estimator = model, False
    else:
        is_estimator = True
        missing = getattr(model, "missing", math.nan)
        if missing is not None and not math.isnan(missing):
            raise InvalidDataError(
                f"it takes {missing:g} for a missing value, and requests send null; fit it with missing=nan"
            )
        try:
            booster = model.get_booster()
        except Exception as error:
            raise InvalidDataError(f"it is not fitted: {error}") from error
        found = getattr(model, "classes_", None)
        classes = None if found is None else [one.item() for one in np.asarray(found)]
    # An estimator that stopped early answers by its best rounds, a Booster by all.
    best = booster.attr("best_iteration") if is_estimator else None
    rounds = 0 if best is None else int(best) + 1
    if any(kind == "c" for kind in booster.feature_types or ()):
        raise InvalidDataError("it learnt from categories as numbers of pandas; fit it on numbers alone")
    columns = None if booster.feature_names is None else list(booster.feature_names)
    return bytes(booster.save_raw(_FORMAT)), columns, classes, rounds


def require_xgboost() -> None:
    """Raises MissingExtraError."""
    if find_spec("xgboost") is None:
        raise MissingExtraError("a model of XGBoost", "xgboost")

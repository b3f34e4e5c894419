"""Search of settings by Optuna's Parzen estimator (Bergstra et al. 2011), the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capstan.training.families import Dimension, SearchSpace, Values


def search(
    space: SearchSpace, trial: Callable[[Values], tuple[Any, float]], *, seed: int
) -> tuple[Any, Values, list[tuple[Values, float]]]:
    """The best model, its settings and all trials; the first trial is what the file says, the others lie around it.

    A score that is not a number never wins over one that is.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict(space.written))
    best: tuple[Any, Values, float] | None = None
    tried: list[tuple[Values, float]] = []
    for _ in range(space.trials):
        asked = study.ask()
        settings = {dimension.name: _suggested(asked, dimension) for dimension in space.dimensions}
        model, score = trial(settings)
        tried.append((settings, score))
        if score == score:
            study.tell(asked, score)
        else:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        if best is None or score > best[2] or best[2] != best[2]:
            best = (model, settings, score)
    assert best is not None
    return best[0], best[1], tried


def _suggested(asked: Any, dimension: Dimension) -> float | int:
    suggest = asked.suggest_int if dimension.is_whole else asked.suggest_float
    value: float | int = suggest(dimension.name, dimension.low, dimension.high, log=dimension.is_logarithmic)
    return value

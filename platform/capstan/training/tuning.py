"""Search of settings by Optuna's Parzen estimator (Bergstra et al. 2011), the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capstan.spec.training import GradientBoosting
from capstan.training.families import Settings


def search(
    written: GradientBoosting, trial: Callable[[Settings], tuple[Any, float]], *, trials: int, seed: int
) -> tuple[Any, Settings, list[tuple[Settings, float]]]:
    """The best model, its settings and all trials; the first trial is what the file says, the others lie around it.

    A score that is not a number never wins over one that is.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(
        {"learningRate": written.learning_rate, "iterations": written.iterations, "leaves": written.leaves}
    )
    best: tuple[Any, Settings, float] | None = None
    tried: list[tuple[Settings, float]] = []
    for _ in range(trials):
        asked = study.ask()
        settings: dict[str, float | int] = {
            "learningRate": asked.suggest_float(
                "learningRate", written.learning_rate / 3, min(1.0, written.learning_rate * 3), log=True
            ),
            "iterations": asked.suggest_int(
                "iterations", max(1, written.iterations // 2), written.iterations * 2
            ),
            "leaves": asked.suggest_int("leaves", max(2, written.leaves // 2), written.leaves * 2, log=True),
        }
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

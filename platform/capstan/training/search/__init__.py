"""Search of settings: Optuna says what to try, processes try it, and a journal keeps what was found."""

from capstan.training.search.attempt import Attempt
from capstan.training.search.searching import Progress, search
from capstan.training.search.space import Budget, Searched, budget_of, resolved, searched_of, settings_of
from capstan.training.search.trial import Found, Halving, Trial, TrialState

__all__ = [
    "Attempt",
    "Budget",
    "Found",
    "Halving",
    "Progress",
    "Searched",
    "Trial",
    "TrialState",
    "budget_of",
    "resolved",
    "search",
    "searched_of",
    "settings_of",
]

"""Writes data/rounds.csv: digits that scikit-learn ships as rounds of a contextual bandit, and two policies for them.

A context is a picture, an action names a digit, the reward is 1 if it is right. Only the reward of the action that was
taken is logged. What each policy is worth in truth is known here alone, since the pictures have labels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

DATA = Path(__file__).parent / "data"
ACTIONS = 10
SEEN, LEARN = 100, 900
"""Pictures whose label the champion knew, and rounds from which the challenger learns; the others judge."""
EXPLORED = 0.1
"""Share of the rounds in which a policy takes any action."""


def explored(best: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(rounds, actions): the best action, and all alike in the share that explores."""
    return (1 - EXPLORED) * np.eye(ACTIONS)[best] + EXPLORED / ACTIONS


def prepare(target: Path = DATA) -> dict[str, float]:
    """The table of rounds that judge; what each policy is worth in them in truth."""
    rng = np.random.default_rng(7)
    pictures, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    pictures, digits = pictures[order] / 16, digits[order]
    weak = LogisticRegression(C=0.05, max_iter=500).fit(pictures[:SEEN], digits[:SEEN])
    pictures, digits = pictures[SEEN:], digits[SEEN:]

    # The logging policy: half by what the champion believes, half at random, so each action has at least 5 %.
    logging = 0.5 * weak.predict_proba(pictures) + 0.5 / ACTIONS
    taken = np.array([rng.choice(ACTIONS, p=row / row.sum()) for row in logging])
    propensity = logging[np.arange(len(taken)), taken]
    reward = (taken == digits).astype(int)

    # The challenger learns from the log: which action was right, each round weighted by the inverse of its propensity.
    right = np.flatnonzero(reward[:LEARN])
    learnt = LogisticRegression(max_iter=2000)
    learnt.fit(pictures[right], taken[right], sample_weight=1 / propensity[right])
    # What a reward is expected to be, a model for each action; of other rounds than those that judge.
    expected = np.zeros((len(taken), ACTIONS))
    for action in range(ACTIONS):
        mine = np.flatnonzero(taken[:LEARN] == action)
        model = LogisticRegression(max_iter=2000).fit(pictures[mine], reward[mine])
        expected[:, action] = model.predict_proba(pictures)[:, 1]

    challenger, champion = explored(learnt.predict(pictures)), explored(weak.predict(pictures))
    judged = slice(LEARN, None)
    rounds = pd.DataFrame({"action": taken, "propensity": propensity, "reward": reward})[judged]
    for name, values in (("challenger", challenger), ("champion", champion), ("expected", expected)):
        for action in range(ACTIONS):
            rounds[f"{name}.{action}"] = values[judged, action]
    target.mkdir(parents=True, exist_ok=True)
    rounds.to_csv(target / "rounds.csv", index=False)
    rows = np.arange(len(digits))[judged]
    policies = {"challenger": challenger, "champion": champion, "logging policy": logging}
    return {name: float(values[rows, digits[judged]].mean()) for name, values in policies.items()}


if __name__ == "__main__":
    for policy, worth in prepare().items():
        sys.stdout.write(f"the {policy} is worth {worth:.4f} in truth\n")

"""How the answers of several models become one, as facts; what a rule does is in `capstan.tasks.combining`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from capstan.spec.tasks import LabelKind

RuleName = Literal["Any", "All", "Max", "Mean", "Weighted", "Sequence"]
RULE_NAMES: tuple[RuleName, ...] = get_args(RuleName)

RULES_OF_LABEL: Mapping[LabelKind, tuple[RuleName, ...]] = {
    "Boolean": ("Any", "All", "Max", "Mean", "Weighted"),
    "Number": ("Max", "Mean", "Weighted"),
    "Category": ("Mean", "Weighted"),
    "Relevance": ("Sequence", "Mean", "Weighted"),
}
"""Kind of label -> the rules by which answers of that kind can be combined; a kind without an entry has none."""


@dataclass(frozen=True)
class Combination:
    """The models of one system and the rule that makes one answer of theirs."""

    rule: RuleName
    models: tuple[str, ...]
    """Names, in the order of the file."""
    weights: tuple[float, ...] = ()
    """One for each model, with `Weighted`; empty otherwise."""
    keep: int = 0
    """Items of a group that the first model hands on to the second, with `Sequence`; 0 otherwise."""

    def document(self) -> dict[str, Any]:
        """As JSON, for a manifest."""
        return {
            "rule": self.rule,
            "models": list(self.models),
            "weights": list(self.weights),
            "keep": self.keep,
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Combination:
        """Raises KeyError, TypeError or ValueError for what `document` did not make."""
        rule = document["rule"]
        if rule not in RULE_NAMES:
            raise ValueError(f"there is no rule {rule!r}")
        weights = tuple(float(weight) for weight in document["weights"])
        return cls(rule, tuple(map(str, document["models"])), weights, int(document["keep"]))

    @classmethod
    def of_file(cls, spec: Mapping[str, Any]) -> Combination | None:
        """Of a file's `spec` as JSON, which its grammar has accepted; None for a system of one model."""
        models: Sequence[Mapping[str, Any]] = spec.get("models") or ()
        combine: Mapping[str, Any] | None = spec.get("combine")
        if not models or combine is None:
            return None
        return cls(
            combine["rule"],
            tuple(model["name"] for model in models),
            tuple(float(model["weight"]) for model in models if model.get("weight") is not None),
            int(combine.get("keep") or 0),
        )

"""Forms of texts, as an API server checks them: a rule in words in place of a bare regex.

The rules across fields are those of `capstan.spec.rules`, each beside its CEL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstan.spec.mistakes import PATTERN_WORDS
from capstan.spec.units import DURATION_PATTERN, QUANTITY_PATTERN, SHARE_PATTERN

LONGEST_AMOUNT = 32
"""Most characters of a duration, share or quantity. Without a bound, an API server counts a rule's cost for
megabytes.
"""
_AMOUNTS = {
    DURATION_PATTERN: "a duration: a whole number and ms, s, m, h or d, such as 90s, 12h or 7d",
    SHARE_PATTERN: "a share: a number and %, such as 80% or 2.5%",
    QUANTITY_PATTERN: "a quantity: a number and its unit, such as 50Mi, 2Gi, 500m or 1.5",
}
_LONGEST_TEXT = 253


def in_words(node: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a text with its pattern said as a rule in words: an API server tells a `pattern` as a bare regex.

    Raises KeyError for a pattern that has no words.
    """
    pattern = node.get("pattern")
    # What may be a number has no greatest length to an API server, and four such rules cost more than it allows.
    if pattern is None or "x-kubernetes-int-or-string" in node:
        return dict(node)
    amount = _AMOUNTS.get(pattern)
    words = amount or PATTERN_WORDS[pattern]
    rule = {
        "rule": f"self.matches('{_quoted(pattern)}')",
        # The API server by itself shows only the type of the value.
        "messageExpression": f'"\'" + self + "\': write {words}"',
        "message": f"write {words}",
    }
    rest = {key: value for key, value in node.items() if key != "pattern"}
    rest.setdefault("maxLength", LONGEST_AMOUNT if amount else _LONGEST_TEXT)
    return {**rest, "x-kubernetes-validations": [rule]}


def _quoted(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("'", "\\'")

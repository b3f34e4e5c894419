"""What a number must be, as a file writes it: `result < 0.05`, `result >= 1 and result <= 10`.

Comparisons of the word `result` with a number, all joined by `and` or all by `or`; nothing else is a condition, and
nothing of it is ever evaluated as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from capstan.errors import InvalidSpecError, Mistake

MOST_COMPARISONS = 4
_NUMBER = r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e-?[0-9]{1,2})?"
_COMPARISON = re.compile(rf"result *(?P<sign><=|>=|==|!=|<|>) *(?P<number>{_NUMBER})")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Comparison:
    """One comparison of the result with a number."""

    sign: str
    number: float

    def holds(self, result: float) -> bool:
        return _OPERATORS[self.sign](result, self.number)


@dataclass(frozen=True)
class Condition:
    """A parsed condition; `str` gives it as it was written."""

    text: str
    comparisons: tuple[Comparison, ...]
    is_all: bool
    """True: every comparison must hold; False: one is enough."""

    def holds(self, result: float) -> bool:
        """Whether a finite number is so; the caller keeps NaN and infinity away."""
        found = (comparison.holds(result) for comparison in self.comparisons)
        return all(found) if self.is_all else any(found)

    def __str__(self) -> str:
        return self.text


def parse_condition(text: str) -> Condition:
    """Raises InvalidSpecError for all that is no condition; the file's grammar accepts the same texts."""
    words = set(re.findall(r" +(and|or) +", text))
    found = [_COMPARISON.fullmatch(part) for part in re.split(r" +(?:and|or) +", text)]
    comparisons = tuple(Comparison(one["sign"], float(one["number"])) for one in found if one is not None)
    if len(words) > 1 or len(comparisons) < len(found) or len(found) > MOST_COMPARISONS:
        rule = "is no condition; compare `result` with numbers, such as `result < 0.05`"
        raise InvalidSpecError([Mistake("condition", f"{text!r} {rule}")])
    return Condition(text, comparisons, is_all="or" not in words)

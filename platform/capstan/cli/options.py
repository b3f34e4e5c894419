"""Reading the options of a command all at once, so that all that is wrong with them is told together."""

from __future__ import annotations

import math
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from capstan.errors import InvalidSpecError, Mistake

T = TypeVar("T")


class Options:
    """Reads options and collects what is wrong with them, so that all of it is told at once."""

    def __init__(self) -> None:
        self._mistakes: list[Mistake] = []

    def finish(self) -> None:
        """Raises InvalidSpecError if anything was wrong."""
        if self._mistakes:
            raise InvalidSpecError(self._mistakes)

    def one_of(self, option: str, value: str, kind: Any) -> Any:
        """The member of the enum; its first where there is none of that name."""
        try:
            return kind(value)
        except ValueError:
            self._mistakes.append(Mistake(option, f"{value!r} is none of {', '.join(kind)}"))
            return next(iter(kind))

    def holds(self, option: str, value: T, holds: bool, rule: str) -> T:
        """The value, whose rule is told where it does not hold."""
        if not holds:
            self._mistakes.append(Mistake(option, f"{value} {rule}"))
        return value

    def together(self, wrong: bool, option: str, value: object, rule: str) -> None:
        """Options that do not go together."""
        if wrong:
            self._mistakes.append(Mistake(option, f"{value} {rule}"))

    def whole_numbers(self, option: str, text: str) -> list[int]:
        """`50,25,25`; 1 in place of what is no whole number of at least 1."""
        found = []
        for part in text.split(","):
            whole = part.strip()
            good = whole.isascii() and whole.isdigit() and int(whole) >= 1
            if not good:
                self._mistakes.append(
                    Mistake(option, f"{part!r} must be a whole number of at least 1, as in {option} 50,50")
                )
            found.append(int(whole) if good else 1)
        return found

    def shares(self, text: str | None) -> dict[str, int] | None:
        """`control=50,treatment=50` as weights."""
        if text is None:
            return None
        found: dict[str, int] = {}
        for part in text.split(","):
            arm, _, weight = (one.strip() for one in part.rpartition("="))
            if not arm or not weight.isascii() or not weight.isdigit() or int(weight) < 1:
                self._mistakes.append(
                    Mistake(
                        "--shares",
                        f"{part!r} is no ARM=WEIGHT with a whole weight of at least 1, such as control=50",
                    )
                )
            elif arm in found:
                self._mistakes.append(Mistake("--shares", f"the arm {arm!r} is named twice; name each once"))
            else:
                found[arm] = int(weight)
        if len(found) == 1 and not self._mistakes:
            self._mistakes.append(Mistake("--shares", f"{text!r} names one arm; an effect needs two"))
        return found

    def caps(self, texts: list[str], metrics: list[str]) -> dict[str, float]:
        """`revenue=100`, or `100` where there is one metric."""
        found = {}
        for text in texts:
            name, _, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if not math.isfinite(value) or (not name and len(metrics) != 1):
                self._mistakes.append(
                    Mistake("--cap", f"{text!r} is no METRIC=NUMBER, such as {metrics[0]}=100")
                )
                continue
            found[name or metrics[0]] = value
        return found

    def zone(self, name: str) -> str:
        """A time zone that exists."""
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            self._mistakes.append(Mistake("--zone", f"{name!r} is no time zone, such as Europe/Berlin"))
            return "UTC"
        return name

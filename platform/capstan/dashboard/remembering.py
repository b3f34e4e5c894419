"""Answers of parts that may be slow or away, remembered for a short while: a look at a system waits for none of them.

A part that hangs keeps threads of its own pool and no others. The first answer is waited for a moment; later ones are
asked for in the background while the last one is shown.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from capstan.errors import UnavailableError

T = TypeVar("T")
P = ParamSpec("P")
PATIENCE_SECONDS = 0.15
"""Seconds that a look waits for a part that has never answered, from the moment it was asked."""
_LEAST_SECONDS = 0.03
"""What a part that answers at once may take, even after others have used up the patience of the look."""
_GRACE_SECONDS = 0.06
"""Seconds beyond the patience of a look within which all of them have their moments."""
_MOST_QUESTIONS = 32


class Patience:
    """How long one look still waits: parts that are asked one after the other share it."""

    def __init__(
        self, seconds: float = PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = float("-inf")

    def begin(self) -> None:
        """A look begins."""
        self._until = self._clock() + self._seconds

    def left(self) -> float:
        return max(0.0, self._until - self._clock())

    def for_one(self) -> float:
        """Seconds that the next part is waited for: a moment even if others have used up the patience, but not a
        moment for each of many.
        """
        moment = min(_LEAST_SECONDS, self._until + _GRACE_SECONDS - self._clock())
        return max(self.left(), moment, 0.0)


@dataclass
class _Question(Generic[T]):
    asked_at: float = 0.0
    """Time of the last question; also of one that is not answered yet."""
    under_way: Future[T] | None = None
    answer: Future[T] | None = None
    """The last one that is known."""


class Remembered(Generic[P, T]):
    """A source that answers at once; questions of different arguments are remembered apart. Threads share it."""

    def __init__(
        self,
        part: str,
        ask: Callable[P, T],
        pool: Executor,
        *,
        seconds: float,
        key: Callable[P, object] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        look: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: how long an answer is shown before it is asked for again; `key` tells questions apart.

        `look`: what the whole look still waits; None: each source waits by itself.
        """
        self._part = part
        self._ask = ask
        self._pool = pool
        self._seconds = seconds
        self._key = key
        self._patience = patience_seconds
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._questions: OrderedDict[object, _Question[T]] = OrderedDict()

    def begin(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Ask in the background if it is time to."""
        self._current(*args, **kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The last answer; raises what the part raised, and UnavailableError while it has never answered."""
        question = self._current(*args, **kwargs)
        under_way = question.under_way
        if question.answer is None and under_way is not None:
            left = max(0.0, question.asked_at + self._patience - self._clock())
            wait([under_way], left if self._look is None else min(left, self._look.for_one()))
            self._take_over(question)
        if question.answer is None:
            raise UnavailableError(self._part, "has not answered yet")
        return question.answer.result()

    def _current(self, *args: P.args, **kwargs: P.kwargs) -> _Question[T]:
        key = self._key(*args, **kwargs) if self._key is not None else None
        with self._lock:
            question = self._questions.setdefault(key, _Question())
            self._questions.move_to_end(key)
            while len(self._questions) > _MOST_QUESTIONS:
                self._questions.popitem(last=False)
            self._take_over(question)
            is_due = question.answer is None or self._clock() - question.asked_at >= self._seconds
            if question.under_way is None and is_due:
                question.asked_at = self._clock()
                question.under_way = self._pool.submit(self._ask, *args, **kwargs)
        return question

    @staticmethod
    def _take_over(question: _Question[T]) -> None:
        done = question.under_way
        if done is not None and done.done():
            question.answer, question.under_way = done, None

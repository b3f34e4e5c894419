"""Rows of a data frame that are asked, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from capstan.api import frames
from capstan.embedded.asking import RefusedRow, Told
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem
from capstan.verbs.answering import Asked, flat, which, with_id

if TYPE_CHECKING:
    import pandas as pd

    from capstan.api.frames import Frame

MOST_TOLD = 20
"""Refused rows that an error names."""
_Result = TypeVar("_Result")


def ask(asked: Asked, system: MLSystem, frame: Frame, *, mark: bool, explained: bool = False) -> pd.DataFrame:
    """The answers by the frame's index; with `mark` refused rows say why, else they raise InvalidDataError."""

    def told() -> list[Told]:
        with frames.in_a_file(frame) as file, asked.asking as place:
            return list(place.ask(asked.rows(file, system), explained=explained))

    found = beside_a_loop(told)
    refused = [one for one in found if isinstance(one, RefusedRow)]
    named = asked.manifest.keys.get("id")
    if refused and not mark:
        raise InvalidDataError(_refusal(refused, named, len(found)))
    rows = [{**_row(one, named), **({"refused": why(one)} if mark else {})} for one in found]
    columns = ["version", "request_id", *(["refused"] if mark else [])]
    return frames.answers(rows, frames.index_of(frame), columns)


def _row(told: Told, named: str | None) -> dict[str, Any]:
    if isinstance(told, RefusedRow):
        return with_id({}, named, told.sent)
    answer = {**dict(flat(told.answer)), "version": told.version, "request_id": told.request_id}
    return with_id(answer, named, told.sent)


def why(told: Told) -> str | None:
    """None for a row that was answered."""
    return in_words(told) if isinstance(told, RefusedRow) else None


def in_words(refused: RefusedRow) -> str:
    """Why a row is refused: each field with its value and the rule that it breaks."""
    return "; ".join(
        f"{one.get('field')}:{_shown(one.get('value'))} {one.get('rule')}" for one in refused.problems
    )


def _shown(value: object) -> str:
    return "" if value is None else f" {value!r}"


def _refusal(refused: Sequence[RefusedRow], named: str | None, rows: int) -> str:
    lines = [f"{which(one, named)}, {in_words(one)}" for one in refused[:MOST_TOLD]]
    more = len(refused) - len(lines)
    lines += [f"{more:,} rows more"] if more else []
    head = f"{len(refused):,} of {rows:,} rows are refused; `refused='mark'` answers the others:"
    return "\n".join([head, *lines])


def beside_a_loop(work: Callable[[], _Result]) -> _Result:
    """The result of work that runs an event loop of its own: a notebook's thread has one already."""
    with ThreadPoolExecutor(1, thread_name_prefix="capstan") as pool:
        return pool.submit(work).result()

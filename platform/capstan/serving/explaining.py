"""Answers of `/explain`: what each column of a row adds to the model's score, of few rows and in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from capstan.errors import InvalidRequestError
from capstan.serving.model import Model
from capstan.serving.schema import Row

PATH = "/explain"
MOST_ROWS = 20
SECONDS = 1.0
"""One request may take; estimates of a slow model are less sure for it."""


class BusyError(Exception):
    """Other rows are being explained."""


class Explaining:
    """One request at a time, beside the predictions and never before them."""

    def __init__(self, model: Model, seconds: float = SECONDS) -> None:
        self._model, self._seconds = model, seconds
        self._free = asyncio.Lock()

    async def of(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Of each row its document, as `Contributions` tells it.

        Raises InvalidRequestError for too many rows, or for so many that the time is too short, and BusyError.
        """
        if len(rows) > MOST_ROWS:
            raise InvalidRequestError(
                "rows",
                len(rows),
                f"must be at most {MOST_ROWS} to be explained; send them in several requests",
            )
        try:
            await asyncio.wait_for(self._free.acquire(), self._seconds)
        except TimeoutError:
            raise BusyError from None
        try:
            return await asyncio.get_running_loop().run_in_executor(None, self._explained, rows)
        finally:
            self._free.release()

    def _explained(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        try:
            explainer = self._model.explainer()
            found = explainer.explain(rows, seconds=self._seconds)
        except TimeoutError:
            rule = f"take more than {self._seconds:g} s to explain; send fewer in one request"
            raise InvalidRequestError("rows", len(rows), rule) from None
        except ValueError as error:
            raise InvalidRequestError("rows", len(rows), f"cannot be explained: {error}") from error
        return found.documents()

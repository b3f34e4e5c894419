"""Who makes batches of predictions: processes of one machine, Jobs of a cluster."""

from __future__ import annotations

from typing import Protocol

from capstan.domain.batch_calendar import BatchOrder, BatchStatus


class BatchRuns(Protocol):
    """Tries of one system's batches; at most one is at work."""

    def start(self, order: BatchOrder) -> None:
        """Begin the try unless it was begun before; raises UnavailableError."""
        ...

    def status(self, order: BatchOrder) -> BatchStatus:
        """Where the try stands, absent where nobody knows of it; raises UnavailableError."""
        ...

    def stop(self, order: BatchOrder) -> None:
        """End the try; no error if it is not there or has ended. Raises UnavailableError."""
        ...

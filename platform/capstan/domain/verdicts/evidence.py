"""What was measured about two versions, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from capstan.domain.versions import VersionName


@dataclass(frozen=True)
class LossBlock:
    """Paired losses of one closed block (a day, say) of requests.

    `loss_difference` is the sum over requests of loss(champion) - loss(challenger): positive favours the challenger.
    """

    start: datetime
    count: int
    loss_difference: float
    coverage: float
    """Labelled share, 0-1, of the requests that can have a label, when the block closed."""


@dataclass(frozen=True)
class PairedEvidence:
    """All that is known by paired predictions of a champion and a challenger since a moment."""

    blocks: tuple[LossBlock, ...] = ()
    """Closed blocks only, in event order: coverage reached 98 % or the maximum label delay passed."""
    paired_requests: int = 0
    """Requests for which both predictions are stored, labelled or not."""
    labelled_pairs: int = 0
    disagreement: float | None = None
    """Share of pairs whose decided classes differ; None without pairs. Reported, never gated."""
    clipped_share: float = 0.0
    lost_share: float = 0.0
    """Lost payloads / (stored + lost) of both versions since the moment: evidence biased by loss is withheld."""
    nonfinite_answers: int = 0
    """Challenger answers that were NaN, infinite or outside the output's range."""
    refused_answers: int = 0
    """Requests that the champion answered and the challenger refused with 4xx; no pairs."""


@dataclass(frozen=True)
class VersionOperation:
    """Counters of one version in a window of wall time, from its own metrics and the gateway's."""

    version: VersionName
    requests: int
    errors: int
    """Answers other than 200 and 4xx, plus timeouts, resets and retries that the gateway hid from users."""
    latency_buckets: Mapping[float, int] = field(default_factory=dict)
    """Upper bound in seconds -> number of requests at or below it (cumulative; the last bound is infinity)."""
    refused: int = 0
    """Answers 4xx; no errors, since a bad request is its client's fault."""


@dataclass(frozen=True)
class OperationEvidence:
    """Champion and challenger in the same window; raised as UnavailableError when it cannot be measured."""

    champion: VersionOperation
    challenger: VersionOperation
    assigned: Mapping[VersionName, int] = field(default_factory=dict)
    """Requests that the gateway routed to each arm (mirrors and retries not counted): observed against wanted split."""

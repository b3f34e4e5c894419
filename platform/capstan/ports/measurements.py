"""What the engine asks before it judges: evidence by pairs and by arms, operation, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.triggers import Alert, OperationAlert, Webhooks
from capstan.domain.verdicts.evidence import ArmsEvidence, OperationEvidence, PairedEvidence, QueryEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.versions import VersionName
from capstan.domain.watching import Standing


class EvidenceSource(Protocol):
    """Predictions, labels and events of versions, compared request by request or arm by arm."""

    def paired(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        metric: str,
        since: datetime,
        as_of: datetime,
    ) -> PairedEvidence:
        """Pairs whose event time is in [since, as_of), labels with availableAt <= as_of, compared by `metric`.

        `metric` is the loss of a single prediction that an analysis of the file names. Raises UnavailableError.
        """
        ...

    def arms(self, asked: Arms, *, since: datetime, as_of: datetime) -> ArmsEvidence:
        """Units whose first request is in [since, as_of), each in the arm of that request, with their outcomes.

        A unit is the key by which its requests stick to an arm; a request without one is a unit of its own. An
        outcome is what happened to the unit within the window of its first request, as known at `as_of`: the mean
        loss of its labelled predictions, or an online metric of the file. The covariate is the same of the time
        before `since`, whoever answered. Raises UnavailableError.
        """
        ...

    def labelled(self, *, since: datetime, as_of: datetime) -> int:
        """Cases whose label became known in (since, as_of], however often it was told; raises UnavailableError."""
        ...

    def webhooks(self) -> Webhooks:
        """Signed calls of other systems, and who cannot be let in; raises UnavailableError."""
        ...

    def interleaved(
        self,
        champion: VersionName,
        challenger: VersionName,
        asked: Interleaving,
        *,
        since: datetime,
        as_of: datetime,
    ) -> PreferenceEvidence:
        """Units that got lists of both rankers in [since, as_of), with what their clicks known at `as_of` preferred.

        A unit is the key by which its requests stick, or a request without one. It counts once its window and the
        maximum delay of clicks are over. Raises UnavailableError.
        """
        ...


class OperationMetrics(Protocol):
    """Latency, errors and routed shares from Prometheus."""

    def operation(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        since_wall: datetime,
        now_wall: datetime,
        shadow: bool,
    ) -> OperationEvidence:
        """Both versions in the same wall-time window; with `shadow` the challenger's mirrored requests.

        Raises UnavailableError.
        """
        ...

    def own_query(
        self, promql: str, *, since_wall: datetime, now_wall: datetime, interval: timedelta
    ) -> QueryEvidence:
        """A person's own query at the end of each interval since `since_wall`, of which the newest 1,000 count.

        Raises UnavailableError, also for a query that Prometheus refuses.
        """
        ...


class AlertSource(Protocol):
    """Firing alerts."""

    def active(self) -> Sequence[Alert]:
        """All data alerts that fire now, read from Alertmanager; raises UnavailableError."""
        ...

    def operation(self) -> Sequence[OperationAlert]:
        """All operation alerts that fire now; they tell a person and start nothing. Raises UnavailableError."""
        ...


class Monitoring(Protocol):
    """Watches one version: drift, missing values, quality."""

    def standing(self) -> Standing:
        """What the monitor could judge so far; raises UnavailableError."""
        ...

    def watch(self, version: VersionName, *, since: datetime) -> None:
        """Make it the watched version; windows begin at `since` (event time). Repeating it changes nothing."""
        ...


@dataclass(frozen=True)
class Sample:
    """One element of an instant vector; its value is finite."""

    labels: Mapping[str, str]
    value: float

"""Evidence about two versions from the collector's Parquet files, read by DuckDB."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from capstan.domain.comparison import PredictionComparison
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.triggers import Webhooks
from capstan.domain.verdicts.evidence import ArmsEvidence, PairedEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.versions import VersionName
from capstan.recording.arms import ArmReading
from capstan.recording.comparison import Comparing
from capstan.recording.held_rows import HeldRows
from capstan.recording.interleaved import Preferences
from capstan.recording.new_labels import count_labels
from capstan.recording.pairing import Pairing
from capstan.recording.reading import PayloadReader
from capstan.recording.served import Served, served_with_labels
from capstan.recording.webhooks import read_webhooks
from capstan.spec import MLSystem
from capstan.tasks import task_of


class ParquetEvidence:
    """EvidenceSource over `systems/<system>/`; what is not flushed by the collector is not seen."""

    def __init__(self, folder: Path, system: MLSystem, *, held: HeldRows | None = None) -> None:
        """`folder` holds `payloads/` and `labels/`; with `held`, payloads and labels are those instead."""
        self._folder = folder
        self._reader = PayloadReader(folder, held=held)
        self._pairing = Pairing.of(system, self._reader)
        self._arms = ArmReading.of(system, self._reader)
        self._preferences = Preferences(self._reader, ZoneInfo(system.spec.data.time_zone))
        self._comparing = Comparing.of(system, self._reader)
        self._task = task_of(system.spec)

    def paired(
        self,
        champion: VersionName,
        challenger: VersionName,
        *,
        metric: str,
        since: datetime,
        as_of: datetime,
    ) -> PairedEvidence:
        """Pairs whose event time is in [since, as_of), labels with availableAt <= as_of; raises UnavailableError."""
        return self._pairing.paired(champion, challenger, metric=metric, since=since, as_of=as_of)

    def arms(self, asked: Arms, *, since: datetime, as_of: datetime) -> ArmsEvidence:
        """Units whose first request is in [since, as_of), by what is known at `as_of`; raises UnavailableError."""
        return self._arms.arms(asked, since=since, as_of=as_of)

    def labelled(self, *, since: datetime, as_of: datetime) -> int:
        """Cases whose label became known in (since, as_of]; raises UnavailableError."""
        return count_labels(self._reader, since=since, as_of=as_of)

    def webhooks(self) -> Webhooks:
        """Signed calls of other systems, and who cannot be let in; raises UnavailableError."""
        return read_webhooks(self._folder)

    def interleaved(
        self,
        champion: VersionName,
        challenger: VersionName,
        asked: Interleaving,
        *,
        since: datetime,
        as_of: datetime,
    ) -> PreferenceEvidence:
        """Units that got lists of both in [since, as_of), and what their clicks prefer; raises UnavailableError."""
        return self._preferences.preferred(champion, challenger, asked, since=since, as_of=as_of)

    def compared(
        self, champion: VersionName, challenger: VersionName, *, since: datetime, as_of: datetime
    ) -> PredictionComparison:
        """Predictions of pairs whose event time is in [since, as_of), labelled or not; raises UnavailableError."""
        return self._comparing.compared(champion, challenger, since=since, as_of=as_of)

    def answered_with_labels(
        self, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> Served:
        """What users got in [start, end), with the truth.

        The label is null where none is known at `as_of` (None: all that is stored counts) or none will come. Raises
        UnavailableError.
        """
        return served_with_labels(self._reader, self._task, start, end, as_of=as_of)

    def close(self) -> None:
        self._reader.close()

"""The monitor process as the engine and the replay see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError
from capstan.files import write_whole

PART = "the monitor"


@dataclass(frozen=True)
class Advanced:
    """What an advance of the monitor's clock changed."""

    generation: int
    alerting_changed: bool
    alerts: tuple[str, ...]


class MonitorClient:
    """Monitoring by a process at `address`; the target is a file, so that it outlives both sides."""

    def __init__(
        self,
        address: str,
        *,
        folder: Path,
        token: str,
        model_dir: Callable[[VersionName], Path],
        timeout_seconds: float = 60.0,
    ) -> None:
        """`folder` is `systems/<system>/monitor`; `model_dir` finds the verified model folder of a version."""
        self.address = address
        self._target = folder / "target.json"
        self._model_dir = model_dir
        self._client = httpx.Client(
            base_url=address,
            timeout=timeout_seconds,
            trust_env=False,
            headers={"authorization": f"Bearer {token}"},
        )

    def watch(self, version: VersionName, *, since: datetime) -> None:
        """Make it the watched version; windows begin at `since` (event time). Repeating it changes nothing."""
        document = {
            "version": version,
            "model_dir": str(self._model_dir(version)),
            "since": since.astimezone(UTC).isoformat(),
        }
        write_whole(self._target, orjson.dumps(document))

    def advance(self, now: datetime) -> Advanced:
        """Decide all windows that closed by `now`; raises UnavailableError."""
        document = self._ask("POST", "/advance", json={"now": now.astimezone(UTC).isoformat()})
        return Advanced(document["generation"], document["alerting_changed"], tuple(document["alerts"]))

    def windows(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Windows decided after that generation, oldest first; raises UnavailableError."""
        windows: list[dict[str, Any]] = self._ask("GET", f"/windows?after={after}")["windows"]
        return windows

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            answer = self._client.request(method, path, **content)
            if answer.status_code != 200:
                raise UnavailableError(PART, f"{answer.status_code}: {answer.text[:500]}")
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, str(error) or type(error).__name__) from error

"""What the environment tells a model service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from capstan.serving.payload_log import FLUSH_SECONDS


@dataclass(frozen=True)
class ServiceSettings:
    """One version of one system, and where its payloads go."""

    system: str
    version: str
    model_dir: Path | None = None
    """None: `model/` of the Bento."""
    digest: str | None = None
    """The Bento's digest as the registry holds it; None: verified by whoever starts the service."""
    collector_url: str | None = None
    """None: payloads are not logged."""
    token_file: Path | None = None
    flush_seconds: float = FLUSH_SECONDS
    """How long a service that ends waits for the collector to take what is buffered."""
    events_file: Path | None = None
    """The SQLite file in which events are looked up; None: nothing is."""
    events_servers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Table -> name and key of the secret with the address of the server in which its events are looked up."""
    event_time_header: bool = False
    """Only in a replay: the request header states the event time."""
    secrets: Path = Path(".capstan/secrets")
    """Folder with a file NAME/KEY for each secret: keys of pseudonyms."""
    copies: bool | None = None
    """Whether its requests are copies: all, or none, where a version gets either; None: the request's host says so."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceSettings:
        """Read CAPSTAN_*; a bare `bentoml serve` works without any."""
        logs = environment.get("CAPSTAN_PAYLOAD_LOG", "1") != "0"
        model_dir = environment.get("CAPSTAN_MODEL_DIR")
        token_file = environment.get("CAPSTAN_INTERNAL_TOKEN_FILE")
        events_file = environment.get("CAPSTAN_EVENTS_FILE")
        return cls(
            system=environment.get("CAPSTAN_SYSTEM", ""),
            version=environment.get("CAPSTAN_VERSION", "v0"),
            model_dir=Path(model_dir) if model_dir else None,
            digest=environment.get("CAPSTAN_DIGEST") or None,
            collector_url=(environment.get("CAPSTAN_COLLECTOR_URL") or None) if logs else None,
            token_file=Path(token_file) if token_file else None,
            events_file=Path(events_file) if events_file else None,
            events_servers={
                table: (name, key)
                for table, (name, key) in json.loads(
                    environment.get("CAPSTAN_EVENTS_SERVERS") or "{}"
                ).items()
            },
            flush_seconds=float(environment.get("CAPSTAN_FLUSH_SECONDS") or FLUSH_SECONDS),
            event_time_header=environment.get("CAPSTAN_EVENT_TIME_HEADER") == "1",
            secrets=Path(environment.get("CAPSTAN_SECRETS") or ".capstan/secrets"),
            copies={"0": False, "1": True}.get(environment.get("CAPSTAN_COPIES", "")),
        )

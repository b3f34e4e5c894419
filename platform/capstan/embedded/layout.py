"""Where everything lives below `.capstan/` on one machine."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import orjson

from capstan.domain.versions import SystemName
from capstan.errors import AlreadyRunningError
from capstan.files import write_error, write_whole

TOKENS = ("page", "feedback", "webhook", "internal")
_LOCK_TRIES = 5


@dataclass(frozen=True)
class StateDir:
    """All paths of one state directory; nothing outside this class joins them by hand."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "state.db"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address of the database, quoted: a `?` or `%` in the folder's name would mean something in a
        URL.
        """
        path = str(self.mlflow_database)
        if quote(path) == path:
            return f"sqlite:///{path}"
        # The driver is named, because for a bare `sqlite:///` MLflow also makes an empty folder of the quoted name.
        return f"sqlite+pysqlite:///{quote(path)}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def bentos(self) -> Path:
        """Folder of Bentos, the value of BENTOML_HOME."""
        return self.root / "bentos"

    @property
    def secrets(self) -> Path:
        """Folder with a file NAME/KEY for each `secretKeyRef`."""
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Configuration and records of the running processes."""
        return self.root / "run"

    @property
    def addresses(self) -> Path:
        """The addresses of a running supervisor, for the other commands."""
        return self.run / "addresses.json"

    @property
    def host(self) -> StateDir | None:
        """The folder of the host that runs what is here, or that was killed; None: none does."""
        return _named_host(self.addresses)

    @property
    def last_host(self) -> StateDir | None:
        """The folder of the host that last ran what is here, or was to; None: none did."""
        return _named_host(self.host_note)

    @property
    def host_note(self) -> Path:
        """Which host ran what is here; it stays when that ends."""
        return self.run / "host.json"

    def note_host(self, host: StateDir) -> None:
        """Leave word which host runs what is here, before it does."""
        write_whole(self.host_note, orjson.dumps({"host": str(host.root)}))

    def page_token(self) -> str:
        """Token of the page that shows what runs here."""
        return (self.host or self).token("page")

    def beside(self, system: str) -> StateDir:
        """Folder of a system whose file lies in the same project as that of the system that is here."""
        return StateDir(self.root / "beside" / system)

    def all_beside(self) -> list[StateDir]:
        """Folders of such systems, by name."""
        return [StateDir(folder) for folder in sorted(self.root.glob("beside/*")) if folder.is_dir()]

    @property
    def processes(self) -> Path:
        """Records of the child processes."""
        return self.run / "processes"

    @property
    def live(self) -> Path:
        """Which file a live supervisor runs, for the commands that change it; a replay has none."""
        return self.run / "live.json"

    @property
    def journal(self) -> Path:
        """Where the last replay stands."""
        return self.root / "replay.json"

    @property
    def backtests(self) -> Path:
        """Trainings and results of backtests, by the digest of their inputs."""
        return self.root / "backtests"

    def report(self, system: SystemName) -> Path:
        return self.root / "reports" / f"{system}.json"

    def system(self, system: SystemName) -> Path:
        return self.root / "systems" / system

    def spec(self, system: SystemName) -> Path:
        return self.system(system) / "spec.json"

    def events(self, system: SystemName) -> Path:
        """The events that services look up."""
        return self.system(system) / "events.db"

    def batches(self, system: SystemName) -> Path:
        """How far batches by the calendar are, and what the running one was told."""
        return self.system(system) / "batches"

    def predictions(self, system: SystemName) -> Path:
        """Batches of predictions that were to be written nowhere else."""
        return self.root / "predictions" / system

    def payloads(self, system: SystemName) -> Path:
        return self.system(system) / "payloads"

    def labels(self, system: SystemName) -> Path:
        return self.system(system) / "labels"

    def monitor(self, system: SystemName) -> Path:
        return self.system(system) / "monitor"

    def runs(self, system: SystemName) -> Path:
        return self.system(system) / "runs"

    def token_file(self, name: str) -> Path:
        return self.root / "tokens" / name

    def token(self, name: str) -> str:
        return self.token_file(name).read_text().strip()

    def prepare(self, system: SystemName) -> None:
        """Create what is missing, readable by the owner alone; tokens are drawn once."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for folder in (
                self.mlflow_artifacts,
                self.bentos,
                self.secrets,
                self.logs,
                self.run,
                self.root / "reports",
                self.root / "tokens",
                self.payloads(system),
                self.labels(system),
                self.monitor(system),
                self.runs(system),
            ):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._draw_tokens()
        except OSError as error:
            raise write_error(self.root, error) from error

    def prepare_host(self) -> None:
        """Create what a host needs that runs systems of other folders, readable by the owner alone."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for folder in (self.logs, self.run, self.members, self.root / "tokens"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._draw_tokens()
        except OSError as error:
            raise write_error(self.root, error) from error

    @property
    def members(self) -> Path:
        """Of a host: a file for each system that it is to run."""
        return self.root / "members"

    def _draw_tokens(self) -> None:
        for name in TOKENS:
            if not self.token_file(name).exists():
                write_whole(self.token_file(name), secrets.token_urlsafe(24).encode())

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the directory for one supervisor; raises AlreadyRunningError if another has it."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.root, error) from error
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(handle):
                holder = os.pread(handle, 32, 0).decode().strip() or "unknown"
                raise AlreadyRunningError(
                    f"{self.root}: process {holder} already runs a system here; stop it with `capstan down`, "
                    "or use another directory with --state"
                )
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def holder(self) -> int | None:
        """Process id of the supervisor that holds the directory; None if none does."""
        try:
            handle = os.open(self.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            text = os.pread(handle, 32, 0).decode().strip()
            if not text.isdigit() or not _lives(int(text)):
                return None
            # A killed supervisor leaves its process id behind, but never its lock.
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(text)
            return None
        finally:
            os.close(handle)


def _named_host(file: Path) -> StateDir | None:
    try:
        return StateDir(Path(orjson.loads(file.read_bytes())["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locked(handle: int) -> bool:
    """Take the lock. It is tried a few times, because a process that asks for the holder takes it for a moment."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

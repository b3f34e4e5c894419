"""What a run is about: the folder that every step gets, with the request, the file and where things are kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstan.domain.training import TrainingRequest
from capstan.domain.versions import ModelVersion
from capstan.files import write_whole
from capstan.ports.codec import from_json, to_json

if TYPE_CHECKING:
    from capstan.spec import MLSystem

REQUEST, SPEC, PLACES, CHAMPION, FACTORIES = (
    "request.json",
    "spec.json",
    "places.json",
    "champion.json",
    "factories",
)
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
    # What joblib takes for the number of processors, so that `n_jobs=-1` keeps to the file too.
    "LOKY_MAX_CPU_COUNT",
)


@dataclass(frozen=True)
class Places:
    """Where data, secrets and results are kept; holds no secret itself."""

    base_dir: str
    """Folder that relative paths of the file are relative to."""
    secrets: str
    tracking_uri: str
    artifact_root: str
    """Where MLflow keeps artifacts; empty for a server, which knows."""
    bentos: str
    """BENTOML_HOME."""
    artifacts: str = ""
    """URI of the system's artifact store, where other machines find Bentos and results; empty: `bentos` is all."""
    registry_model: str = ""
    """The system's name in MLflow; empty: as in the file."""
    is_served: bool = True
    """False: of a backtest. Then the model is packaged without BentoML's build, `unregistered` ends the run, and what
    nobody would read is left out: explanations, the report of the data.
    """


class Job:
    """One run's folder, read when needed."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @cached_property
    def request(self) -> TrainingRequest:
        return from_json(TrainingRequest, self._read(REQUEST))

    @cached_property
    def places(self) -> Places:
        return Places(**self._read(PLACES))

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The file as JSON."""
        document: dict[str, Any] = self._read(SPEC)
        return document

    @cached_property
    def system(self) -> MLSystem:
        from capstan.spec import parse

        return parse(self.spec, base_dir=Path(self.places.base_dir))

    @cached_property
    def champion(self) -> ModelVersion | None:
        """The version to beat; None for the first run."""
        return from_json(ModelVersion, self._read(CHAMPION)) if (self.folder / CHAMPION).exists() else None

    @cached_property
    def factories(self) -> Path:
        """Source of custom features and candidates; need not exist.

        Carried now if whoever wrote this folder could not see it.
        """
        from capstan.spec.presence import own_code

        folder = self.folder / FACTORIES
        if not folder.exists() and any(own_code(self.system)):
            from capstan.training.factories import carry_factories

            carry_factories(self.system, folder)
        return folder

    @property
    def seed(self) -> int:
        """The file's seed and the request's, which differs when a person asks for another try."""
        return int((self.system.spec.training.seed + self.request.seed) % 2**32)

    def _read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_bytes())


def job_files(
    *,
    request: TrainingRequest,
    spec: dict[str, Any],
    places: Places,
    champion: ModelVersion | None,
) -> dict[str, bytes]:
    """What the steps read, by file name; the request comes last, so that a folder with one is whole."""
    files = {} if champion is None else {CHAMPION: to_json(champion)}
    files |= {SPEC: spec, PLACES: asdict(places), REQUEST: to_json(request)}
    return {name: json.dumps(content).encode() for name, content in files.items()}


def write_job(
    folder: Path,
    *,
    request: TrainingRequest,
    spec: dict[str, Any],
    places: Places,
    champion: ModelVersion | None,
) -> None:
    """Write the run's folder."""
    files = job_files(request=request, spec=spec, places=places, champion=champion)
    for name, content in files.items():
        write_whole(folder / name, content)


def training_environment(threads: int) -> dict[str, str]:
    """What libraries must be told before they start: how many threads they may use, and to give the same results."""
    return {
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        # Waiting threads that spin would take the cores from the requests that are served meanwhile.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
    }

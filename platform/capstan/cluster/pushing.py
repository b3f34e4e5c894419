"""Copies the files of a system into its data volume: through a short-lived pod that mounts the claim.

They arrive as one tar in a folder beside their places and are moved there when all have come, each at once: who reads
meanwhile finds the old file or the new one, and a push that is cut off leaves but a folder that the next one removes.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.pod_exec import run_with_input
from capstan.cluster.names import DATA_MOUNT, SystemNames
from capstan.cluster.objects.pods import container, pod
from capstan.cluster.objects.training import data_claim, data_claim_name
from capstan.cluster.settings import ClusterSettings
from capstan.errors import CapstanError, InvalidSpecError, Mistake
from capstan.ports.kube import Object
from capstan.spec import MLSystem
from capstan.spec.location import Location, path_text
from capstan.spec.presence import is_pattern, named_files, own_code, pattern_files
from capstan.training.local_modules import local_modules

CONTAINER = "push"
_POD_SECONDS = 3600
"""Seconds after which a pod ends by itself when its client was killed."""
_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.5
_BLOCK = 1 << 20

UNPACK = f"""
import os, shutil, sys, tarfile
from pathlib import Path
class Input:
    left = int(sys.argv[1])
    def read(self, size):
        data = sys.stdin.buffer.read(min(size, self.left))
        self.left -= len(data)
        return data
root, input = Path({DATA_MOUNT!r}), Input()
for rest in root.glob(".push-*"):
    shutil.rmtree(rest, ignore_errors=True)
room = root / f".push-{{os.getpid()}}"
try:
    room.mkdir()
    safely = {{"filter": "data"}} if hasattr(tarfile, "data_filter") else {{}}
    with tarfile.open(fileobj=input, mode="r|") as tar:
        tar.extractall(room, **safely)
    files = sorted(path for path in room.rglob("*") if path.is_file())
    for file in files:
        place = root / file.relative_to(room)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
except (OSError, tarfile.TarError) as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
finally:
    shutil.rmtree(room, ignore_errors=True)
    while input.left and input.read(1 << 20):
        pass
print(len(files))
"""
"""What the pod runs: a tar of so many bytes on standard input becomes files in the volume.

It takes all its input even when it fails: a command that ends before is never heard to have ended.
"""


@dataclass(frozen=True)
class Pushed:
    """One file and where it goes."""

    source: Path
    place: PurePosixPath
    """Path below the volume."""


def files_of(system: MLSystem) -> list[Pushed]:
    """All files of sources and factories; raises InvalidSpecError for those that are not there or lie elsewhere."""
    base, mistakes = system.base_dir.resolve(), []
    found: dict[PurePosixPath, Path] = {}
    for location, name in _named(system):
        where = path_text(location)
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            mistakes.append(Mistake(where, f"{name!r} lies outside the file's folder; put it below {base}"))
            continue
        files = list(_files(base, name))
        if not files:
            mistakes.append(Mistake(where, f"{name!r} is not in {base}; check the path"))
        for file in files:
            found[PurePosixPath(file.relative_to(base).as_posix())] = file
    if mistakes:
        raise InvalidSpecError(mistakes)
    return [Pushed(source, place) for place, source in sorted(found.items())]


def _named(system: MLSystem) -> Iterator[tuple[Location, str]]:
    yield from named_files(system)
    for location, code in own_code(system):
        needed = [place.name for place in local_modules(system.base_dir, code.module)]
        for name in needed or [f"{code.module.replace('.', '/')}.py"]:
            yield location, name


def _files(base: Path, name: str) -> Iterator[Path]:
    root = base / name
    if is_pattern(base, name):
        yield from pattern_files(base, name)
    elif root.is_file():
        yield root
    elif root.is_dir():
        yield from (
            path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts
        )


def push_pod(system: MLSystem, names: SystemNames, settings: ClusterSettings) -> Object:
    """The pod that takes the files; it may do nothing and ends by itself."""
    wait = (
        "import signal, threading; ended = threading.Event(); "
        f"signal.signal(signal.SIGTERM, lambda *_: ended.set()); ended.wait({_POD_SECONDS})"
    )
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": data_claim_name(system, names)}}
    taker = container(
        CONTAINER,
        settings.images.python,
        settings.images,
        ("python", "-c", wait),
        mounts=[{"name": "data", "mountPath": DATA_MOUNT}],
    )
    spec = pod(names, settings, [taker], volumes=[claim], grace_seconds=1)
    name = f"{names.system}-push"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": names.metadata(name, names.labels("push"), None),
        # A push comes before the system, whose own account the operator makes later.
        "spec": {**spec, "serviceAccountName": "default", "restartPolicy": "Never"},
    }


def push(
    kube: KubeClient,
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    files: Sequence[Pushed],
    progress: Callable[[int, int], None],
) -> None:
    """Copy the files; `progress` is told the bytes sent and all bytes. Raises CapstanError if they do not arrive."""
    for claim in data_claim(system, names, settings, None):
        kube.apply(claim)
    document = push_pod(system, names, settings)
    name = str(document["metadata"]["name"])
    _remove(kube, names.namespace, name)
    kube.create(document)
    try:
        _wait_until_running(kube, names.namespace, name)
        command = ["python", "-c", UNPACK, str(tar_size(files))]
        content = tarred(files, progress)
        said = run_with_input(kube, names.namespace, name, CONTAINER, command, content).strip()
        if said != str(len(files)):
            raise CapstanError(f"{name}: {said or 'no'} files arrived of {len(files)}; push them again")
    finally:
        kube.delete("Pod", name, names.namespace)


def _remove(kube: KubeClient, namespace: str, name: str) -> None:
    """Remove what an earlier push has left."""
    deadline = time.monotonic() + _READY_SECONDS
    kube.delete("Pod", name, namespace)
    while kube.get("Pod", name, namespace) is not None:
        if time.monotonic() > deadline:
            raise CapstanError(f"pod {name} of an earlier push does not end; `kubectl delete pod {name}`")
        time.sleep(_LOOK_SECONDS)


def _wait_until_running(kube: KubeClient, namespace: str, name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        found = kube.get("Pod", name, namespace)
        status = (found or {}).get("status") or {}
        if status.get("phase") == "Running":
            return
        if time.monotonic() > deadline or status.get("phase") in ("Failed", "Succeeded"):
            raise CapstanError(f"pod {name} does not start: {_why(status)}")
        time.sleep(_LOOK_SECONDS)


def _why(status: Object) -> str:
    for one in status.get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting:
            return f"{waiting.get('reason')}: {waiting.get('message', '')}"
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    return str(status.get("message") or status.get("phase") or "nothing is known of it")


def _header(file: Pushed) -> tuple[bytes, int]:
    """The file's header in the tar, and its size."""
    stat, info = file.source.stat(), tarfile.TarInfo(str(file.place))
    info.size, info.mode, info.mtime = stat.st_size, 0o644, int(stat.st_mtime)
    return info.tobuf(tarfile.PAX_FORMAT), info.size


def _padding(size: int, unit: int = tarfile.BLOCKSIZE) -> int:
    return -size % unit


def tar_size(files: Sequence[Pushed]) -> int:
    """Bytes of the whole tar, which is padded as tar pads."""
    size = sum(len(header) + length + _padding(length) for header, length in map(_header, files))
    size += 2 * tarfile.BLOCKSIZE
    return size + _padding(size, tarfile.RECORDSIZE)


def tarred(files: Sequence[Pushed], progress: Callable[[int, int], None]) -> Iterator[bytes]:
    """The files as one tar, piece by piece; `progress` is told the bytes of files sent, and all of them."""
    whole, total = tar_size(files), sum(file.source.stat().st_size for file in files)
    written = sent = 0
    progress(0, total)
    for file in files:
        header, left = _header(file)
        padding = _padding(left)
        written += len(header) + left + padding
        yield header
        with file.source.open("rb") as content:
            while left:
                piece = content.read(min(_BLOCK, left))
                if not piece:
                    raise CapstanError(f"{file.source} became shorter while it was sent; push it again")
                left -= len(piece)
                sent += len(piece)
                yield piece
                progress(sent, total)
        yield bytes(padding)
    if written > whole - 2 * tarfile.BLOCKSIZE:
        raise CapstanError("files became longer while they were sent; push them again")
    yield bytes(whole - written)

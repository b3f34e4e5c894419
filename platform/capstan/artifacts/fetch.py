"""Fetches one Bento before its service starts: what a pod's init container runs.

`python -m capstan.artifacts.fetch --tag TAG --digest sha256:... --home FOLDER`, with the address of the artifacts in
CAPSTAN_ARTIFACTS. It ends with one of the exit codes below and tells the reason in the pod's status.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from capstan.artifacts.store import ArtifactStore
from capstan.domain.versions import Digest
from capstan.errors import CapstanError, NotFoundError, UnavailableError, UntrustedArtifactError

REFUSED = 3
"""The bytes are not those that were registered."""
NOT_FOUND = 4
AWAY = 5
FAILED = 6
PATIENCE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 10.0
_LAST_WORDS = Path("/dev/termination-log")
"""Kubernetes shows what is written there in the pod's status."""


def main(arguments: Sequence[str] | None = None, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Exit code of the fetch; an object storage that is away is waited for."""
    parser = argparse.ArgumentParser(prog="python -m capstan.artifacts.fetch", description=__doc__)
    parser.add_argument("--tag", required=True, help="SYSTEM:LABEL")
    parser.add_argument("--digest", required=True, help="what its content must hash to")
    parser.add_argument("--home", required=True, type=Path, help="BENTOML_HOME")
    options = parser.parse_args(arguments)
    try:
        store = ArtifactStore(os.environ.get("CAPSTAN_ARTIFACTS", ""))
        place = _patiently(lambda: store.pull_bento(options.tag, Digest(options.digest), options.home), sleep)
    except UntrustedArtifactError as error:
        return _end(REFUSED, error)
    except NotFoundError as error:
        return _end(NOT_FOUND, error)
    except UnavailableError as error:
        return _end(AWAY, error)
    except CapstanError as error:
        return _end(FAILED, error)
    sys.stdout.write(f"{place}\n")
    return 0


def _patiently(work: Callable[[], Path], sleep: Callable[[float], None]) -> Path:
    wait, until = 1.0, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except UnavailableError as error:
            if time.monotonic() + wait > until:
                raise
            sys.stderr.write(f"{error}; asking again in {wait:.0f} s\n")
            sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)


def _end(code: int, error: CapstanError) -> int:
    text = f"{type(error).__name__}: {error}"
    sys.stderr.write(f"{text}\n")
    if _LAST_WORDS.exists():
        _LAST_WORDS.write_text(text[:4000])
    return code


if __name__ == "__main__":
    sys.exit(main())

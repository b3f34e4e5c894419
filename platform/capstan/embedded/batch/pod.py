"""One try of a batch in a pod: `python -m capstan.embedded.batch.pod --order /order --bento ... --output /predictions`.

The Bento is there and verified. What became of the rows goes into the container's termination message. Exit codes: 0
finished, 1 failed, 143 ended by SIGTERM; with any other the process was lost. After the last two Kubernetes starts it
again, and it goes on at the file that it was writing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

import orjson

from capstan.adapters.kubernetes.batches import ORDER, SPEC
from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.batch_calendar import BatchOrder, BatchStatus
from capstan.domain.training import RunPhase
from capstan.domain.versions import SystemName
from capstan.embedded.batch.folder import folder_name
from capstan.embedded.batch.predicting import BatchRequest, predict_batch, status_of
from capstan.embedded.batch.watching import WatchedRows
from capstan.errors import CapstanError
from capstan.ports.codec import from_json, to_json
from capstan.spec import parse
from capstan.tasks import task_of

LAST_WORDS = Path("/dev/termination-log")
MOST_BYTES = 4096
"""Of a termination message; Kubernetes keeps no more."""
ENDED = 143
_SHORT = 160
_SECONDS_BETWEEN_LINES = 5.0


def run(
    folder: Path, bento: Path, base: Path, secrets: Path, output: Path, collector: str, token_file: Path
) -> BatchStatus:
    """What became of the batch that is ordered in the folder."""
    order = from_json(BatchOrder, orjson.loads((folder / ORDER).read_bytes()))
    try:
        system = parse(orjson.loads((folder / SPEC).read_bytes()), base_dir=base)
        assert system.spec.batch is not None
        stretch = order.stretch
        request = BatchRequest(
            system,
            order.version,
            bento / MODEL_FOLDER,
            stretch.start,
            stretch.end,
            output / system.spec.batch.output / folder_name(stretch.start, stretch.end),
            secrets=secrets,
            input=system.spec.batch.input,
            watched=WatchedRows(
                collector,
                token_file,
                SystemName(system.metadata.name),
                order.version.name,
                system.spec.data.keys.id_column,
                system.spec.data.keys.group if "group" in task_of(system.spec).facts.keys else None,
            ),
        )
        result = predict_batch(request, advance=Progress().tell)
    except CapstanError as error:
        return BatchStatus(RunPhase.FAILED, str(error))
    where = request.output.relative_to(output)
    return replace(status_of(request, result), output=f"{where} of the volume of batches")


def last_words(status: BatchStatus) -> bytes:
    """The status in as many bytes as are kept: numbers come first, then as much of the texts as fits."""
    for most in (None, _SHORT, 0):
        texts = tuple(reason if most is None else reason[:most] for reason in status.reasons)
        shorter = replace(
            status,
            reasons=tuple(filter(None, texts)),
            message=status.message[: None if most is None else 1000],
        )
        found = orjson.dumps(to_json(shorter))
        if len(found) <= MOST_BYTES:
            return found
    return orjson.dumps(to_json(replace(status, reasons=(), message=status.message[:500], output="")))


class Progress:
    """Tells the log how far it is, now and then."""

    def __init__(self) -> None:
        self._told_at = float("-inf")

    def tell(self, done: int, rows: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= _SECONDS_BETWEEN_LINES or done == rows:
            self._told_at = now
            print(f"batch: {done:,} of {rows:,} rows", flush=True)  # noqa: T201


def _leave(_number: int, _frame: FrameType | None) -> None:
    # What is half-made is cleared away.
    sys.exit(ENDED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m capstan.embedded.batch.pod", description=__doc__)
    parser.add_argument(
        "--order", type=Path, required=True, help="folder with the order and the file, as mounted"
    )
    parser.add_argument("--bento", type=Path, required=True, help="the version's verified Bento")
    parser.add_argument(
        "--base", type=Path, required=True, help="folder that the file's paths are relative to"
    )
    parser.add_argument(
        "--secrets", type=Path, required=True, help="folder with a file NAME/KEY for each secret"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder that `batch.output` is relative to"
    )
    parser.add_argument(
        "--collector", required=True, help="address of the collector, which is shown the rows"
    )
    parser.add_argument("--token", type=Path, required=True, help="file with the token that it asks for")
    parser.add_argument("--last-words", type=Path, default=LAST_WORDS, help="file for the result")
    given = parser.parse_args()
    # The first process of a container has no default reaction to SIGTERM.
    signal.signal(signal.SIGTERM, _leave)
    begun = time.monotonic()
    status = run(
        given.order, given.bento, given.base, given.secrets, given.output, given.collector, given.token
    )
    status = replace(status, seconds=round(time.monotonic() - begun, 1))
    given.last_words.write_bytes(last_words(status))
    print(f"batch: {status.message or f'{status.written:,} rows are written'}", flush=True)  # noqa: T201
    return 0 if status.phase is RunPhase.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main())

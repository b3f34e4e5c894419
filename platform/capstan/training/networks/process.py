"""One of several processes that learn a network together: `python -m capstan.training.networks.process`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from capstan.errors import CapstanError
from capstan.training.networks.learning import Share, learn
from capstan.training.networks.plan import Table, read_plan


def main(folder: Path, rank: int, processes: int, threads: int) -> None:
    """Learn with the others; the first of them writes what was learnt."""
    import torch.distributed

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder.absolute()}/meeting", rank=rank, world_size=processes
    )
    found = learn(read_plan(folder), Table.read(folder), threads=threads, share=Share(rank, processes))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if rank == 0:
        found.write(folder)


def _end_with_parent() -> None:
    """The pipe ends when the process that waits does, also by SIGKILL. Python's own reader would hold the end up."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    except CapstanError as error:
        print(error, file=sys.stderr)  # noqa: T201 — who waits reads the last line
        sys.exit(1)

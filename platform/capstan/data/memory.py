"""How much memory the tables of a training may take before they spill to disk."""

from __future__ import annotations

from pathlib import Path

import psutil

from capstan.spec.training import Resources

_OF_STATED = 0.6
"""Of what the file sets aside; the rest is for the finished table and the libraries that read it."""
_OF_MACHINE = 0.5
_LEAST = 256 * 2**20
_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = ("memory.max", "memory/memory.limit_in_bytes")


def table_memory(resources: Resources, *, cgroup: Path = _CGROUP) -> int:
    """Bytes for tables: of what the file states (limit, else request), else of what machine or container has."""
    machine = machine_memory(cgroup=cgroup)
    stated = resources.limits.memory or resources.requests.memory
    wanted = _OF_STATED * min(stated, machine) if stated is not None else _OF_MACHINE * machine
    return max(_LEAST, int(wanted))


def machine_memory(*, cgroup: Path = _CGROUP) -> int:
    """Bytes of the machine, or of the container where that has a smaller limit."""
    found = [int(psutil.virtual_memory().total)]
    for name in _CGROUP_FILES:
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return min(found)

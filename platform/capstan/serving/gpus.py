"""What NVIDIA's management library (NVML) tells of the GPUs that this process may use; without it nothing is told.

A number that NVML does not know is absent and never 0: a GPU that is divided by MIG, for example, has no utilisation.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

VISIBLE = "CUDA_VISIBLE_DEVICES"
FAMILIES = {
    "capstan_gpu_utilization_ratio": "Share of the last moments in which the GPU computed, for whatever process.",
    "capstan_gpu_memory_used_bytes": "Memory of the GPU that is taken, by whatever process.",
    "capstan_gpu_memory_bytes": "Memory that the GPU has.",
    "capstan_gpu_temperature_celsius": "Temperature of the GPU.",
    "capstan_gpu_process_memory_bytes": "Memory of the GPU that this process has taken.",
}
logger = logging.getLogger(__name__)


class Gpus(Collector):
    """Asked at every scrape; one per process."""

    def __init__(self) -> None:
        self._nvml = _begun()

    def collect(self) -> Iterator[Metric]:
        families = {name: GaugeMetricFamily(name, text, labels=("gpu",)) for name, text in FAMILIES.items()}
        if self._nvml is not None:
            for gpu, handle in _visible(self._nvml):
                for name, value in _told(self._nvml, handle):
                    families[name].add_metric((gpu,), value)
        return (family for family in families.values() if family.samples)


def _begun() -> Any:
    """The module `pynvml`, ready to be asked; None: it is not installed, or there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return None
    except Exception as error:
        # Another package of this name may be installed, whatever it does.
        logger.info("GPUs are not watched: %s", error)
        return None
    return pynvml


def _visible(nvml: Any) -> Iterator[tuple[str, Any]]:
    """Number and handle of each GPU that the process may use, by `CUDA_VISIBLE_DEVICES`: numbers or UUIDs."""
    named = os.environ.get(VISIBLE)
    wanted = None if named is None else [part.strip() for part in named.split(",")]
    try:
        count = nvml.nvmlDeviceGetCount()
    except Exception:
        return
    for number in range(count):
        with suppress(Exception):
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            if wanted is None or _is_named(wanted, number, nvml.nvmlDeviceGetUUID(handle)):
                yield str(number), handle


def _is_named(wanted: list[str], number: int, uuid: str) -> bool:
    """A UUID may be cut short, as CUDA allows."""
    return any(part == str(number) or (part.startswith("GPU-") and uuid.startswith(part)) for part in wanted)


def _told(nvml: Any, handle: Any) -> Iterator[tuple[str, float]]:
    asked: dict[str, Callable[[], float | None]] = {
        "capstan_gpu_utilization_ratio": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        "capstan_gpu_memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
        "capstan_gpu_memory_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
        "capstan_gpu_temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(
            handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "capstan_gpu_process_memory_bytes": lambda: _own_memory(nvml, handle),
    }
    for name, ask in asked.items():
        # An old driver lacks functions of the package. Whatever is raised here would cost all metrics of the service.
        with suppress(Exception):
            value = ask()
            if value is not None:
                yield name, float(value)


def _own_memory(nvml: Any, handle: Any) -> float | None:
    """None: the process is not told among those that compute, as in a container, where NVML numbers them otherwise."""
    found = [
        one.usedGpuMemory
        for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        if one.pid == os.getpid() and one.usedGpuMemory is not None
    ]
    return float(sum(found)) if found else None

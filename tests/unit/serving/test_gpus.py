"""GPUs are told as NVML tells them by its C interface; where there is none, or it does not know, nothing is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_char, c_int, c_uint, c_void_p, cast
from dataclasses import dataclass
from typing import Any

import pynvml
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from capstan.serving.gpus import Gpus
from capstan.serving.metrics import ServiceMetrics

NOT_SUPPORTED, LOST = pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_GPU_IS_LOST
GB = 10**9


@dataclass
class Gpu:
    """What the driver knows of one GPU; None: it does not support the question."""

    uuid: str
    busy: int | None
    used: int
    total: int
    temperature: int
    processes: tuple[tuple[int, int], ...] = ()
    """Number of the process, and bytes that it has taken."""
    is_lost: bool = False


class Driver:
    """A library with the functions of NVML that are asked for, called through C as the driver's own are."""

    def __init__(self, gpus: list[Gpu], *, answers: int = pynvml.NVML_SUCCESS) -> None:
        self.gpus, self.begun = gpus, answers
        number = POINTER(c_uint)
        told: dict[str, tuple[Callable[..., int], tuple[Any, ...]]] = {
            "nvmlInitWithFlags": (lambda _flags: self.begun, (c_uint,)),
            "nvmlDeviceGetCount_v2": (self._count, (number,)),
            "nvmlDeviceGetHandleByIndex_v2": (self._handle, (c_uint, POINTER(pynvml.c_nvmlDevice_t))),
            "nvmlDeviceGetUUID": (self._uuid, (c_void_p, POINTER(c_char), c_uint)),
            "nvmlDeviceGetUtilizationRates": (self._rates, (c_void_p, POINTER(pynvml.c_nvmlUtilization_t))),
            "nvmlDeviceGetMemoryInfo": (self._memory, (c_void_p, POINTER(pynvml.c_nvmlMemory_t))),
            "nvmlDeviceGetTemperature": (self._temperature, (c_void_p, c_uint, number)),
            "nvmlDeviceGetComputeRunningProcesses_v3": (
                self._processes,
                (c_void_p, number, POINTER(pynvml.c_nvmlProcessInfo_v2_t)),
            ),
        }
        for name, (answer, kinds) in told.items():
            setattr(self, name, CFUNCTYPE(c_int, *kinds)(answer))

    def _of(self, handle: int) -> Gpu:
        return self.gpus[handle - 1]

    def _count(self, count: Any) -> int:
        count[0] = len(self.gpus)
        return 0

    def _handle(self, number: int, handle: Any) -> int:
        if self.gpus[number].is_lost:
            return int(LOST)
        handle[0] = cast(c_void_p(number + 1), pynvml.c_nvmlDevice_t)
        return 0

    def _uuid(self, handle: int, buffer: Any, _size: int) -> int:
        for at, byte in enumerate(self._of(handle).uuid.encode() + b"\0"):
            buffer[at] = byte
        return 0

    def _rates(self, handle: int, rates: Any) -> int:
        busy = self._of(handle).busy
        if busy is None:
            return int(NOT_SUPPORTED)
        rates[0].gpu = busy
        return 0

    def _memory(self, handle: int, memory: Any) -> int:
        memory[0].used, memory[0].total = self._of(handle).used, self._of(handle).total
        return 0

    def _temperature(self, handle: int, sensor: int, degrees: Any) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        degrees[0] = self._of(handle).temperature
        return 0

    def _processes(self, handle: int, count: Any, found: Any) -> int:
        processes = self._of(handle).processes
        room, count[0] = count[0], len(processes)
        if len(processes) > room:
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
        for at, (pid, used) in enumerate(processes):
            found[at].pid, found[at].usedGpuMemory = pid, used
        return 0


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Driver], Driver]:
    """The driver's library, in place of what the machine has."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def put(driver: Driver) -> Driver:
        monkeypatch.setattr(pynvml, "nvmlLib", driver)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return driver

    return put


def two(**more: Any) -> list[Gpu]:
    return [
        Gpu("GPU-aa11", 97, 30 * GB, 80 * GB, 71, ((4242, GB), (os.getpid(), 12 * GB)), **more),
        Gpu("GPU-bb22", 3, GB, 80 * GB, 34),
    ]


def told() -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(Gpus())
    lines = generate_latest(registry).decode().splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")
    }


def test_each_gpu_is_told_with_the_memory_of_this_process(install: Callable[[Driver], Driver]) -> None:
    install(Driver(two()))
    assert told() == {
        'capstan_gpu_utilization_ratio{gpu="0"}': 0.97,
        'capstan_gpu_utilization_ratio{gpu="1"}': 0.03,
        'capstan_gpu_memory_used_bytes{gpu="0"}': 30.0 * GB,
        'capstan_gpu_memory_used_bytes{gpu="1"}': 1.0 * GB,
        'capstan_gpu_memory_bytes{gpu="0"}': 80.0 * GB,
        'capstan_gpu_memory_bytes{gpu="1"}': 80.0 * GB,
        'capstan_gpu_temperature_celsius{gpu="0"}': 71.0,
        'capstan_gpu_temperature_celsius{gpu="1"}': 34.0,
        'capstan_gpu_process_memory_bytes{gpu="0"}': 12.0 * GB,
    }


def test_a_service_tells_them_as_they_are_at_each_scrape(install: Callable[[Driver], Driver]) -> None:
    driver = install(Driver(two()))
    metrics = ServiceMetrics("toy", "v1")
    assert 'capstan_gpu_utilization_ratio{gpu="0"} 0.97' in metrics.exposition().decode().splitlines()
    driver.gpus[0].busy = 12
    assert 'capstan_gpu_utilization_ratio{gpu="0"} 0.12' in metrics.exposition().decode().splitlines()
    assert "process_cpu_seconds_total" in metrics.exposition().decode()


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("1", {"1"}), ("0,1", {"0", "1"}), ("GPU-bb", {"1"}), ("", set()), ("-1", set())],
    ids=["a number", "numbers", "a UUID cut short", "none", "none by custom"],
)
def test_only_gpus_that_the_process_may_use_are_told(
    install: Callable[[Driver], Driver], monkeypatch: pytest.MonkeyPatch, visible: str, seen: set[str]
) -> None:
    install(Driver(two()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert {name.split('"')[1] for name in told()} == seen


def test_what_the_driver_does_not_know_is_absent_and_not_zero(install: Callable[[Driver], Driver]) -> None:
    driver = install(Driver(two()))
    driver.gpus[0].busy = None
    driver.gpus[1].is_lost = True
    found = told()
    assert {name.split('"')[1] for name in found} == {"0"}
    assert 'capstan_gpu_utilization_ratio{gpu="0"}' not in found
    assert found['capstan_gpu_temperature_celsius{gpu="0"}'] == 71.0


def test_an_old_driver_without_a_function_costs_that_number_alone(
    install: Callable[[Driver], Driver],
) -> None:
    driver = install(Driver(two()))
    del driver.nvmlDeviceGetComputeRunningProcesses_v3  # type: ignore[attr-defined]
    found = told()
    assert 'capstan_gpu_process_memory_bytes{gpu="0"}' not in found
    assert found['capstan_gpu_utilization_ratio{gpu="0"}'] == 0.97


def test_nothing_is_told_without_the_driver_or_the_package(
    install: Callable[[Driver], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Driver(two(), answers=pynvml.NVML_ERROR_DRIVER_NOT_LOADED))
    assert told() == {}
    # No library of that name: what the loader of the package does then is its own.
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert told() == {}
    assert "capstan_gpu" not in ServiceMetrics("toy", "v1").exposition().decode()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert told() == {}

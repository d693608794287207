"""This machine's own metrics, under the names of OpenTelemetry's semantic conventions.

    python -m tests.demo.host COLLECTOR

Processors, load, memory, swap, disks, file systems, network and processes, once a second.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Final

import psutil
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tests.demo.telemetry import metrics_of

__all__ = ["SERVICE", "main"]

SERVICE: Final = "host"

Observations = Iterable[Observation]


def _processors() -> Observations:
    for number, times in enumerate(psutil.cpu_times_percent(percpu=True)):
        for state in ("user", "system", "idle", "iowait", "steal"):
            if hasattr(times, state):  # which there are depends on the operating system
                labels = {"cpu.logical_number": number, "cpu.mode": state}
                yield Observation(getattr(times, state) / 100, labels)


def _busy() -> Observations:
    yield Observation(psutil.cpu_percent() / 100)


def _load() -> Observations:
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        yield Observation(load, {"minutes": minutes})


def _memory() -> Observations:
    memory = psutil.virtual_memory()
    for state in ("used", "free", "cached", "buffers", "available"):
        if hasattr(memory, state):
            yield Observation(getattr(memory, state), {"system.memory.state": state})


def _memory_utilization() -> Observations:
    yield Observation(psutil.virtual_memory().percent / 100)


def _swap() -> Observations:
    swap = psutil.swap_memory()
    yield Observation(swap.used, {"system.paging.state": "used"})
    yield Observation(swap.free, {"system.paging.state": "free"})


def _file_systems() -> Observations:
    for partition in psutil.disk_partitions():
        try:
            usage = psutil.disk_usage(partition.mountpoint)
        except OSError:  # gone, or not ours to look at
            continue
        labels = {"system.device": partition.device, "mountpoint": partition.mountpoint}
        yield Observation(usage.used, {**labels, "system.filesystem.state": "used"})
        yield Observation(usage.free, {**labels, "system.filesystem.state": "free"})


def _disk(of_reads: str, of_writes: str) -> Callable[[], Observations]:
    def observe() -> Observations:
        for device, counted in (psutil.disk_io_counters(perdisk=True) or {}).items():
            for direction, field in (("read", of_reads), ("write", of_writes)):
                labels = {"system.device": device, "disk.io.direction": direction}
                yield Observation(getattr(counted, field), labels)

    return observe


def _network(of_receipts: str, of_transmissions: str) -> Callable[[], Observations]:
    def observe() -> Observations:
        for device, counted in psutil.net_io_counters(pernic=True).items():
            for direction, field in (("receive", of_receipts), ("transmit", of_transmissions)):
                labels = {"network.interface.name": device, "network.io.direction": direction}
                yield Observation(getattr(counted, field), labels)

    return observe


def _since_last(look: Callable[[], Observations]) -> Callable[[], Observations]:
    """Leave out the first result: psutil measures since the last call by the same thread."""
    calls = 0

    def observe() -> Observations:
        nonlocal calls
        calls += 1
        observations = list(look())
        return observations if calls > 1 else []

    return observe


def _processes() -> Observations:
    yield Observation(len(psutil.pids()))


GAUGES: Final[dict[str, tuple[str, Callable[[], Observations]]]] = {
    "system.cpu.utilization": ("1", _since_last(_processors)),
    "system.cpu.busy": ("1", _since_last(_busy)),
    "system.cpu.load_average": ("{thread}", _load),
    "system.memory.usage": ("By", _memory),
    "system.memory.utilization": ("1", _memory_utilization),
    "system.paging.usage": ("By", _swap),
    "system.filesystem.usage": ("By", _file_systems),
    "system.process.count": ("{process}", _processes),
}
COUNTERS: Final[dict[str, tuple[str, Callable[[], Observations]]]] = {
    "system.disk.io": ("By", _disk("read_bytes", "write_bytes")),
    "system.disk.operations": ("{operation}", _disk("read_count", "write_count")),
    "system.network.io": ("By", _network("bytes_recv", "bytes_sent")),
    "system.network.packet.count": ("{packet}", _network("packets_recv", "packets_sent")),
    "system.network.errors": ("{error}", _network("errin", "errout")),
    "system.network.packet.dropped": ("{packet}", _network("dropin", "dropout")),
}


def observe(meter: Meter) -> None:
    """Have all of it observed whenever the meter's reader collects."""

    def callback(look: Callable[[], Observations]) -> Callable[[CallbackOptions], Observations]:
        return lambda _: look()

    for name, (unit, look) in GAUGES.items():
        meter.create_observable_gauge(name, [callback(look)], unit)
    for name, (unit, look) in COUNTERS.items():
        meter.create_observable_counter(name, [callback(look)], unit)


def main(collector: str) -> None:
    """Send metrics until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    provider = metrics_of(SERVICE, collector)
    observe(provider.get_meter("headrace.demo.host"))
    print("ready", flush=True)
    ended.wait()
    provider.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])

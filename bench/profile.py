"""``python -m bench.profile``: where the CPU of the flow goes, by thread and by function.

Runs the flow on OTLP messages of 8,000 series, to nothing, under py-spy; with ``--topics`` with
scoring, and to its topics. It shows

- the CPU seconds of each kind of thread, from the kernel: those of librdkafka and Polars have
  no Python frames, so no Python profiler sees them;
- what the workers' threads do, by the function of ours that is innermost in the stack, and by the
  step of the flow, from py-spy's samples. A sample is of wall time: with another thread at work
  it is also waiting for the GIL;
- the flow's own clock, ``headrace_batch_seconds``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from bench.case import Job
from bench.load import Load
from bench.run import Child, environment
from bench.servers import servers
from bench.topic import OUTPUTS, PREFIX, create, fill, remove_all

_LOOK_SECONDS: Final = 0.1
_HZ: Final = 100
_OURS: Final = re.compile(r"^(\S+) .*\(((?:operators|flows|sinks|models)/\S+?\.py)(?::\d+)?\)$")


def main() -> None:
    """Profile, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile")
    parser.add_argument("--points", type=int, default=8_000_000)
    parser.add_argument("--series", type=int, default=8_000)
    parser.add_argument("--encoding", default="otlp_proto")
    parser.add_argument("--interval", type=int, default=1, help="seconds between a series' points")
    parser.add_argument("--topics", action="store_true", help="with scoring, to topics")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--raw", type=Path, metavar="FILE", help="keep py-spy's samples")
    options = parser.parse_args()
    load = Load(
        options.series,
        options.points // options.series,
        encoding=options.encoding,
        interval=options.interval,
    )
    topic = f"{PREFIX}profile"
    say = Console()
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bench-") as place,
        servers(Path(place), say, influxdb=False) as running,
    ):
        fill(running.bootstrap, topic, load)
        samples = Path(place) / "samples"
        command = [_py_spy(), "record", "--rate", str(_HZ), "--format", "raw", "--function"]
        create(running.bootstrap, *OUTPUTS.values())
        env = environment(running.bootstrap, topic, load)
        env["HEADRACE__SCORING__ENABLED"] = str(options.topics).lower()
        outputs = "settings" if options.topics else "nothing"
        child = Child(
            Job("flow", workers=options.workers, outputs=outputs),
            env,
            [*command, "--output", str(samples), "--"],
        )
        try:
            child.wait_until_ready()
            threads = _watch(child)
            report = child.report
            child.wait()
        finally:
            child.kill()
            remove_all(running.bootstrap)
        text = samples.read_text(encoding="utf-8")
        if options.raw:
            options.raw.write_text(text, encoding="utf-8")
    seconds = report["ended"] - report["began"]
    cpu = report["cpu"] / load.points * 1e6
    say.print(
        f"{load.points / seconds / 1e6:.2f} M points/s under py-spy, {cpu:.3f} CPU s a million"
    )
    million = load.points / 1e6
    say.print(_table("CPU seconds a million, by thread", threads, million, sum(threads.values())))
    steps: dict[str, float] = defaultdict(float)
    functions: dict[str, float] = defaultdict(float)
    for frames, count in _stacks(text):
        steps[frames[0]] += count / _HZ
        functions[frames[-1]] += count / _HZ
    say.print(_table("Workers' seconds a million, by step", steps, million, sum(steps.values())))
    say.print(_table("by function", functions, million, sum(steps.values())))
    say.print(_table("headrace_batch_seconds", report["steps"], million, seconds))


def _py_spy() -> str:
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found is None:
        raise SystemExit("py-spy is not installed: uv pip install py-spy")
    return found


def _watch(child: Child) -> dict[str, float]:
    """Let it work; return the CPU seconds of its threads meanwhile, by their kind."""
    (process,) = psutil.Process(child.pid).children()
    before = _threads(process.pid)
    last = before
    child.go()
    while not child.done(_LOOK_SECONDS):
        last = {**last, **_threads(process.pid)}
    kinds: dict[str, float] = defaultdict(float)
    for key, spent in last.items():
        # Numbers at the end tell threads of one kind apart.
        kinds[re.sub(r"[-_/: ]?\d+$", "", key[1])] += spent - before.get(key, 0.0)
    return kinds


def _threads(pid: int) -> dict[tuple[int, str], float]:
    """Return the CPU seconds of each thread, by its number and name."""
    found = {}
    tick = 1e9
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            name = (task / "comm").read_text().strip()
            # Nanoseconds on the CPU; the ticks of `stat` are too coarse.
            spent = int((task / "schedstat").read_text().split()[0]) / tick
        except (OSError, IndexError, ValueError):
            continue  # it has ended
        found[int(task.name), name] = spent
    return found


def _stacks(text: str) -> Iterator[tuple[list[str], int]]:
    """Yield our functions on each stack of a worker, the outermost first, and its samples.

    The main thread, which imports and then waits, is told by the module that it runs.
    """
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        # py-spy leaves out the package of what is installed: that one is Bytewax's.
        matches = [m for m in map(_OURS.match, frames) if m and m[2] != "operators/__init__.py"]
        if matches and not any(frame.startswith("<module>") for frame in frames):
            yield [f"{m[2]}: {m[1]}" for m in matches], int(count)


def _table(title: str, seconds: Mapping[str, float], million: float, whole: float) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("s a million", justify="right")
    table.add_column("share", justify="right")
    for name, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        if spent / whole >= 0.005:
            table.add_row(name, f"{spent / million:.4f}", f"{spent / whole:.0%}")
    return table


if __name__ == "__main__":
    main()

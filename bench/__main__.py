"""``make bench``: what the flow ``metrics`` costs, as ratios measured in one run.

The floor is what reading the same messages and decoding them to points costs; the rest is
Headrace. Cases take turns, so that a machine whose speed drifts slows all of them alike. Ratios
are of the same turn, figures are medians over turns; absolute numbers are those of this machine.
`bench/README.md` says what each case is, and how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench.case import Job
from bench.cases import WAYS, Case, Scale, plan, with_sources
from bench.figures import Figures
from bench.latency import latency
from bench.load import SERIES_A_MESSAGE, Load
from bench.machine import busy, facts
from bench.restart import restart
from bench.run import FailedError, Measured, environment, measure
from bench.servers import Servers, influxdb_settings, servers
from bench.table import show
from bench.topic import OUTPUTS, PREFIX, create, fill, remove_all
from flows.settings import Rollups
from operators.decoders import DECODERS

LATENCY, RESTART = "latency", "restart"
_WINDOWS = 6
"""That ``latency`` looks at: a minute of them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = Console(width=None if sys.stdout.isatty() else 120)
    wanted = re.compile(options.only or "")
    scale = _scale(options)
    cases = plan(scale)
    cases = with_sources([case for case in cases if wanted.search(case.label)], cases)
    for encoding in _encodings(cases) - set(DECODERS):
        say.print(f"{encoding}: no such encoding here, left out")
    cases = [case for case in cases if _of_logs(case) or case.load.encoding in DECODERS]
    extras = [name for name in (LATENCY, RESTART) if wanted.search(name)]
    if options.quick and not options.only:
        extras = []
    if not cases and not extras:
        raise SystemExit(f"--only {options.only}: matches no case")
    say.print(facts())
    if busy():
        say.print("The machine is busy: its CPU seconds mean something, points a second do not.")
    figures = Figures()
    to_influxdb = LATENCY in extras or any(map(_to_influxdb, cases))
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bench-") as place,
        servers(Path(place), say, influxdb=to_influxdb) as running,
    ):
        create(running.bootstrap, *OUTPUTS.values())
        bench = Bench(running, Path(place), say, figures)
        few, most = scale.series[0], scale.series[-1]
        try:
            bench.run(cases, scale.runs)
            if LATENCY in extras:
                bench.extra(LATENCY, lambda: latency(running, few, _WINDOWS, Path(place)))
            if RESTART in extras:
                bench.extra(RESTART, lambda: restart(running.bootstrap, most, Path(place)))
        except KeyboardInterrupt:
            say.print("Interrupted; this is what there is so far.")
        finally:
            remove_all(running.bootstrap)
    show(figures, say)
    if options.json:
        text = json.dumps({"machine": facts(), **figures.to_json()}, indent=2)
        options.json.write_text(text, encoding="utf-8")


class Bench:
    """Runs cases in turns against the servers, and keeps what they came to."""

    def __init__(self, running: Servers, place: Path, say: Console, figures: Figures) -> None:
        self._servers = running
        self._place = place
        self._say = say
        self._figures = figures
        self._began = time.monotonic()
        self._written = ""  # the rollups topic of the last flow to topics

    def run(self, cases: Sequence[Case], runs: int) -> None:
        """Let the cases take turns; one that fails is left out from then on, with its reason."""
        if self._servers.influxdb is None:
            cases = [case for case in cases if not _to_influxdb(case)]
        for topic, case in {case.topic: case for case in cases if not _in_memory(case)}.items():
            self._tell(f"writing {topic}")
            fill(self._servers.bootstrap, _name(topic), case.load)
        for encoding in _encodings(cases):
            self._warm_up(encoding)
        failed = set()
        for turn in range(runs):
            for case in cases:
                if turn < case.turns and case not in failed:
                    try:
                        run = self._measure(case)
                    except FailedError as error:
                        self._say.print(f"{case.label}: left out: {error}", markup=False)
                        failed.add(case)
                        continue
                    self._figures.add(case, run)
                    rate = f"{run.rate / 1e6:.2f} M/s, {run.cpu_a_million:.3f} CPU s a million"
                    self._tell(f"turn {turn + 1} of {min(runs, case.turns)}: {case.label}: {rate}")

    def extra(self, name: str, work: Callable[[], dict[str, float]]) -> None:
        """Measure something that is no throughput."""
        self._tell(name)
        try:
            self._figures.single |= work()
        except FailedError as error:
            self._say.print(f"{name}: left out: {error}", markup=False)

    def _warm_up(self, encoding: str) -> None:
        """Run a small flow, so that what is compiled on its first use is compiled by now."""
        load = Load(SERIES_A_MESSAGE, 30, encoding=encoding)
        topic = f"{PREFIX}warm-up.{encoding}"
        fill(self._servers.bootstrap, topic, load)
        self._tell(f"warming up {encoding}")
        try:
            measure(
                Job("flow"), environment(self._servers.bootstrap, topic, load), load, self._place
            )
        except FailedError as error:
            self._say.print(f"warming up: {error}", markup=False)

    def _measure(self, case: Case) -> Measured:
        way = WAYS[case.way]
        env = environment(self._servers.bootstrap, _name(case.topic), case.load)
        env["HEADRACE__SCORING__ENABLED"] = str(way.scoring).lower()
        env |= self._rollups_of(case)
        if _to_influxdb(case) and self._servers.influxdb is not None:
            windows = Rollups().windows
            name = f"{PREFIX}{time.time_ns()}"
            env |= influxdb_settings(self._servers.influxdb, name, windows)
        return measure(
            case.job, env, case.load, self._place,
            processes=way.processes, recovery=way.recovery,
        )  # fmt: skip

    def _rollups_of(self, case: Case) -> dict[str, str]:
        """Return the settings of the rollups topic of a load, which is made anew for each flow."""
        if not _writes(case):
            return {}
        name = f"{_name(case.topic)}.rollups"
        if case.job.work == "flow":
            self._written = f"{name}.{time.time_ns()}"
            create(self._servers.bootstrap, self._written)
        return {"HEADRACE__TOPICS__ROLLUPS": self._written}

    def _tell(self, what: str) -> None:
        self._say.print(f"{time.monotonic() - self._began:5.0f} s  {what}", markup=False)


def _of_logs(case: Case) -> bool:
    return case.load.signal == "logs"


def _encodings(cases: Sequence[Case]) -> set[str]:
    """Return those of metrics."""
    return {case.load.encoding for case in cases if not _of_logs(case)}


def _in_memory(case: Case) -> bool:
    return case.job.memory is not None


def _to_influxdb(case: Case) -> bool:
    return case.way.endswith("InfluxDB")


def _writes(case: Case) -> bool:
    return case.job.outputs == "settings" and not _of_logs(case)


def _name(topic: str) -> str:
    return PREFIX + re.sub("[ ,]+", "-", topic)


def _scale(options: argparse.Namespace) -> Scale:
    if options.quick:
        scale = Scale(points=4_000_000, few=1_000_000, series=(8_000,), runs=1)
    elif options.full:
        scale = Scale(few=16_000_000 // 4, whole=True)
    else:
        scale = Scale()
    return Scale(
        points=options.points or scale.points,
        few=min(options.points or scale.few, scale.few),
        series=(options.series,) if options.series else scale.series,
        runs=options.runs or scale.runs,
        whole=scale.whole,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a look in two minutes: one turn")
    size.add_argument("--full", action="store_true", help="every case of every load: hours")
    parser.add_argument("--only", metavar="PATTERN", help="cases whose label this finds (regex)")
    parser.add_argument("--points", type=int, help="of the large loads")
    parser.add_argument("--series", type=int, help="one number instead of 8k, 100k and 1M")
    parser.add_argument("--runs", type=int, help="turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write it all, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

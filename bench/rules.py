"""How long a tick of many rules takes, beside Prometheus' own engine on the same series.

`python -m bench.rules [--rules 1000] [--series 100000] [--ticks 5]` builds the engine from its Go
module the first time. Both sides run in turns, on one thread.
"""

from __future__ import annotations

import argparse
import resource
from contextlib import ExitStack
from statistics import median
from time import perf_counter, process_time

import numpy as np

from operators.rules.evaluator import Evaluator, Expression
from operators.rules.label_sets import LabelSets
from operators.rules.store import SeriesStore
from tests.backends.promql_engine import build

STEP = 15_000
LOOKBACK = 300_000
SHAPES = (
    "sum by (job) (rate({a}[5m])) > 1000000",
    "rate({a}[1m]) > 5",
    "{a} > 1000",
    "sum by (job, zone) (rate({a}[5m])) / sum by (job, zone) (rate({b}[5m])) > 0.05",
    "increase({a}[5m]) > 100 and {b} > 10",
    "max by (instance) ({a}) - min by (instance) ({b})",
    "avg without (instance) (irate({a}[2m]))",
    'count by (zone) ({a}{{job="j1"}} > 5)',
    "{a} / on (instance, job, zone) {b}",
    "max_over_time({a}[5m]) - min_over_time({a}[5m]) > 0",
)


def main() -> None:  # noqa: PLR0915
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.rules", description=__doc__)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without Prometheus")
    parser.add_argument("--samples", type=int, default=30, help="before the first tick")
    given = parser.parse_args()
    warm = given.samples
    metrics = max(given.rules // 10, 1) * 10
    each = max(given.series // metrics, 1)
    texts = [
        SHAPES[i % len(SHAPES)].format(a=f"m{i % metrics}_total", b=f"m{(i + 1) % metrics}_total")
        for i in range(given.rules)
    ]
    store = SeriesStore(keep=LOOKBACK)
    plan = Evaluator(store)
    number = np.tile(np.arange(each), metrics)
    begun = perf_counter()
    rows = store.rows_of(label_sets(store, metrics, each))
    named = perf_counter() - begun
    begun = perf_counter()
    expressions = [plan.expression(text) for text in texts]
    plan.refresh()  # As the flow does: from now on it is known how long samples are kept.
    planned = perf_counter() - begun
    appending = 0.0
    for k in range(warm):
        appending += append(store, rows, number, k)
    theirs: list[float] = []
    ours: list[float] = []
    busy: list[float] = []
    begun = perf_counter()
    tick(plan, expressions, (warm - 1) * STEP)
    first = perf_counter() - begun
    with ExitStack() as stack:
        engine = None
        if not given.alone:
            engine = stack.enter_context(build.running(build.program(print)))
            samples = warm + given.ticks
            made = {"Metrics": metrics, "Series": each, "Samples": samples, "Step": STEP}
            engine.ask({"make": made})
            engine.ask({"tick": texts, "time": (warm - 1) * STEP})
        for k in range(warm, warm + given.ticks):
            append(store, rows, number, k)
            begun, worked = perf_counter(), process_time()
            found = tick(plan, expressions, k * STEP)
            ours.append(perf_counter() - begun)
            busy.append(process_time() - worked)
            if engine is not None:
                said = engine.ask({"tick": texts, "time": k * STEP})
                theirs.append(said["seconds"])
                assert found == said["number"], (found, said)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.rules} rules over {len(rows)} series, ticks of {STEP / 1000:g} s")
    print(f"naming the series {named:.2f} s, planning {planned:.2f} s, first tick {first:.2f} s")
    print(f"appending a sample {appending / warm / len(rows) * 1e9:.0f} ns")
    print(f"samples {store.samples.nbytes / len(rows):.0f} B a series; process {memory:.0f} MB")
    print(f"a warm tick: Headrace {median(ours):.3f} s, {median(busy):.3f} CPU seconds")
    if theirs:
        share = median(ours) / median(theirs)
        print(f"Prometheus {median(theirs):.3f} s; of its time: {share:.2f} (goal: at most 0.33)")


def label_sets(store: SeriesStore, metrics: int, each: int) -> LabelSets:
    """Return the labels of all series, as columns."""
    number = store.symbols.number

    def texts(pattern: str, count: int) -> np.ndarray:
        return np.array([number(pattern.format(i)) for i in range(count)], np.int32)

    of = np.tile(np.arange(each), metrics)
    columns = {
        "__name__": np.repeat(texts("m{}_total", metrics), each),
        "instance": texts("i{}", each)[of],
        "job": texts("j{}", 10)[of % 10],
        "zone": texts("z{}", 3)[of % 3],
    }
    named = {number(name): column for name, column in columns.items()}
    return LabelSets(store.symbols, metrics * each, named)


def append(store: SeriesStore, rows: np.ndarray, number: np.ndarray, k: int) -> float:
    begun = perf_counter()
    values = (15 * k * (1 + number % 7)).astype(np.float64)
    store.append(rows, np.full(len(rows), k * STEP, np.int64), values)
    return perf_counter() - begun


def tick(plan: Evaluator, expressions: list[Expression], time: int) -> int:
    found = sum(int(expression.at(time).present.sum()) for expression in expressions)
    plan.begin()  # What was worked out for this tick is of no use any more.
    return found


if __name__ == "__main__":
    main()

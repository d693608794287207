"""Runs the commands of a test file on the evaluator."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from operators.rules.errors import EvaluationError, ExpressionError
from operators.rules.evaluator import Evaluator, Expression, Note
from operators.rules.frame import InstantVector, Range
from operators.rules.label_sets import NAME
from operators.rules.native_histogram import CUSTOM, NativeHistogram
from operators.rules.sequences import Item, duration
from operators.rules.store import SeriesStore
from operators.templating.lexing import Token
from operators.templating.literals import unquote
from tests.promql.reading import Clear, Eval, Load, read

_TOLERANCE = 1e-6
Value = float | NativeHistogram


@dataclass
class Outcome:
    """What came of one case; ``reason`` is empty if it passed."""

    line: int
    query: str
    reason: str


@dataclass
class _World:
    store: SeriesStore = field(default_factory=SeriesStore)


def run(text: str, delayed_name_removal: bool = True) -> list[Outcome]:
    """Run a file and return the outcome of each case."""
    outcomes = []
    world = _World()
    for command in read(text):
        match command:
            case Clear():
                world = _World()
            case Load():
                _load(world.store, command)
            case Eval():
                outcomes.append(Outcome(command.line, command.query, _case(world, command, delayed_name_removal)))  # fmt: skip
    return outcomes


def _load(store: SeriesStore, command: Load) -> None:
    # Of a series that is there twice the second one counts.
    once = {key(labels): (labels, items) for labels, items in command.series}
    for labels, items in once.values():
        if labels:
            put(store, labels, items, command.step)
    if command.with_custom_buckets:
        for labels, items in _custom(command.series):
            put(store, labels, items, command.step)


def put(store: SeriesStore, labels: dict[str, str], items: list[Item], step: int) -> None:
    """Put in a series with a value each step (ms)."""
    row = store.rows([labels])
    numbers = [(i * step, one) for i, one in enumerate(items) if isinstance(one, float)]
    if numbers:
        ts, values = zip(*numbers, strict=True)
        rows = np.full(len(ts), row[0], np.int32)
        store.append(rows, np.array(ts, np.int64), np.array(values))
    for i, one in enumerate(items):
        if isinstance(one, NativeHistogram):
            store.append_histogram(int(row[0]), i * step, one)


def _custom(
    series: list[tuple[dict[str, str], list[Item]]],
) -> list[tuple[dict[str, str], list[Item]]]:
    """Return classic histograms as native ones with custom buckets."""
    found: dict[tuple[tuple[str, str], ...], dict[str, list[Item]]] = {}
    for labels, items in series:
        name = labels.get(NAME, "")
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix):
                rest = {k: v for k, v in labels.items() if k != "le"}
                rest[NAME] = name.removesuffix(suffix)
                key = labels["le"] if suffix == "_bucket" and "le" in labels else suffix
                found.setdefault(tuple(sorted(rest.items())), {})[key] = items
    made = []
    for key, parts in found.items():
        uppers = {float(le): items for le, items in parts.items() if le not in ("_sum", "_count")}
        if not uppers:
            continue
        length = max(len(items) for items in parts.values())
        histograms: list[Item] = [_custom_at(i, uppers, parts) for i in range(length)]
        made.append((dict(key), histograms))
    return made


def _custom_at(
    i: int, uppers: dict[float, list[Item]], parts: dict[str, list[Item]]
) -> NativeHistogram | None:
    counts = {le: items[i] for le, items in sorted(uppers.items()) if i < len(items)}
    known = {le: count for le, count in counts.items() if isinstance(count, float)}
    if not known:
        return None

    def at(name: str) -> float | None:
        items = parts.get(name, [])
        one = items[i] if i < len(items) else None
        return one if isinstance(one, float) else None

    bounds = tuple(le for le in known if not math.isinf(le))
    total = at("_count")
    total = known.get(math.inf, max(known.values())) if total is None else total
    positive, before = {}, 0.0
    for index, le in enumerate((*bounds, math.inf)):
        count = known.get(le, total)
        if count - before:
            positive[index] = count - before
        before = count
    return NativeHistogram(
        schema=CUSTOM, count=total, sum=at("_sum") or 0.0, positive=positive, bounds=bounds
    )


def _case(  # noqa: PLR0911
    world: _World, command: Eval, delayed: bool
) -> str:
    """Return what is wrong with a case, nothing if it passes."""
    if command.unreadable:
        return f"expectation: {command.unreadable}"
    fails = any(line.split()[1] == "fail" for line in command.expects)
    plan = Evaluator(world.store, delayed_name_removal=delayed)
    try:
        expression = plan.expression(command.query)
        plan.begin()
        if expression.is_range:
            reason = _vector(command, expression.over(command.start))
            return reason or _notes(command, plan.notes)
        for line in command.expects:
            if line.startswith("expect string"):
                quoted = line.removeprefix("expect string").strip()
                kind = "raw" if quoted.startswith("`") else "string"
                same = expression.string == unquote(Token(kind, quoted, 1))
                return "" if same else f"expected {line}, got {expression.string!r}"
        if command.step is None:
            reason = _instant(command, expression.at(command.start), expression)
        else:
            reason = _range(command, expression)
    except ExpressionError as error:
        return "" if fails and _is_error(str(error)) else f"refused: {error}"
    except EvaluationError as error:
        return "" if fails else f"failed: {error}"
    if fails:
        return "did not fail"
    return reason or _notes(command, plan.notes)


def _is_error(text: str) -> bool:
    return "not supported" not in text


def _notes(command: Eval, notes: list[Note]) -> str:
    levels = {note.level for note in notes}
    for line in command.expects:
        word = line.split()[1]
        if word in ("warn", "info") and word not in levels:
            return f"no annotation: {line}"
        if word in ("no_warn", "no_info") and word[3:] in levels:
            return f"annotation: {next(n.text for n in notes if n.level == word[3:])}"
    return ""


def rows_of(frame: InstantVector) -> list[tuple[dict[str, str], Value]]:
    """Return the series of a result, in its order."""
    there = np.flatnonzero(frame.present) if frame.order is None else frame.order
    found: list[tuple[dict[str, str], Value]] = []
    for row in there:
        one = None if frame.histograms is None else frame.histograms[row]
        value = float(frame.values[row]) if one is None else one
        found.append((frame.sets.labels(int(row)), value))
    return found


def _instant(command: Eval, frame: InstantVector, expression: Expression) -> str:
    rows = rows_of(frame)
    if command.scalar is not None:
        same = expression.is_scalar and len(rows) == 1 and close(rows[0][1], command.scalar)
        return "" if same else f"expected {command.scalar}, got {rows}"
    expected = [(labels, items[0]) for labels, items in command.rows if items]
    got = {key(labels): value for labels, value in rows}
    if len(got) != len(expected):
        return f"expected {len(expected)} series, got {rows}"
    for labels, value in expected:
        if key(labels) not in got:
            return f"expected {labels}, got {rows}"
        if not close(got[key(labels)], value):
            return f"{labels}: expected {value}, got {got[key(labels)]}"
    ordered = any(line.split()[1] == "ordered" for line in command.expects)
    if ordered and [key(labels) for labels, _ in rows] != [key(labels) for labels, _ in expected]:
        return f"expected the order {expected}, got {rows}"
    return ""


def _vector(command: Eval, over: Range) -> str:
    """Compare a range vector with the values at the times that are expected."""
    match = re.search(r"range vector from (\S+) to (\S+) step (\S+)", "\n".join(command.expects))
    got = {}
    for row in range(over.sets.size):
        span = slice(int(over.low[row]), int(over.high[row]))
        points: dict[int, Value] = dict(
            zip(over.ts[span].tolist(), over.values[span].tolist(), strict=True)
        )
        points.update(over.histograms.get(row, []))
        if points:
            got[key(over.sets.labels(row))] = points
    if match is None:
        return "" if not got and not command.rows else f"expected nothing, got {got}"
    start, step = duration(match[1]), duration(match[3])
    expected = {
        key(labels): {start + i * step: one for i, one in enumerate(items) if one is not None}
        for labels, items in command.rows
    }
    same = got.keys() == expected.keys() and all(
        got[labels].keys() == points.keys()
        and all(close(got[labels][time], one) for time, one in points.items())
        for labels, points in expected.items()
    )
    return "" if same else f"expected {expected}, got {got}"


def _range(command: Eval, expression: Expression) -> str:
    got: dict[tuple[tuple[str, str], ...], dict[int, Value]] = {}
    assert command.step is not None
    times = range(command.start, command.end + 1, command.step)
    for time in times:
        frame = expression.at(time, command.start, command.end, command.step)
        for labels, value in rows_of(frame):
            got.setdefault(key(labels), {})[time] = value
    if command.scalar is not None:
        command.rows.append(({}, [command.scalar] * len(times)))
    expected = {
        key(labels): {command.start + i * command.step: one for i, one in enumerate(items) if one is not None}
        for labels, items in command.rows
    }  # fmt: skip
    expected = {labels: points for labels, points in expected.items() if points}
    if got.keys() != expected.keys():
        return f"expected {sorted(expected)}, got {sorted(got)}"
    for labels, points in expected.items():
        if got[labels].keys() != points.keys():
            return f"{labels}: expected times {sorted(points)}, got {sorted(got[labels])}"
        for time, value in points.items():
            if not close(got[labels][time], value):
                return f"{labels} at {time}: expected {value}, got {got[labels][time]}"
    return ""


def key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return labels as something that can be compared."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def close(got: Value, expected: Item) -> bool:
    """Return whether two values are the same up to the tolerance of Prometheus' own runner."""
    if isinstance(got, NativeHistogram) or isinstance(expected, NativeHistogram):
        return (
            isinstance(got, NativeHistogram)
            and isinstance(expected, NativeHistogram)
            and _close_histograms(got.compact(), expected.compact())
        )
    if expected is None:
        return False
    if math.isnan(expected) or math.isnan(got):
        return math.isnan(expected) and math.isnan(got)
    return got == expected or abs(got - expected) <= _TOLERANCE * max(abs(got), abs(expected))


def _close_histograms(got: NativeHistogram, expected: NativeHistogram) -> bool:
    numbers = [
        (got.count, expected.count),
        (got.sum, expected.sum),
        (got.zero_count, expected.zero_count),
    ]
    for mine, others in ((got.positive, expected.positive), (got.negative, expected.negative)):
        if mine.keys() != others.keys():
            return False
        numbers.extend((mine[index], others[index]) for index in mine)
    same = got.schema == expected.schema and got.bounds == expected.bounds
    return same and all(close(one, other) for one, other in numbers)

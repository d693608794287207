"""Random series, and random expressions of the kinds that rule files hold."""

from __future__ import annotations

import math
from random import Random

STEP = 15_000
SAMPLES = 60


class Expressions:
    """Makes expressions that have a result more often than not."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def _pick(self, *options: str) -> str:
        return self._random.choice(options)

    def selector(self, metric: str = "") -> str:
        """Return an instant selector."""
        metric = metric or self._pick("requests_total", "errors_total", "load", "memory", "up")
        matchers = self._random.sample(
            [
                'job="a"',
                'job!="b"',
                'instance=~"i[0-3]"',
                'zone!~"z.*"',
                'zone=~".+"',
                'code="500"',
            ],
            self._random.choice((0, 0, 0, 1, 1, 2)),
        )
        return f"{metric}{{{','.join(matchers)}}}" if matchers else metric

    def range(self) -> str:
        """Return a range selector."""
        length = self._pick("30s", "1m", "2m", "5m", "7m30s")
        moved = self._pick("", "", "", " offset 1m", " offset -30s")
        return f"{self.selector()}[{length}]{moved}"

    def over(self) -> str:
        """Return a function of a range."""
        if self._random.random() < 0.12:
            function = self._pick(
                "max_over_time", "avg_over_time", "sum_over_time", "rate", "last_over_time"
            )
            return f"{function}(({self.vector(1)})[3m:{self._pick('30s', '1m', '')}])"
        function = self._pick(
            "rate", "rate", "rate", "increase", "delta", "irate", "idelta", "changes", "resets",
            "deriv", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time",
            "count_over_time", "last_over_time", "stddev_over_time", "stdvar_over_time",
            "present_over_time", "absent_over_time",
        )  # fmt: skip
        if self._random.random() < 0.1:
            return f"predict_linear({self.range()}, {self._pick('60', '3600')})"
        if self._random.random() < 0.1:
            return f"quantile_over_time({self._pick('0', '0.5', '0.9', '1')}, {self.range()})"
        return f"{function}({self.range()})"

    def grouping(self) -> str:
        """Return ``by`` or ``without`` with labels, or nothing."""
        labels = ", ".join(
            self._random.sample(["job", "instance", "zone", "code"], self._random.randint(0, 3))
        )
        return self._pick("", f" by ({labels})", f" without ({labels})")

    def aggregation(self, depth: int) -> str:
        """Return an aggregation."""
        function = self._pick(
            "sum", "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"
        )
        if self._random.random() < 0.1:
            return f"quantile{self.grouping()} ({self._pick('0.1', '0.5', '0.99')}, {self.vector(depth)})"
        if self._random.random() < 0.1:
            return f'count_values{self.grouping()} ("value", round({self.vector(depth)}, 0.01))'
        return f"{function}{self.grouping()} ({self.vector(depth)})"

    def quantile(self) -> str:
        """Return a quantile of a histogram."""
        labels = self._pick("le", "le, job", "le, instance", "le, job, zone")
        share = self._pick("0", "0.5", "0.9", "0.99", "1", "1.5", "-1")
        return f"histogram_quantile({share}, sum by ({labels}) (rate(latency_bucket[{self._pick('1m', '5m')}])))"

    def binary(self, depth: int) -> str:
        """Return an operator between two expressions."""
        left = self.vector(depth)
        if self._random.random() < 0.5:
            operator = self._pick(
                "+", "-", "*", "/", "%", "^", ">", "<", ">=", "<=", "==", "!=", "> bool", "== bool"
            )
            number = self._pick("0", "1", "2.5", "100", "-3", "1e3", "0.5")
            return self._pick(f"({left}) {operator} {number}", f"{number} {operator} ({left})")
        right = self.vector(depth)
        if self._random.random() < 0.4:
            matching = self._pick(
                "", " on (job)", " on (instance, job)", " ignoring (code)", " on ()"
            )
            return f"({left}) {self._pick('and', 'or', 'unless')}{matching} ({right})"
        operator = self._pick("+", "-", "*", "/", ">", "<", "==", "!= bool")
        matching = self._pick(
            "", "", " on (instance, job)", " ignoring (code)", " on (job) group_left",
            " on (job) group_right", " on (job, instance) group_left (zone)",
        )  # fmt: skip
        return f"({left}) {operator}{matching} ({right})"

    def function(self, depth: int) -> str:
        """Return a function of an instant vector."""
        inner = self.vector(depth)
        return self._pick(
            f"abs({inner})", f"ceil({inner})", f"floor({inner})", f"round({inner}, 0.5)",
            f"clamp_min({inner}, 1)", f"clamp_max({inner}, 5)", f"clamp({inner}, 0, 3)",
            f"sqrt({inner})", f"ln({inner})", f"exp({inner} / 100)", f"sgn({inner})", f"-({inner})",
            f"absent({inner})", f"vector(scalar({inner}) + 1)", f"timestamp({self.selector()})",
            f"vector(scalar({inner}))", f"time() - timestamp({self.selector()})",
            f'label_replace({inner}, "new", "$1-x", "instance", "i(.*)")',
            f'label_join({inner}, "both", "/", "job", "instance")', f"hour({inner})",
            f"topk({self._pick('1', '3')}, {self.selector()})", f"bottomk by (job) (2, {self.selector()})",
        )  # fmt: skip

    def vector(self, depth: int) -> str:
        """Return an expression, nested at most ``depth`` deep."""
        if depth <= 0:
            return self.selector() if self._random.random() < 0.5 else self.over()
        kind = self._random.random()
        if kind < 0.15:
            return self.over()
        if kind < 0.25:
            return self.quantile()
        if kind < 0.5:
            return self.aggregation(depth - 1)
        if kind < 0.8:
            return self.binary(depth - 1)
        return self.function(depth - 1)


def values(random: Random, metric: str) -> list[str]:
    """Return the values of a series, as texts: ``_`` is none, ``stale`` a marker."""
    made: list[str] = []
    value = float(random.randint(0, 50))
    counts = metric.endswith(("_total", "_bucket", "_count"))
    lost = random.choice((0.0, 0.0, 0.05, 0.3))
    for _ in range(SAMPLES):
        if counts:
            value += random.choice((0, 1, 2, 5, 10.5))
            if random.random() < 0.03:
                value = 0.0
        elif metric == "up":
            value = float(random.random() > 0.1)
        else:
            value = round(random.gauss(5, 4), random.choice((0, 1, 6)))
        drawn = random.random()
        if drawn < lost:
            made.append("_")
        elif drawn > 0.99:
            made.append("stale")
        elif drawn > 0.985 and metric == "load":
            made.append(random.choice(("NaN", "+Inf", "-Inf")))
        else:
            made.append(repr(value))
    return made


def series(random: Random) -> list[tuple[dict[str, str], list[int], list[str]]]:
    """Return labels, times and values of some series of each metric."""
    made = []
    for metric in ("requests_total", "errors_total", "load", "memory", "up"):
        for job in "ab":
            for instance in range(3):
                labels = {"__name__": metric, "job": job, "instance": f"i{instance}"}
                if instance:
                    labels["zone"] = f"z{instance % 2}"
                codes = ("200", "500") if metric == "requests_total" else ("",)
                made.extend(
                    ({**labels, "code": code} if code else labels, *_timed(random, metric))
                    for code in codes
                )
    for job in "ab":
        total = [0.0] * SAMPLES
        ts, _ = _timed(random, "")
        for bound in ("0.1", "0.5", "1", "+Inf"):
            value = 0.0
            for i in range(SAMPLES):
                value += random.choice((0, 1, 3))
                total[i] += value
            labels = {"__name__": "latency_bucket", "job": job, "instance": "i1", "le": bound}
            made.append((labels, ts, [repr(one) for one in total]))
    return made


def _timed(random: Random, metric: str) -> tuple[list[int], list[str]]:
    shift = random.choice((0, 0, 1, 4_321, 14_999))
    found = values(random, metric or "load") if metric else ["0"] * SAMPLES
    kept = [(i * STEP + shift, text) for i, text in enumerate(found) if text != "_"]
    return [ts for ts, _ in kept], [text for _, text in kept]


def close(one: float, other: float, tolerance: float = 1e-9) -> bool:
    """Return whether two numbers are the same up to rounding; NaN is like NaN."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= tolerance * max(abs(one), abs(other), 1e-3)

"""Compiling the loops of the rules before there is one that waits for them."""

from __future__ import annotations

from typing import Final

import numpy as np

from operators.rules.arrivals import Waiting
from operators.rules.evaluator import Evaluator
from operators.rules.over_time import FOLDS
from operators.rules.running_sums import RunningSums
from operators.rules.samples import STALE
from operators.rules.store import SeriesStore

__all__ = ["compile_kernels"]

_EXPRESSIONS: Final = (
    "sum by (x) (rate(m[1m])) / on (x) group_left avg by (x) (m)",
    "irate(m[1m]) + on (x, le) stddev by (x, le) (m)",
    "quantile(0.5, m) or topk(1, m) or limitk(1, m) or limit_ratio(0.5, m)",
    "quantile_over_time(0.5, m[1m]) + mad_over_time(m[1m])",
    "deriv(m[1m]) + double_exponential_smoothing(m[1m], 0.5, 0.5)",
    "histogram_quantile(0.9, m) or histogram_fraction(0, 1, m)",
    "max_over_time(m[1m:15s])",
    *(f"{function}(m[1m])" for function in FOLDS),
)


def compile_kernels() -> None:
    """Evaluate every kind of expression once over a few series, one of which has ended."""
    store = SeriesStore()
    rows = store.rows([{"__name__": "m", "x": x, "le": le} for x in "ab" for le in ("1", "+Inf")])
    for k in range(40):
        store.append(rows, np.full(4, k * 15_000, np.int64), np.full(4, float(k)))
    plan = Evaluator(store)
    plan.begin()
    for text in _EXPRESSIONS:
        plan.expression(text).at(500_000)
    store.append(rows[:1], np.array([600_000]), np.array([STALE]))
    plan.expression("rate(m[2m])").at(600_000)
    sums = RunningSums()
    sums.mark(rows[:1])
    one = np.ones(1, np.int64)
    sums.of(Waiting(rows[:1], one, np.ones(1), one))

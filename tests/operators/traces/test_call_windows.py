"""What is held of windows of calls grows with what was seen in them."""

import pickle

import polars as pl

from operators.traces.call_windows import CallWindows
from operators.traces.calls_seen import CALLS_SEEN

WINDOW, SERIES = 10, 200


def test_windows_hold_what_they_saw_not_all_that_is_known():
    """Names change all the time in a mesh of short-lived services."""
    seen = CallWindows(WINDOW)
    for window in range(60):
        first = window * SERIES + 1
        calls = [
            ("t", window * WINDOW, series, False, f"service-{series}", "get", "SPAN_KIND_SERVER",
             10.0, 100.0, 0.0, 0.0)
            for series in range(first, first + SERIES)
        ]  # fmt: skip
        seen.observe(pl.DataFrame(calls, schema=CALLS_SEEN, orient="row"))
        seen.single((window + 1) * WINDOW)
    assert len(seen.calls) == 60 * SERIES  # what was usual fades slowly
    # Numbers of series and of places, and what they are of.
    assert len(pickle.dumps(seen._windows)) < 24 * (2 * SERIES * 5 * 8 + 1000)

"""What rollups tell of calls is what their names, labels and numbers say, a row at a time."""

import orjson
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.frames import ROLLUPS
from operators.traces import calls_seen
from operators.traces.calls_seen import CALLS_SEEN, CallReading

NAMES = (
    "traces.span.metrics.duration", "traces.span.metrics.calls", "traces_service_graph_request_total",
    "traces_service_graph_request_failed_total", "traces_service_graph_request_client",
    "traces_service_graph_request_server", "cpu",
)  # fmt: skip
TEXTS = st.sampled_from(["", "web", "pay", 'an "odd" one'])
LABELS = st.fixed_dictionaries(
    {},
    optional={
        "service.name": TEXTS, "span.name": TEXTS, "span.kind": st.sampled_from(["SPAN_KIND_SERVER", ""]),
        "status.code": st.sampled_from(["STATUS_CODE_ERROR", "STATUS_CODE_UNSET"]), "client": TEXTS,
        "server": TEXTS, "connection_type": st.sampled_from(["", "database"]), "host": TEXTS,
    },
)  # fmt: skip
NUMBERS = st.one_of(st.none(), st.integers(0, 10**9).map(float))
SERIES = st.lists(st.tuples(st.sampled_from(NAMES), LABELS), min_size=1, max_size=8)


def plainly(row):
    """Return what a rollup tells of calls, None if it is of none."""
    name, labels = row["name"], orjson.loads(row["labels"])
    count, total, increase = (row[column] or 0 for column in ("count", "sum", "increase"))
    prefix, _, short = name.rpartition("request_")
    who = (row["tenant"], row["window_start"], row["series"])
    if name == "traces.span.metrics.duration":
        failed = count if labels.get("status.code") == "STATUS_CODE_ERROR" else 0
        texts = (labels.get(label, "") for label in ("service.name", "span.name", "span.kind"))
        return (*who, False, *texts, count, total, failed, 0)
    if not prefix:
        return None
    texts = tuple(labels.get(label, "") for label in ("client", "server", "connection_type"))
    made = increase if short == "total" else 0
    failed = increase if short == "failed_total" else 0
    waited = 1000 * total if short == "client" else 0
    way = {"client": 1000 * total, "server": -1000 * total}.get(short, 0)
    return (*who, True, *texts, made, waited, failed, way if not texts[2] else 0)


@given(SERIES, st.lists(st.lists(st.tuples(st.integers(0, 7), NUMBERS, NUMBERS, NUMBERS), max_size=9), max_size=4),
       st.sampled_from([3, 100]))  # fmt: skip
def test_each_rollup_tells_what_its_labels_say_whenever_its_series_came_first(series, polls, known):
    reading, most = CallReading(), calls_seen._MOST_KNOWN
    calls_seen._MOST_KNOWN = known
    try:
        for start, poll in enumerate(polls):
            rows = [
                {"tenant": "t", "window_start": start, "series": number % len(series) * 7919,
                 "name": series[number % len(series)][0],
                 "labels": orjson.dumps(series[number % len(series)][1]).decode(),
                 "count": None if count is None else int(count), "sum": total, "increase": increase}
                for number, count, total, increase in poll
            ]  # fmt: skip
            rollups = pl.DataFrame(rows, schema=ROLLUPS)
            found = reading.read(rollups)
            assert found.schema == CALLS_SEEN
            assert found.rows() == [told for row in rows if (told := plainly(row)) is not None]
    finally:
        calls_seen._MOST_KNOWN = most

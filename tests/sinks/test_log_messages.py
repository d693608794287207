"""What comes of logs beside the records can be read by others: JSON, and OTLP metrics."""

import orjson
import polars as pl
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from operators.columns.batches import decode_batches, encode_batches
from operators.contracts.batch_form import LOG_BATCHES
from operators.contracts.frames import GROUPED_LOGS, LOG_COUNTS, TEMPLATES, empty
from operators.decoders import DECODERS
from sinks.log_messages import count_messages, template_messages


def records(size: int) -> pl.DataFrame:
    texts = {name: ["é x"] * size for name, kind in GROUPED_LOGS.items() if kind == pl.String}
    numbers = {name: list(range(size)) for name in ("offset", "shape", "template")}
    rest = {name: [0] * size for name in GROUPED_LOGS if name not in texts and name not in numbers}
    return pl.DataFrame({**texts, **numbers, **rest}, schema=GROUPED_LOGS)


def test_records_are_read_back_in_their_order():
    frame = records(20_001)
    assert decode_batches(encode_batches(frame, LOG_BATCHES), LOG_BATCHES).equals(frame)


def test_of_nothing_come_no_messages():
    assert template_messages(empty(TEMPLATES), "t").height == 0
    assert count_messages(empty(LOG_COUNTS), "t").height == 0


def test_changes_of_templates_are_lines_of_json():
    rows = [("t", "s", 2**64 - 1, 0, 17, "Took *"), ("t", "s", 5, 17, 18, "Took * of *")]
    (message,) = template_messages(pl.DataFrame(rows, schema=TEMPLATES, orient="row"), "x").rows(
        named=True
    )
    assert message["key"] == b"t/s"
    first, second = map(orjson.loads, message["value"].splitlines())
    assert first == {"tenant": "t", "service": "s", "shape": "f" * 16, "old": None,
                     "new": f"{17:016x}", "text": "Took *"}  # fmt: skip
    assert (second["old"], second["new"]) == (f"{17:016x}", f"{18:016x}")


def test_counts_are_metrics_that_the_metrics_flow_decodes():
    rows = [("t", "s", "ERROR", 7, "", 100, 200, 5), ("t", "u", "", 7, "ab", 100, 300, 6)]
    frame = pl.DataFrame(rows, schema=LOG_COUNTS, orient="row")
    (message,) = count_messages(frame, "x").rows(named=True)
    metric = (
        MetricsData.FromString(message["value"]).resource_metrics[0].scope_metrics[0].metrics[0]
    )
    assert (metric.name, metric.sum.is_monotonic) == ("log.records", True)
    points = DECODERS["otlp_proto"].decode([message["value"]]).points
    assert points.select("start", "ts", "value").rows() == [(100, 200, 5.0), (100, 300, 6.0)]

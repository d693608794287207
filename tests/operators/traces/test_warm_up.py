"""Warming up leaves what others in the process have counted."""

from prometheus_client import REGISTRY

from flows.settings import Enrichment
from operators.contracts.monitoring import BATCH_SECONDS, SPANS_DECODED
from operators.decoders import SPAN_DECODERS
from operators.series.enrichment import Enricher
from operators.traces.warm_up import compile_kernels


def test_what_others_counted_stays_and_goes_on():
    SPANS_DECODED.labels("of another flow").inc(5)
    held = BATCH_SECONDS.labels("of another flow")
    compile_kernels(SPAN_DECODERS, Enricher(Enrichment()))
    held.observe(2.0)
    for name, label, value in (
        ("headrace_spans_decoded_total", "topic", 5),
        ("headrace_batch_seconds_sum", "step", 2.0),
    ):
        assert REGISTRY.get_sample_value(name, {label: "of another flow"}) == value

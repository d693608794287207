"""Signals that are unusual only together, from points on Kafka to one alert."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.flows.conftest import FlowFactory
from tests.flows.telemetry import SECOND, Point, encode, feed

BEGIN = 1_704_067_200 * SECOND
WINDOW = 60 * SECOND
LENGTH, FAULT = 300, slice(240, 262)
SIGNALS = ("load", "busy")
SHOP = {
    "name": "shop",
    "signals": {signal: {"metric": f"shop.{signal}", "take": "mean"} for signal in SIGNALS},
}


def messages(first: int, last: int) -> Iterator[bytes]:
    """A service whose processor follows its load; in ``FAULT`` it is busy, and there is little load.

    Neither is further from its mean than it often was.
    """
    dice = np.random.default_rng(1)
    load = np.exp(np.convolve(dice.normal(0, 0.25, LENGTH + 20), np.ones(10) / 3, "same"))[:LENGTH]
    busy = load.copy()
    load[FAULT], busy[FAULT] = 0.78, 1.25
    noise = np.exp(dice.normal(0, 0.03, (LENGTH, 2)))
    for window in range(first, last):
        yield encode(
            [
                Point(
                    f"shop.{signal}",
                    BEGIN + window * WINDOW + 30 * SECOND,
                    float(values[window] * noise[window, number]),
                    attributes={},
                    resource={"service.name": "shop"},
                )
                for number, (signal, values) in enumerate(zip(SIGNALS, (load, busy), strict=True))
            ]
        )


def test_two_signals_that_do_not_fit_are_one_alert_also_over_a_restart(
    new_flow: FlowFactory,
) -> None:
    flow = new_flow()
    flow.settings["rollups"] = {"windows": ["1m"]}
    flow.settings["scoring"] = {"alerts_per_series_month": 50, "vectors": [SHOP]}
    # The restart is in the middle of the incident.
    for first, last in ((0, FAULT.start + 8), (FAULT.start + 8, LENGTH)):
        feed(flow.kafka, flow.topic, messages(first, last))
        flow.run_to_the_end(*flow.recovery())
    found = [each for each in flow.alerts() if each["labels"]["alertname"] == "SignalsAnomaly"]
    assert [each["status"] for each in found] == ["firing", "resolved"]
    fires, resolves = found
    assert fires["fingerprint"] == resolves["fingerprint"]
    assert fires["labels"].items() >= {"service.name": "shop", "vector": "shop"}.items()
    at = (int(np.datetime64(fires["startsAt"].rstrip("Z"), "ns").astype(int)) - BEGIN) // WINDOW
    assert FAULT.start <= at < FAULT.stop
    parts = fires["evidence"]["signals"]
    assert sorted(parts) == sorted(SIGNALS)
    assert abs(sum(part["contribution"] for part in parts.values()) - 1) < 1e-6


def test_an_alert_of_a_vector_that_is_taken_out_of_the_settings_is_resolved(
    new_flow: FlowFactory,
) -> None:
    flow = new_flow()
    flow.settings["rollups"] = {"windows": ["1m"]}
    flow.settings["scoring"] = {"alerts_per_series_month": 50, "vectors": [SHOP]}
    cut = FAULT.start + 8
    for first, last, vectors in ((0, cut, [SHOP]), (cut, cut + 4, [])):
        flow.settings["scoring"]["vectors"] = vectors
        feed(flow.kafka, flow.topic, messages(first, last))
        flow.run_to_the_end(*flow.recovery())
    found = [each for each in flow.alerts() if each["labels"]["alertname"] == "SignalsAnomaly"]
    assert [each["status"] for each in found] == ["firing", "resolved"]
    assert found[0]["fingerprint"] == found[1]["fingerprint"]

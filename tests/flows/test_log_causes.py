"""An exception that shows in the log of one service alone is named in alerts of those who call it."""

import random
import time

import pytest
from confluent_kafka import Producer
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from operators.contracts.service_changes import ServiceChange, change_of
from tests.flows.telemetry import values_of
from tests.flows.test_notifier import Notifier, webhook  # noqa: F401 - a fixture
from tests.operators.notifying.samples import event
from tests.operators.traces.shop import SECOND, otlp
from tests.operators.traces.test_causes import FAULT, chain

_LOGGED = {
    "web": ("page asked for", "page made"),
    "cart": ("total asked for", "total is known"),
    "pay": ("charge begins", "card was charged", "charge ends"),
    "stock": ("reserve begins", "reserved"),
}


def lines_of(calls, seed=5):
    """Return log lines of calls, time, service, trace, span and text; from ``FAULT`` on ``pay`` throws."""
    chance = random.Random(seed)
    found = []
    for call in calls:
        if call.kind != 2:
            continue
        texts = list(_LOGGED[call.service])
        if call.service == "pay" and call.begun >= FAULT:
            texts[1:] = ["card can't be read: java.lang.IllegalStateException"]
        elif chance.random() < 0.3:
            texts.insert(1, "cache was asked")
        found += [
            (call.begun + step * 1000, call.service, call.trace, call.id, f"{text} for order {chance.getrandbits(20)}")
            for step, text in enumerate(texts)
        ]  # fmt: skip
    return sorted(found)


def message(lines):
    data = LogsData()
    for at, service, trace, span, text in lines:
        group = data.resource_logs.add()
        group.resource.attributes.add(key="service.name").value.string_value = service
        record = group.scope_logs.add().log_records.add(
            time_unix_nano=at, trace_id=trace.to_bytes(16, "big"), span_id=span.to_bytes(8, "big")
        )
        record.body.string_value = text
    return data.SerializeToString()


def changes_of_logs(flow):
    told = [change_of(value) for value in values_of(flow.kafka, flow.topics["causes"])]
    return [one for one in told if isinstance(one, ServiceChange) and one.why == "logs"]


@pytest.fixture
def told(new_flow, topic):
    """Return the topic to which the flows of traces and of logs have told what they found."""
    flow = new_flow()
    logs = topic(1, name="logs")
    flow.settings["inputs"] = [
        {"topic": flow.topic, "signal": "traces"},
        {"topic": logs, "signal": "logs", "encoding": "otlp_proto"},
    ]
    roles = ("logs", "templates", "log_counts", "exceptions", "commands", "spans")
    flow.topics |= {role: f"{flow.name}-{role}" for role in roles}
    calls = sorted(chain(3), key=lambda call: call.ended)
    lines = lines_of(calls)
    producer = Producer({"bootstrap.servers": flow.kafka})
    for name, sent, make in ((flow.topic, calls, otlp), (logs, lines, message)):
        for first in range(0, len(sent), 200):
            some = sent[first : first + 200]
            ends = [one.ended for one in some] if sent is calls else [one[0] for one in some]
            producer.produce(name, make(some), timestamp=max(ends) // 1_000_000 + 1000)
    assert producer.flush(120) == 0
    flow.make_topics()
    spans = flow._launch("traces", until="end", since="earliest")
    live = flow._launch("logs", until="forever", since="earliest")
    assert spans.wait(240) == 0, flow.log_tail()
    deadline = time.monotonic() + 240
    while not any(change.until > FAULT + 30 * SECOND for change in changes_of_logs(flow)):
        assert live.poll() is None, flow.log_tail()
        assert time.monotonic() < deadline, flow.log_tail()
        time.sleep(0.3)
    live.kill()
    live.wait()
    return flow


def test_an_alert_names_the_service_whose_log_alone_shows_the_fault(
    tmp_path,
    kafka,
    topic,
    webhook,  # noqa: F811
    told,
):
    (tmp_path / "notifier").mkdir()
    notifier = Notifier(tmp_path / "notifier", kafka, topic, webhook)
    notifier.settings["topics"]["causes"] = told.topics["causes"]
    process = notifier.start(*notifier.recoverable())
    for name, since, labels in (
        ("Odd", FAULT + 60 * SECOND, {"service_name": "web"}),
        ("Before", FAULT - 120 * SECOND, {"service_name": "web"}),
        ("NotBehind", FAULT + 60 * SECOND, {"service_name": "stock"}),
    ):
        said = {"summary": f"{name} is bad"}
        notifier.produce(event({"alertname": name, **labels}, since=since, annotations=said))
    webhook.wait_for(3)
    process.kill()
    process.wait()
    alerts = {a["labels"]["alertname"]: a for body in webhook.bodies for a in body["alerts"]}
    (cause, *_) = alerts["Odd"]["causes"]
    assert (cause["service"], cause["why"], cause["unit"]) == ("pay", "logs", "share")
    assert (cause["event"], cause["before"]) == ("charge begins for order *", 0)
    assert cause["now"] > 0.4  # of six windows four are since the fault
    assert cause["next"].startswith("card can't be read")
    summary = alerts["Odd"]["annotations"]["summary"]
    assert summary.startswith("Odd is bad; the likely cause is pay: its log goes on another way: ")
    assert [alerts[name]["annotations"]["summary"] for name in ("Before", "NotBehind")] == [
        "Before is bad", "NotBehind is bad",
    ]  # fmt: skip
    assert {one.service for one in changes_of_logs(told)} == {"pay"}

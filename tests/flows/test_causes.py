"""What the flow of traces finds is said in alerts of other flows, after a restart of the notifier too."""

import signal
import time

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from flows.causes import FollowedRankings
from flows.settings import Kafka
from operators.notifying.causes import causes_of
from tests.flows.telemetry import values_of
from tests.flows.test_notifier import Notifier, webhook  # noqa: F401 - a fixture
from tests.operators.notifying.samples import START, alert, event
from tests.operators.traces.shop import SECOND, otlp
from tests.operators.traces.test_causes import FAULT, chain


@pytest.fixture
def told_by_traces(new_flow):
    """Return the topic to which the flow of traces has told what is behind the slow service ``pay``."""
    flow = new_flow()
    flow.settings["inputs"] = [{"topic": flow.topic, "signal": "traces"}]
    calls = sorted(chain(3, slow="pay"), key=lambda call: call.ended)
    producer = Producer({"bootstrap.servers": flow.kafka})
    for first in range(0, len(calls), 200):
        some = calls[first : first + 200]
        at = max(call.ended for call in some) // 1_000_000 + 1000
        producer.produce(flow.topic, otlp(some), timestamp=at)
    assert producer.flush(120) == 0
    flow.make_topics()
    assert flow._launch("traces", until="end", since="earliest").wait(150) == 0, flow.log_tail()
    assert values_of(flow.kafka, flow.topics["causes"])
    return flow.topics["causes"]


def test_an_alert_of_a_rule_names_the_service_behind_it(
    tmp_path,
    kafka,
    topic,
    webhook,  # noqa: F811
    told_by_traces,
):
    (tmp_path / "notifier").mkdir()
    notifier = Notifier(tmp_path / "notifier", kafka, topic, webhook)
    notifier.settings["topics"]["causes"] = told_by_traces

    def fires(name, since=FAULT + 60 * SECOND, **labels):
        said = {"summary": f"{name} is bad"}
        notifier.produce(event({"alertname": name, **labels}, since=since, annotations=said))

    def summaries():
        return {
            alert["labels"]["alertname"]: alert["annotations"]["summary"]
            for body in webhook.bodies
            for alert in body["alerts"]
        }

    process = notifier.start(*notifier.recoverable())
    fires("Slow", service_name="web")
    fires("OfAnother", service_name="web", tenant="b")
    fires("OfAHost", host="web")
    fires("LongAfter", since=FAULT + 3600 * SECOND, service_name="web")
    webhook.wait_for(4)
    first = summaries()
    assert first.pop("Slow").startswith("Slow is bad; the likely cause is pay (")
    assert first == {name: f"{name} is bad" for name in ("OfAnother", "OfAHost", "LongAfter")}

    notifier.wait_for_commits(4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = notifier.start(*notifier.recoverable())
    fires("Cart", job="shop/cart")
    webhook.wait_for(5)
    assert summaries()["Cart"].startswith("Cart is bad; the likely cause is pay (")
    causes = [a.get("causes") for body in webhook.bodies for a in body["alerts"]]
    assert sorted(each is not None for each in causes) == [False] * 3 + [True] * 2
    assert all(each[0]["service"] == "pay" for each in causes if each)
    again.kill()
    again.wait()


def test_rankings_are_known_at_the_start_though_the_oldest_are_deleted(kafka, topic):
    name = topic(1, name="causes")
    producer = Producer({"bootstrap.servers": kafka})
    for number, behind in enumerate(("old", "pay", "not JSON")):
        cause = {"service": behind, "sentence": f"the likely cause is {behind}"}
        told = {"schema": "headrace.causes/v1", "tenant": "default", "service": "web", "why": "time",
                "until": START + number, "worse": 3.0 - number, "causes": [cause]}  # fmt: skip
        producer.produce(name, b"{" if behind == "not JSON" else orjson.dumps(told))
    assert producer.flush(120) == 0
    admin = AdminClient({"bootstrap.servers": kafka})
    (deleted,) = admin.delete_records([TopicPartition(name, 0, 1)]).values()
    assert deleted.result(30).low_watermark == 1

    known = FollowedRankings(Kafka(bootstrap_servers=kafka), name)
    asked, deadline = alert({"alertname": "Slow", "service": "web"}), time.monotonic() + 60
    while not causes_of(known.explained(asked)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert known.explained(asked).annotations == {"summary": "the likely cause is pay"}


def test_without_a_topic_alerts_go_as_they_are(kafka):
    known = FollowedRankings(Kafka(bootstrap_servers=kafka), "no-flow-of-traces-runs")
    asked = alert({"alertname": "Slow", "service": "web"})
    assert known.explained(asked) is asked

"""Each real server starts, takes a write, gives it back, and comes back on the same port."""

from confluent_kafka import Consumer, Message, Producer
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from flows.demo.kafka import KafkaServer
from tests.conftest import RotelFactory, TopicFactory


def test_kafka_keeps_its_records_when_it_is_killed(
    kafka_server: KafkaServer, topic: TopicFactory
) -> None:
    address = kafka_server.bootstrap_servers
    name = topic(3, on=address)
    produce(address, name, [b"one", b"two"])

    kafka_server.kill()
    assert not kafka_server.running
    kafka_server.start()

    assert kafka_server.bootstrap_servers == address
    assert {message.value() for message in consume(address, name, 2)} == {b"one", b"two"}


def test_a_stopped_kafka_is_running_again_in_the_next_test(kafka_server: KafkaServer) -> None:
    kafka_server.stop()
    kafka_server.start()
    assert kafka_server.running


def test_a_topic_has_the_partitions_that_were_asked_for(kafka: str, topic: TopicFactory) -> None:
    from confluent_kafka.admin import AdminClient

    name = topic(4)
    metadata = AdminClient({"bootstrap.servers": kafka}).list_topics(name, timeout=10)
    assert len(metadata.topics[name].partitions) == 4


def test_metrics_of_the_sdk_reach_kafka_through_rotel(
    kafka: str, topic: TopicFactory, rotel: RotelFactory
) -> None:
    topics = (topic(name="metrics"), topic(name="logs"), topic(name="spans"))
    collector = rotel(topics=topics)
    exporter = OTLPMetricExporter(endpoint=f"{collector.http_endpoint}/v1/metrics")
    provider = MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter)])
    provider.get_meter("test").create_counter("requests").add(3, {"route": "/"})
    provider.force_flush()
    provider.shutdown()

    (message,) = consume(kafka, topics[0], 1)

    request = ExportMetricsServiceRequest.FromString(message.value() or b"")
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "requests"
    assert metric.sum.data_points[0].as_int == 3


def produce(address: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": address})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(10) == 0


def consume(address: str, topic: str, count: int, seconds: float = 15) -> list[Message]:
    """Read `count` records of a topic from its beginning."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        return consumer.consume(count, timeout=seconds)
    finally:
        consumer.close()
